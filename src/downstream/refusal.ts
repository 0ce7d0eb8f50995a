/** Own answers of the proxy: the same message as text, page or JSON, by what the client accepts (contract, section 8). */
import { type AnswerCode, type Blame, CODES } from "../observation/proxy-error.ts";

export interface Refusal {
  readonly status: number;
  readonly reason: string;
  /** Field lines, each with CRLF; without framing and connection fields. */
  readonly fields: string;
  readonly body: string;
}

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

/** `accept` is the request's Accept field, null when unknown. `requestId` must be safe for a field. */
export function refusal(code: AnswerCode, blame: Blame, requestId: string, accept: string | null): Refusal {
  const { status, text } = CODES[code];
  const [type, body] = representation(code, requestId, accept);
  const retry = code === "no_table" || code === "overloaded" ? "Retry-After: 1\r\n" : "";
  const fields = `Content-Type: ${type}; charset=utf-8\r\nCache-Control: no-store\r\nVary: Accept\r\n` +
    `X-Request-Id: ${requestId}\r\nX-Edgeproxy-Error: ${code}\r\nX-Edgeproxy-Blame: ${blame}\r\n${retry}`;
  return { status, reason: REASONS[status] ?? text, fields, body };
}

function representation(code: AnswerCode, requestId: string, accept: string | null): [type: string, body: string] {
  const { status, text, meaning } = CODES[code];
  switch (preferred(accept)) {
    case "text/html":
      return ["text/html", page(status, text, meaning, code, requestId)];
    case "application/json":
      return ["application/json", JSON.stringify({ error: code, message: text, request_id: requestId })];
    default:
      return ["text/plain", text];
  }
}

/** The better liked of HTML and JSON when named by the client, else neither: wildcards get the plain text. */
function preferred(accept: string | null): "text/html" | "application/json" | null {
  if (accept === null) return null;
  const html = quality(accept, "text/html");
  const json = quality(accept, "application/json");
  if (html === 0 && json === 0) return null;
  return html >= json ? "text/html" : "application/json";
}

/** Quality of a media type that the field names (RFC 9110, 12.5.1); 0 when it does not. */
function quality(accept: string, type: string): number {
  for (const part of accept.toLowerCase().split(",")) {
    const [range, ...parameters] = part.split(";");
    if (range!.trim() !== type) continue;
    const q = parameters.map((parameter) => /^\s*q\s*=\s*([01](?:\.\d{0,3})?)\s*$/.exec(parameter)?.[1]).find((value) =>
      value !== undefined
    );
    return q === undefined ? 1 : Number(q);
  }
  return 0;
}

function page(status: number, text: string, meaning: string, code: string, requestId: string): string {
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>${status} ${text}</title>
<style>
:root{color-scheme:light dark}
body{font:1rem/1.5 system-ui,sans-serif;margin:0;min-height:100vh;display:grid;place-items:center}
main{max-width:34rem;padding:2rem}h1{font-size:1.6rem;margin:0 0 .5rem}p{margin:.5rem 0}small{opacity:.65}
</style></head>
<body><main><h1>${status} ${text}</h1><p>${meaning}</p><p><small>Error <code>${code}</code>, request <code>${requestId}</code></small></p></main></body></html>
`;
}
