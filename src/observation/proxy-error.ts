/** The vocabulary of failures: one table of codes, and the one error class that carries them. */

/** Whose doing a bad end is, for the people who have to act on it. */
export type Blame = "client" | "vm" | "region" | "edge" | "database";
/** As far as the code alone tells: the endpoint may be a VM or another region. */
export type Cause = "client" | "endpoint" | "edge" | "database";

interface CodeRow {
  readonly status: number;
  readonly text: string;
  readonly cause: Cause;
  /** One sentence for people: what happened. */
  readonly meaning: string;
}

/**
 * Every own answer of the proxy: stable code, status and body text (contract, section 8).
 * The failure table of the README, the error pages and the metrics come from here.
 */
export const CODES = {
  no_route: {
    status: 404,
    text: "Service Not Found",
    cause: "client",
    meaning: "No domain in the routing table matches the Host of the request.",
  },
  vm_unhealthy: {
    status: 503,
    text: "Service Unavailable - VM not responding",
    cause: "endpoint",
    meaning: "No VM of this domain passes its health check.",
  },
  no_table: {
    status: 503,
    text: "Service Unavailable",
    cause: "database",
    meaning: "The proxy has just started and has not loaded the routing table yet.",
  },
  overloaded: {
    status: 503,
    text: "Service Unavailable",
    cause: "edge",
    meaning: "The proxy has as many connections to endpoints as its file limit allows, all of them busy.",
  },
  connect_failed: {
    status: 502,
    text: "Bad Gateway",
    cause: "endpoint",
    meaning: "The endpoint refused the connection or is unreachable.",
  },
  connect_timeout: {
    status: 502,
    text: "Bad Gateway",
    cause: "endpoint",
    meaning: "The endpoint did not accept the connection within EDGEPROXY_CONNECT_TIMEOUT.",
  },
  upstream_reset: {
    status: 502,
    text: "Bad Gateway",
    cause: "endpoint",
    meaning: "The endpoint closed the connection before it had answered.",
  },
  upstream_protocol: {
    status: 502,
    text: "Bad Gateway",
    cause: "endpoint",
    meaning: "The endpoint sent something that is not valid HTTP/1.1.",
  },
  response_timeout: {
    status: 504,
    text: "Gateway Timeout",
    cause: "endpoint",
    meaning: "The endpoint did not answer within EDGEPROXY_RESPONSE_TIMEOUT.",
  },
  stream_timeout: {
    status: 504,
    text: "Gateway Timeout",
    cause: "endpoint",
    meaning: "No byte moved in either direction for EDGEPROXY_STREAM_TIMEOUT.",
  },
  bad_request: { status: 400, text: "Bad Request", cause: "client", meaning: "The request is malformed or ambiguous." },
  unsupported_coding: {
    status: 501,
    text: "Not Implemented",
    cause: "client",
    meaning: "The request body has a transfer coding other than chunked.",
  },
  head_too_large: {
    status: 431,
    text: "Request Header Fields Too Large",
    cause: "client",
    meaning: "The request head is larger than EDGEPROXY_MAX_HEADER_SIZE or has more than 128 fields.",
  },
  target_too_long: { status: 414, text: "URI Too Long", cause: "client", meaning: "The request target is longer than 8 KiB." },
  body_too_large: {
    status: 413,
    text: "Content Too Large",
    cause: "client",
    meaning: "The request body is larger than EDGEPROXY_MAX_BODY_SIZE.",
  },
  head_timeout: {
    status: 408,
    text: "Request Timeout",
    cause: "client",
    meaning: "The request head was not complete within EDGEPROXY_HEADER_TIMEOUT.",
  },
  body_timeout: {
    status: 408,
    text: "Request Timeout",
    cause: "client",
    meaning: "The request body stopped arriving for EDGEPROXY_STREAM_TIMEOUT, or came at less than EDGEPROXY_MIN_BODY_RATE.",
  },
  loop: {
    status: 508,
    text: "Loop Detected",
    cause: "edge",
    meaning: "The request has come back to this region, or has passed three edges.",
  },
  internal: { status: 500, text: "Internal Server Error", cause: "edge", meaning: "A bug of the proxy." },
} as const satisfies Record<string, CodeRow>;

/** A stable error code, as in `X-Edgeproxy-Error`, logs and metrics. */
export type ErrorCode = keyof typeof CODES;

/** All codes in a fixed order; metrics index by it. */
export const ERROR_CODES = Object.keys(CODES) as readonly ErrorCode[];

/** `endpoint`: what the exchange was last sent to, null when nowhere: then a VM of this region was meant. */
export function blameOf(code: ErrorCode, endpoint: "vm" | "region" | null): Blame {
  const { cause } = CODES[code];
  return cause === "endpoint" ? endpoint ?? "vm" : cause;
}

/** May the request be sent again: never; only if the connection was a reused one; always (no byte left us). */
export type RetryRight = "never" | "if-reused" | "safe";

/** A failure of an attempt. Only `forwarding/failure.ts` turns one into a status, a log level and a metric. */
export class ProxyError extends Error {
  readonly code: ErrorCode;
  readonly retry: RetryRight;

  constructor(code: ErrorCode, message: string, retry: RetryRight = "never", cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = "ProxyError";
    this.code = code;
    this.retry = retry;
  }
}
