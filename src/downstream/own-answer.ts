/** An answer that the proxy gives itself, ready to be written but for its Connection field. */
import type { AnswerCode, Blame } from "../observation/proxy-error.ts";
import { refusal } from "./refusal.ts";

export interface OwnAnswer {
  readonly status: number;
  /** Status line and field lines, each with CRLF. */
  readonly head: string;
  readonly body: Buffer;
}

/** A refusal (contract, section 8). `accept` is the request's Accept field, null when unknown. */
export function ownRefusal(code: AnswerCode, blame: Blame, requestId: string, accept: string | null): OwnAnswer {
  const { status, reason, fields, body } = refusal(code, blame, requestId, accept);
  const bytes = Buffer.from(body);
  const date = new Date().toUTCString();
  return {
    status,
    head: `HTTP/1.1 ${status} ${reason}\r\nDate: ${date}\r\n${fields}Content-Length: ${bytes.length}\r\n`,
    body: bytes,
  };
}

/** A Fetch API Response, framed by us. */
export async function ownResponse(response: Response, method: string): Promise<OwnAnswer> {
  const bodiless = method === "HEAD" || response.status === 204 || response.status === 304;
  const body = Buffer.from(bodiless || response.body === null ? new ArrayBuffer(0) : await response.arrayBuffer());
  let head = `HTTP/1.1 ${response.status} ${response.statusText}\r\n`;
  for (const [name, value] of response.headers) {
    const ours = name === "connection" || name === "transfer-encoding" || (name === "content-length" && !bodiless);
    if (!ours) head += `${name}: ${value}\r\n`;
  }
  if (!bodiless) head += `content-length: ${body.length}\r\n`;
  return { status: response.status, head, body };
}
