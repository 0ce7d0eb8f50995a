/** An answer that the proxy gives itself, ready to be written but for its Connection field. */
import { type AnswerCode, blameOf } from "../observation/proxy-error.ts";
import { FieldKind } from "../wire/header-list.ts";
import type { ErrorPages } from "./error-page.ts";
import type { Exchange } from "./exchange.ts";
import { refusal } from "./refusal.ts";

export interface OwnAnswer {
  readonly status: number;
  /** Status line and field lines, each with CRLF. */
  readonly head: string;
  readonly body: Buffer;
}

/** A refusal in the proxy's own words, with a status that its route wants. */
export interface OwnWords {
  readonly status: number;
  readonly head: null;
}

/** A refusal (contract, section 8). `wished`: instead of the code's status; null: that. */
export function ownRefusal(
  code: AnswerCode,
  { requestId, host, head, record }: Exchange,
  pages: ErrorPages,
  wished: number | null = null,
): OwnAnswer {
  const accept = head.fields.joined(FieldKind.Accept);
  const request = { requestId, host, accept, blame: blameOf(code, record.upstreamKind), wished };
  const { status, reason, fields, body } = refusal(code, request, pages);
  const bodiless = isBodiless(status);
  const bytes = Buffer.from(bodiless ? "" : body);
  const date = new Date().toUTCString();
  const length = bodiless ? "" : `Content-Length: ${bytes.length}\r\n`;
  return { status, head: `HTTP/1.1 ${status} ${reason}\r\nDate: ${date}\r\n${fields}${length}`, body: bytes };
}

/** What follows the head of such an answer clients take for the next one (RFC 9112, 6.3). */
export function isBodiless(status: number): boolean {
  return status === 204 || status === 304;
}

/** A Fetch API Response, framed by us. */
export async function ownResponse(response: Response, method: string): Promise<OwnAnswer> {
  const bodiless = method === "HEAD" || isBodiless(response.status);
  const body = Buffer.from(bodiless || response.body === null ? new ArrayBuffer(0) : await response.arrayBuffer());
  let head = `HTTP/1.1 ${response.status} ${response.statusText}\r\n`;
  for (const [name, value] of response.headers) {
    const ours = name === "connection" || name === "transfer-encoding" || (name === "content-length" && !bodiless);
    if (!ours) head += `${name}: ${value}\r\n`;
  }
  if (!bodiless) head += `content-length: ${body.length}\r\n`;
  return { status: response.status, head, body };
}
