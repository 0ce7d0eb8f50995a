/*  Answers in operators' words: fixed ones, redirects, maintenance, and what is said in the place of a refusal. Each says the id of its
 *  request. What a client sends can come back in them, so values are encoded by the type of the body, and a redirect leads to another
 *  host only where the operator has written so.
 */
import { STATUS_CODES } from "node:http";
import { isBodiless, type OwnAnswer, type OwnWords } from "../downstream/own-answer.ts";
import { preferred } from "../downstream/refusal.ts";
import { type AnswerCode, type Blame, CODES } from "../observation/proxy-error.ts";
import type { ErrorAnswer, FieldEdits, FixedResponse, RedirectPolicy } from "../table/policy.ts";
import { fieldLine, whyUneditable } from "../wire/field-edits.ts";
import { type Encoding, inHtml, inJson, inUrl, PLAIN, Template, type Values } from "./variables.ts";

const NO_EDITS: FieldEdits = { set: [], add: [], remove: [] };

/** As edits compare names. */
function folded(name: string): string {
  return name.toLowerCase().replaceAll("_", "-");
}

type Fields = readonly (readonly [name: string, value: Template])[];

/** An answer that is the same for every request but for its variables. */
export class WrittenAnswer {
  readonly status: number;
  /** It says nothing of its own. */
  readonly blank: boolean;
  readonly #fields: Fields;
  readonly #body: Template;
  readonly #encoding: Encoding;

  /** `passing`: it is there for a time, so nobody may keep it. `edits`: of the route; their lines come with each answer, see `fill`. */
  constructor({ status, body, headers }: FixedResponse, passing: boolean = false, edits: FieldEdits = NO_EDITS) {
    this.status = status;
    const replaced = new Set([...edits.remove, ...edits.set.map(([name]) => name)].map(folded));
    const written = headers.filter(([name]) => whyUneditable("response", name) === null && !replaced.has(folded(name)));
    const says = (lower: string): boolean => headers.some(([name]) => name.toLowerCase() === lower);
    const all = [...written];
    this.blank = body === "" && status === 503 && !says("content-type");
    const types = [...written, ...edits.set, ...edits.add].filter(([name]) => folded(name) === "content-type");
    const typed = types.length > 0 || replaced.has("content-type");
    if (body !== "" && !typed) all.push(["Content-Type", "text/plain; charset=utf-8"]);
    if (passing && !this.blank && !says("cache-control")) all.push(["Cache-Control", "no-store"]);
    this.#fields = all.map(([name, value]) => [name, new Template(value)]);
    this.#body = new Template(body);
    // Without a type, browsers make of it what it looks like
    this.#encoding = typed && types.length === 0 ? inHtml : encodingFor(types.map(([, type]) => type).join(" "));
  }

