/** How the end of a body is known (RFC 9112, 6.3), as one number: a length in bytes, or one of the two below. */
import type { RequestHead, ResponseHead } from "./message-head.ts";

export const CHUNKED = -1;
/** Everything until the peer ends the connection; responses only. Also the framing of a tunnel. */
export const UNTIL_CLOSE = -2;

/** 0 and up: that many bytes. */
export type BodyLength = number;

export function requestBodyLength(head: RequestHead): BodyLength {
  return head.chunked ? CHUNKED : Math.max(head.contentLength, 0);
}

/** `method` is the request's: answers to HEAD have no body, whatever their fields say. */
export function responseBodyLength(head: ResponseHead, method: string): BodyLength {
  const { status } = head;
  if (method === "HEAD" || status === 204 || status === 304 || status < 200) return 0;
  if (head.chunked) return CHUNKED;
  return head.contentLength >= 0 ? head.contentLength : UNTIL_CLOSE;
}
