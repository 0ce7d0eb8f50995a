/** Own answers of the proxy: the same message as text, page or JSON, by what the client accepts (contract, section 8). */
import { type AnswerCode, CODES } from "../observation/proxy-error.ts";
import { ErrorPages, type PageFacts, reasonOf } from "./error-page.ts";

export interface Refusal {
  readonly status: number;
  readonly reason: string;
  /** Field lines, each with CRLF; without framing and connection fields. */
  readonly fields: string;
  readonly body: string;
}

/** What of a request an own answer depends on. */
export interface RefusedRequest extends PageFacts {
  /** The Accept field; null when unknown. */
  readonly accept: string | null;
}

const OWN_PAGES = new ErrorPages();

/** `requestId` must be safe for a field. */
export function refusal(code: AnswerCode, request: RefusedRequest, pages: ErrorPages = OWN_PAGES): Refusal {
  const { requestId, blame, wished = null } = request;
  const [type, body] = representation(code, request, pages);
  const retry = code === "no_table" || code === "overloaded" ? "Retry-After: 1\r\n" : "";
  const fields = `Content-Type: ${type}; charset=utf-8\r\nCache-Control: no-store\r\nVary: Accept\r\n` +
    `X-Request-Id: ${requestId}\r\nX-Edgeproxy-Error: ${code}\r\nX-Edgeproxy-Blame: ${blame}\r\n${retry}`;
  return { status: wished ?? CODES[code].status, reason: reasonOf(code, wished), fields, body };
}

function representation(code: AnswerCode, request: RefusedRequest, pages: ErrorPages): [type: string, body: string] {
  const { text } = CODES[code];
  switch (preferred(request.accept)) {
    case "text/html":
      return ["text/html", pages.page(code, request)];
    case "application/json":
      return ["application/json", JSON.stringify({ error: code, message: text, request_id: request.requestId })];
    default:
      return ["text/plain", text];
  }
}

/** The better liked of HTML and JSON when named by the client, else neither: wildcards get the plain text. */
export function preferred(accept: string | null): "text/html" | "application/json" | null {
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