  /** `lines`: field lines behind its own. */
  fill(values: Values, lines: string): OwnAnswer {
    return ownAnswer(this.status, this.fields(values) + lines, this.#body.fill(values, this.#encoding), values);
  }

  fields(values: Values): string {
    return this.#fields.map(([name, value]) => fieldLine(name, value.fill(values, PLAIN))).join("");
  }
}

/** How a value stands in a body of that media type. */
function encodingFor(type: string): Encoding {
  if (/html|xml|xsl|svg|\{/i.test(type)) return inHtml; // with a variable it may be anything
  return /json|script/i.test(type) ? inJson : PLAIN;
}

/** `fields`: lines with their CRLF. `body`: bytes. */
function ownAnswer(status: number, fields: string, body: string, values: Values): OwnAnswer {
  const bodiless = isBodiless(status);
  const bytes = Buffer.from(bodiless ? "" : body, "latin1");
  const date = `Date: ${new Date().toUTCString()}\r\n`;
  const id = fieldLine("X-Request-Id", values.of({ name: "request_id" }));
  const length = bodiless ? "" : `Content-Length: ${bytes.length}\r\n`;
  return { status, head: `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ""}\r\n${date}${fields}${id}${length}`, body: bytes };
}

/** Leads elsewhere, as the requested URL says. */
export class Redirect {
  readonly #status: number;
  readonly #to: LocationTemplate;

  constructor({ to, scheme, host, status }: RedirectPolicy) {
    this.#status = status;
    this.#to = new LocationTemplate(to ?? `${scheme ?? "{scheme}"}://${host ?? "{host}"}{path}?{query}`);
  }

  fill(values: Values, lines: string): OwnAnswer {
    return ownAnswer(this.#status, fieldLine("Location", this.#to.fill(values)) + lines, "", values);
  }
}

/** A URL or path with variables. What a client sends stays behind the host. */
export class LocationTemplate {
  /** Scheme and host; fills to nothing for a path. */
  readonly #front: Template;
  readonly #rest: Template;
  /** Of the request, which may say none. */
  readonly #needsHost: boolean;
  readonly #absolute: boolean;

  constructor(to: string) {
    const front = /^(?:[a-z][a-z0-9+.-]*|\{scheme\}):\/\/(?:\{host\}|[^/?#{\\])*/i.exec(to)?.[0] ?? "";
    this.#front = new Template(front);
    this.#rest = new Template(to.slice(front.length));
    this.#absolute = front !== "";
    this.#needsHost = front.includes("{host}");
  }

  fill(values: Values): string {
    const rest = this.#rest.fill(values, inUrl).replace(/\?$/, "");
    if (this.#absolute && !(this.#needsHost && values.of({ name: "host" }) === "")) {
      return this.#front.fill(values, PLAIN) + (rest === "" || /^[/?#]/.test(rest) ? rest : `/${rest}`);
    }
    // Two slashes, also turned ones, would make a host of what the client wrote behind them
    return `/${rest.replace(/^[/\\]+/, "")}`;
  }
}

/** Names of errors that stand for several codes. */
const CODES_OF: Readonly<Record<string, readonly string[]>> = {
  "no_healthy_endpoints": ["vm_unhealthy", "vm_cordoned", "breaker_open"],
  timeout: ["connect_timeout", "response_timeout", "stream_timeout", "queue_timeout"],
  refused: ["connect_failed"],
};
const TOO_MANY_RETRIES = "too_many_retries";

/** What is answered instead of refusals; the first that names the error. */
export class ErrorAnswers {
  readonly #answers: readonly { readonly codes: ReadonlySet<string>; readonly written: WrittenError }[];

  constructor(answers: readonly ErrorAnswer[]) {
    this.#answers = answers.map((answer) => ({
      codes: new Set(answer.codes.flatMap((code) => CODES_OF[code] ?? [code])),
      written: new WrittenError(answer),
    }));
  }

  /** null: the refusal itself. */
  answer({ code, cause, retried }: Refused, values: Values, request: AnsweredRequest): OwnAnswer | OwnWords | null {
    const found = this.#answers.find(({ codes }) =>
      codes.has(code) || (cause !== null && codes.has(cause)) || (retried && codes.has(TOO_MANY_RETRIES))
    );
    return found === undefined ? null : found.written.fill(code, values, request);
  }
}

interface Refused {
  readonly code: AnswerCode;
  /** What the last attempt failed of: a refused connection, where the refusal speaks of health. */
  readonly cause: AnswerCode | null;
  /** The attempts that the policy allows are used up. */
  readonly retried: boolean;
}

interface AnsweredRequest {
  readonly accept: string | null;
  readonly blame: Blame;
}

class WrittenError {
  readonly #status: number | null;
  readonly #location: LocationTemplate | null;
  /** By media type; those that clients ask for first. */
  readonly #bodies: ReadonlyMap<string, Template>;

  constructor({ status, redirect, text, json, html }: ErrorAnswer) {
    this.#status = status ?? (redirect === null ? null : 302);
    this.#location = redirect === null ? null : new LocationTemplate(redirect);
    const written = [["text/plain", text], ["application/json", json], ["text/html", html]] as const;
    this.#bodies = new Map(written.flatMap(([type, body]) => body === null ? [] : [[type, new Template(body)] as const]));
  }

  fill(code: AnswerCode, values: Values, { accept, blame }: AnsweredRequest): OwnAnswer | OwnWords {
    const { text, status } = CODES[code];
    const type = this.#typeFor(preferred(accept));
    if (type === undefined && this.#location === null) return { status: this.#status ?? status, head: null };
    const body = type === undefined ? text : this.#bodies.get(type)!.fill(values, encodingFor(type));
    const location = this.#location === null ? "" : fieldLine("Location", this.#location.fill(values));
    const fields =
      `${location}Content-Type: ${type ?? "text/plain"}; charset=utf-8\r\nCache-Control: no-store\r\nVary: Accept\r\n` +
      `X-Edgeproxy-Error: ${code}\r\nX-Edgeproxy-Blame: ${blame}\r\n`;
    return ownAnswer(this.#status ?? status, fields, body, values);
  }

  /** undefined: nothing written fits. People can read all of it; programs that ask for JSON would stumble (contract, section 8). */
  #typeFor(asked: ReturnType<typeof preferred>): string | undefined {
    if (asked !== null && this.#bodies.has(asked)) return asked;
    return asked === "application/json" ? undefined : [...this.#bodies.keys()][0];
  }
}
