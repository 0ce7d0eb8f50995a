/*  Error pages for people: ours, or those of an operator's folder, as templates that are taken apart once.
 *
 *  The page of an answer is the first of these that there is: `<code>.html`, `<status>.html`, `4xx.html` or `5xx.html`, `error.html`, and
 *  ours, which needs nothing that could be missing. Every value that is put in is escaped, also those that nobody outside can choose: a
 *  value stands in text or between quotes.
 */
import { STATUS_CODES } from "node:http";
import { ANSWER_CODES, type AnswerCode, type Blame, CODES } from "../observation/proxy-error.ts";

/** What pages can say, as `{{name}}`. */
export const PLACEHOLDERS = ["status", "reason", "message", "meaning", "code", "blame", "request_id", "host"] as const;
type Placeholder = (typeof PLACEHOLDERS)[number];

/** What of a page differs from request to request. */
export interface PageFacts {
  readonly blame: Blame;
  readonly requestId: string;
  /** Normalised; empty where there is none. */
  readonly host: string;
  /** The status that is sent instead of the code's. */
  readonly wished?: number | null;
}

type Part = string | { readonly name: Placeholder };
type Template = readonly Part[];

const PLACEHOLDER = /\{\{ *([a-zA-Z_-]+) *\}\}/g;

/** Reason phrases of the statuses in CODES. */
const REASONS: Readonly<Record<number, string>> = {
  400: "Bad Request",
  404: "Not Found",
  408: "Request Timeout",
  413: "Content Too Large",
  414: "URI Too Long",
  431: "Request Header Fields Too Large",
  500: "Internal Server Error",
  501: "Not Implemented",
  502: "Bad Gateway",
  503: "Service Unavailable",
  504: "Gateway Timeout",
  508: "Loop Detected",
};

export function reasonOf(code: AnswerCode, wished: number | null = null): string {
  const { status, text } = CODES[code];
  return wished === null ? REASONS[status] ?? text : REASONS[wished] ?? STATUS_CODES[wished] ?? "";
}

/** The pages that answers are made of; one object until they change, so no answer is made of two. */
export class ErrorPages {
  readonly #templates: ReadonlyMap<AnswerCode, Template>;

  /** `files`: texts by the name of their file, without `.html`. */
  constructor(files: Readonly<Record<string, string>> = {}) {
    const templates = new Map(Object.entries(files).map(([name, text]) => [name, templateOf(text)]));
    this.#templates = new Map(ANSWER_CODES.map((code) => {
      const found = pageNames(code).find((name) => templates.has(name));
      return [code, found === undefined ? templateOf(ownPage(code)) : templates.get(found)!];
    }));
  }

  page(code: AnswerCode, facts: PageFacts): string {
    let page = "";
    for (const part of this.#templates.get(code)!) {
      page += typeof part === "string" ? part : escaped(valueOf(part.name, code, facts));
    }
    return page;
  }
}

/** The files that a page is looked for in, without `.html`, best first. */
export function pageNames(code: AnswerCode): readonly string[] {
  const { status } = CODES[code];
  return [code, String(status), `${Math.floor(status / 100)}xx`, "error"];
}

/** Placeholders of a text that we do not know, as written. */
export function unknownPlaceholders(text: string): string[] {
  return [...text.matchAll(PLACEHOLDER)].map(([, name]) => name!).filter((name) => !isPlaceholder(name));
}

function templateOf(text: string): Template {
  // Every other piece is what stood between the braces
  return text.split(PLACEHOLDER).map((piece, i) => i % 2 === 1 && isPlaceholder(piece) ? { name: piece } : piece);
}

function isPlaceholder(name: string): name is Placeholder {
  return (PLACEHOLDERS as readonly string[]).includes(name);
}

function valueOf(name: Placeholder, code: AnswerCode, { blame, requestId, host, wished = null }: PageFacts): string {
  const { status, text, meaning } = CODES[code];
  switch (name) {
    case "status":
      return String(wished ?? status);
    case "reason":
      return reasonOf(code, wished);
    case "message":
      return text;
    case "meaning":
      return meaning;
    case "code":
      return code;
    case "blame":
      return blame;
    case "request_id":
      return requestId;
    case "host":
      return host;
  }
}

const ENTITIES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
  "`": "&#96;",
};

/** As it may stand in a page, quoted attributes included. */
export function escaped(text: string): string {
  return text.replaceAll(/[&<>"'`]/g, (character) => ENTITIES[character]!);
}

/** What somebody who only wanted to see a page can do about it. Nobody is blamed. */
function wish(status: number): string {
  if (status === 404) return "There is no site at this address. If you typed it, please check its spelling.";
  if (status < 500) return "This request could not be understood as it came. Going back and trying once more may help.";
  return "The site cannot be shown right now. Please try again in a moment.";
}

function ownPage(code: AnswerCode): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>{{status}} {{message}}</title>
<style>
:root{color-scheme:light dark}
body{font:1rem/1.5 system-ui,sans-serif;margin:0;min-height:100vh;display:grid;place-items:center}
main{max-width:34rem;padding:2rem;overflow-wrap:anywhere}h1{font-size:1.6rem;margin:0 0 .5rem}p{margin:.5rem 0}small{opacity:.8}
</style>
</head>
<body>
<main>
<h1>{{status}} {{message}}</h1>
<p>${wish(CODES[code].status)}</p>
<p><small>{{meaning}}<br>Error <code>{{code}}</code>, request <code>{{request_id}}</code></small></p>
</main>
</body>
</html>
`;
}
