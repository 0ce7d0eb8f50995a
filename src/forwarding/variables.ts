/*  What operators may put between braces: `{client_ip}`, `{header:X-User}`. Texts are taken apart once; braces around anything else are
 *  braces, since bodies are full of them.
 *
 *  All of it is bytes, one character each: literals as their UTF-8, values as they came. Where a value goes says how it is encoded, so
 *  that whatever a client sends stays one value: in a field line, a URL, a page, a JSON text.
 */
import { regionOf } from "../decision/loop.ts";
import type { MatchedRoute } from "../decision/match-route.ts";
import { escaped } from "../downstream/error-page.ts";
import { fieldValues } from "../table/field-values.ts";
import { cookieValues } from "../wire/cookies.ts";
import { utf8Bytes } from "../wire/field-edits.ts";
import { percentEncoded, queryText } from "../wire/target-edits.ts";
import type { ExchangeView } from "./request-view.ts";

const NAMES = ["client_ip", "host", "method", "path", "query", "scheme", "request_id", "route", "service", "region"] as const;
type VariableName = (typeof NAMES)[number];

/** `of`: which field (lower-case) or cookie. */
type Variable = { readonly name: VariableName } | { readonly name: "header" | "cookie"; readonly of: string };

/** Of a value, for where it goes. */
export type Encoding = (bytes: string, variable: Variable) => string;

export const PLAIN: Encoding = (bytes) => bytes;

const VARIABLE = /\{((?:[a-z_]+)|(?:(?:header|cookie):[!#$%&'*+\-.^_`|~0-9A-Za-z]+))\}/;

/** A text with variables. */
export class Template {
  /** Every other one is a variable, or what it stands for. */
  readonly #parts: readonly (string | Variable)[];
  /** The same for every request. */
  readonly fixed: boolean;

  /** `route`: the only one that it is written for, if that is known. */
  constructor(text: string, route: string | null = null) {
    const pieces = utf8Bytes(text).split(VARIABLE);
    this.#parts = pieces.map((piece, i) => {
      if (i % 2 === 0) return piece;
      return piece === "route" && route !== null ? utf8Bytes(route) : variableOf(piece) ?? `{${piece}}`;
    });
    this.fixed = this.#parts.every((part) => typeof part === "string");
  }

  /** Of a fixed one. */
  get text(): string {
    return this.#parts.join("");
  }

  fill(values: Values, encoding: Encoding): string {
    const parts = this.#parts;
    let text = parts[0] as string;
    for (let i = 1; i < parts.length; i++) {
      const part = parts[i]!;
      text += typeof part === "string" ? part : encoding(values.of(part), part);
    }
    return text;
  }
}

function variableOf(text: string): Variable | null {
  const colon = text.indexOf(":");
  if (colon > 0) {
    const name = text.slice(0, colon) as "header" | "cookie", of = text.slice(colon + 1);
    return { name, of: name === "header" ? of.toLowerCase() : of };
  }
  const name = NAMES.find((each) => each === text);
  return name === undefined ? null : { name };
}

/** What the variables stand for in one request. */
export class Values {
  readonly #view: ExchangeView;
  readonly #matched: MatchedRoute;
  readonly #pseudonym: string;

  /** `pseudonym`: of this region. */
  constructor(view: ExchangeView, matched: MatchedRoute, pseudonym: string) {
    this.#view = view;
    this.#matched = matched;
    this.#pseudonym = pseudonym;
  }

  of(variable: Variable): string {
    const view = this.#view;
    switch (variable.name) {
      case "client_ip":
        return view.clientAddress;
      case "host":
        return view.host;
      case "method":
        return view.method;
      case "path":
        return view.path;
      case "query":
        return view.query;
      case "scheme":
        return view.scheme;
      case "request_id":
        return view.requestId;
      case "route":
        return utf8Bytes(this.#matched.route.id);
      case "service":
        return utf8Bytes(this.#matched.service?.name ?? "");
      case "region":
        return regionOf(this.#pseudonym);
      case "header":
        return fieldValues(view, variable.of).join(", "); // as the list that they are (RFC 9110, 5.3);
      case "cookie":
        return cookieValues(view.fields, variable.of)[0] ?? "";
    }
  }
}

/** Behind the host of a URL: what a client sends stays one part of it, but for its path and query, which are a URL's already. */
export const inUrl: Encoding = (bytes, { name }) => {
  switch (name) {
    case "path":
      return bytes === "*" ? "/" : asUrl(bytes);
    case "query":
      return asUrl(bytes);
    default:
      return queryText(bytes);
  }
};

/** Only what no URL may hold is encoded. */
function asUrl(bytes: string): string {
  return bytes.replaceAll(/[^!-~]|["<>\\^`{|}]/g, percentEncoded);
}

export const inHtml: Encoding = escaped;

/** Between the quotes of a JSON text; what is no UTF-8 is replaced, since JSON must be. Fit for a script, too, in whatever quotes. */
export const inJson: Encoding = (bytes) => {
  const quoted = JSON.stringify(Buffer.from(bytes, "latin1").toString("utf8")).slice(1, -1);
  return utf8Bytes(
    quoted.replaceAll(/[<>&'`$\u2028\u2029]/g, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`),
  );
};
