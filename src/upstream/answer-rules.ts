/** What of an answer, and of the request before it, decides over its connection. */
import { FieldKind } from "../wire/header-list.ts";
import { elements } from "../wire/h1/head-rules.ts";
import type { ResponseHead } from "../wire/h1/message-head.ts";

/**
 * Methods whose body has no meaning (RFC 9110, 9.3): many servers leave it unread, and would take it for the next request. So the
 * connection that carried one carries nobody else's, as the RFC expects ("potential as a request smuggling attack").
 */
const BODY_UNREAD: ReadonlySet<string> = new Set(["GET", "HEAD", "DELETE", "OPTIONS", "TRACE"]);

/** What is left of the request may lie in wait for the next one. */
export function mayLeaveBody(method: string): boolean {
  return BODY_UNREAD.has(method);
}

/** The endpoint will read another request on this connection (RFC 9112, 9.3). */
export function persists({ minor, close, keepAlive }: ResponseHead): boolean {
  return !close && (minor === 1 || keepAlive);
}

/** RFC 9110, 7.8: a server switches only to protocols that the client has named. */
export function isOffered({ upgrade, fields }: ResponseHead, offered: readonly string[] | null): boolean {
  const agreed = upgrade && offered !== null ? fields.joined(FieldKind.Upgrade) : null;
  return agreed !== null && elements(agreed).every((protocol) => offered!.includes(protocol.toLowerCase()));
}
