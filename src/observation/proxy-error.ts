/** The vocabulary of failures: one table of codes, and the one error class that carries them. */
import type { LogLevel } from "./log.ts";

/** Whose doing a bad end is, for the people who have to act on it. */
export const BLAMES = ["client", "vm", "region", "edge", "database"] as const;
export type Blame = (typeof BLAMES)[number];
/** How many of each. */
export type BlameCounts = Record<Blame, number>;
/** As far as the code alone tells: an endpoint is a VM or another region. */
export type Cause = Blame | "endpoint";

interface CodeRow {
  /** Of the proxy's own answer; null: an end that has none, since the client is gone or has begun to get another. */
  readonly status: number | null;
  /** The own answer's. */
  readonly text: string;
  readonly cause: Cause;
  /** At which the application log tells of it. */
  readonly level: LogLevel;
  /** One sentence for people: what happened. */
  readonly meaning: string;
  /** One sentence for operators: what to do. */
  readonly advice: string;
}

/**
 * Every way in which an exchange can end badly: stable code, status and body text of the own answer (contract, section 8).
 * The header, the pages, the logs, the metrics and docs/errors.md come from here.
 */
export const CODES = {
  no_route: {
    status: 404,
    text: "Service Not Found",
    cause: "client",
    level: "warn",
    meaning: "No domain in the routing table matches the Host of the request.",
    advice:
      "`edgeproxy explain URL` and `/api/excluded?q=HOST` say whether the domain is missing, not verified, not ready or excluded.",
  },
  vm_unhealthy: {
    status: 503,
    text: "Service Unavailable - VM not responding",
    cause: "vm",
    level: "debug",
    meaning: "No VM of this domain passes its health check.",
    advice:
      "`problem` names the VM and why its probe failed, `/api/endpoints/:key` has the last probes; the application on the VM has to answer `EDGEPROXY_HEALTH_PATH`.",
  },
  vm_cordoned: {
    status: 503,
    text: "Service Unavailable",
    cause: "edge",
    level: "debug",
    meaning: "Every endpoint that could take the request has been cordoned by an operator.",
    advice:
      "`problem` names the endpoints, `/api/cordons` says who did that, why and until when; uncordon one or wait until it expires.",
  },
  no_endpoints: {
    status: 503,
    text: "Service Unavailable",
    cause: "edge",
    level: "warn",
    meaning:
      "The service that the route leads to has no endpoint: none is written, its name is not resolved, or all weights are 0.",
    advice: "`problem` names the service, `edgeproxy explain URL` the route; give the service an endpoint in the routes file.",
  },
  rate_limited: {
    status: 429,
    text: "Too Many Requests",
    cause: "client",
    level: "debug",
    meaning: "The client has sent more requests than the `rateLimit` of the route allows.",
    advice:
      "`Retry-After` and the RateLimit fields tell the client when to come again; raise the limit if such clients are welcome.",
  },
  breaker_open: {
    status: 503,
    text: "Service Unavailable",
    cause: "vm",
    level: "debug",
    meaning: "The circuit breaker of every endpoint that could take the request is open.",
    advice:
      "The log line `breaker opened` has the endpoint and what opened it, `/api/breakers` all that are open; they close by themselves once trials succeed.",
  },
  queue_full: {
    status: 503,
    text: "Service Unavailable",
    cause: "vm",
    level: "debug",
    meaning: "Every endpoint carries as many requests as `limits.hard` allows, and as many wait as `limits.queue` allows.",
    advice: "The service is slower than its clients are many: give it more endpoints, or raise its `limits`.",
  },
  queue_timeout: {
    status: 503,
    text: "Service Unavailable",
    cause: "vm",
    level: "debug",
    meaning: "The request waited for `limits.queueTimeout`, and no endpoint had a place for it.",
    advice: "The service is slower than its clients are many: give it more endpoints, or raise its `limits`.",
  },
  maintenance: {
    status: 503,
    text: "Service Unavailable",
    cause: "edge",
    level: "debug",
    meaning: "The route or its service is in maintenance, as an operator has ordered.",
    advice: "It ends when `maintenance.enabled` is false, or by the admin API.",
  },
  no_table: {
    status: 503,
    text: "Service Unavailable",
    cause: "database",
    level: "debug",
    meaning: "The proxy has just started and has not loaded the routing table yet.",
    advice: "`/readyz` says why; a state folder (`EDGEPROXY_STATE_DIR`) lets it start while the database is away.",
  },
  overloaded: {
    status: 503,
    text: "Service Unavailable",
    cause: "edge",
    level: "error",
    meaning: "The proxy has as many connections to endpoints as its file limit allows, all of them busy.",
    advice: "Raise the file limit (`LimitNOFILE`), or look for endpoints that answer slowly and so hold many connections.",
  },
  connect_failed: {
    status: 502,
    text: "Bad Gateway",
    cause: "endpoint",
    level: "error",
    meaning: "The endpoint refused the connection or is unreachable.",
    advice: "The log line's `problem` has the system's error: is the application up, its port right, the network open?",
  },
  connect_timeout: {
    status: 502,
    text: "Bad Gateway",
    cause: "endpoint",
    level: "error",
    meaning: "The endpoint did not accept the connection within EDGEPROXY_CONNECT_TIMEOUT.",
    advice: "Packets are dropped (firewall, dead machine), or the application's queue of connections is full.",
  },
  upstream_reset: {
    status: 502,
    text: "Bad Gateway",
    cause: "endpoint",
    level: "error",
    meaning: "The endpoint closed the connection before its answer was complete.",
    advice: "The application crashed, was restarted or gave up; its own log at that moment says why.",
  },
  upstream_protocol: {
    status: 502,
    text: "Bad Gateway",
    cause: "endpoint",
    level: "error",
    meaning: "The endpoint sent something that is not valid HTTP/1.1.",
    advice: "`problem` names the rule; docs/http.md has it with its RFC section. Often the port speaks something else than HTTP.",
  },
  response_timeout: {
    status: 504,
    text: "Gateway Timeout",
    cause: "endpoint",
    level: "error",
    meaning: "The endpoint did not answer within EDGEPROXY_RESPONSE_TIMEOUT.",
    advice: "The application is too slow or stuck; raise the timeout only if such answers are meant to take that long.",
  },
  stream_timeout: {
    status: 504,
    text: "Gateway Timeout",
    cause: "endpoint",
    level: "error",
    meaning: "No byte moved in either direction for EDGEPROXY_STREAM_TIMEOUT.",
    advice: "The endpoint stopped in the middle, or a tunnel was silent: let it send something now and then, or raise the timeout.",
  },
  bad_request: {
    status: 400,
    text: "Bad Request",
    cause: "client",
    level: "debug",
    meaning: "The request is malformed or ambiguous.",
    advice: "`problem` names the rule; docs/http.md has it with its RFC section. Scanners cause many of these.",
  },
  unsupported_coding: {
    status: 501,
    text: "Not Implemented",
    cause: "client",
    level: "debug",
    meaning: "The request body has a transfer coding other than chunked.",
    advice: "The client has to send its body plain or chunked.",
  },
  head_too_large: {
    status: 431,
    text: "Request Header Fields Too Large",
    cause: "client",
    level: "debug",
    meaning: "The request head is larger than EDGEPROXY_MAX_HEADER_SIZE or has more than 128 fields.",
    advice: "Mostly cookies that grew; raise the limit if the application means them.",
  },
  target_too_long: {
    status: 414,
    text: "URI Too Long",
    cause: "client",
    level: "debug",
    meaning: "The request target is longer than 8 KiB.",
    advice: "The client has to send that much in a body.",
  },
  body_too_large: {
    status: 413,
    text: "Content Too Large",
    cause: "client",
    level: "debug",
    meaning: "The request body is larger than EDGEPROXY_MAX_BODY_SIZE.",
    advice: "Raise the limit if such uploads are meant to pass.",
  },
  head_timeout: {
    status: 408,
    text: "Request Timeout",
    cause: "client",
    level: "debug",
    meaning: "The request head was not complete within EDGEPROXY_HEADER_TIMEOUT.",
    advice: "A very slow client, or one that holds connections on purpose; nothing to do unless there are many.",
  },
  body_timeout: {
    status: 408,
    text: "Request Timeout",
    cause: "client",
    level: "debug",
    meaning: "The request body stopped arriving for EDGEPROXY_STREAM_TIMEOUT, or came at less than EDGEPROXY_MIN_BODY_RATE.",
    advice: "A very slow client, or one that holds connections on purpose; lower the rate if such clients are welcome.",
  },
  send_timeout: {
    status: null,
    text: "",
    cause: "client",
    level: "debug",
    meaning: "The client took nothing of its answer for EDGEPROXY_STREAM_TIMEOUT.",
    advice: "A client that stopped reading; nothing to do unless there are many.",
  },
  client_gone: {
    status: null,
    text: "",
    cause: "client",
    level: "debug",
    meaning: "The client left before its request or its answer was complete.",
    advice:
      "Usual in small numbers. Many at once: the answers take longer than clients wait; compare `first_byte_ms` in the access log. Not those that leave in order (FIN) while they wait: they count as half-closed, and only `problem` tells of them, unless they wait for a place at their service: there a FIN more than a second after their last bytes counts as leaving.",
  },
  cut_off: {
    status: null,
    text: "",
    cause: "edge",
    level: "warn",
    meaning: "The exchange was still running when the grace of the drain was over.",
    advice: "Raise `EDGEPROXY_SHUTDOWN_TIMEOUT` if such exchanges are meant to end by themselves.",
  },
  loop: {
    status: 508,
    text: "Loop Detected",
    cause: "edge",
    level: "error",
    meaning: "The request has come back to this region, or has passed three edges.",
    advice: "Two regions' tables disagree for longer than a moment, or a VM forwards to the edge: `edgeproxy explain` in both.",
  },
  internal: {
    status: 500,
    text: "Internal Server Error",
    cause: "edge",
    level: "error",
    meaning: "A bug of the proxy.",
    advice: 'The line "handler failed" with the same moment has the stack: please report it.',
  },
} as const satisfies Record<string, CodeRow>;

/** A stable error code, as in `X-Edgeproxy-Error`, logs and metrics. */
export type ErrorCode = keyof typeof CODES;

/** A code with an own answer. */
export type AnswerCode = { [Code in ErrorCode]: (typeof CODES)[Code]["status"] extends number ? Code : never }[ErrorCode];

/** All codes in a fixed order; metrics index by it. */
export const ERROR_CODES = Object.keys(CODES) as readonly ErrorCode[];

/** Those with an own answer. */
export const ANSWER_CODES = ERROR_CODES.filter((code): code is AnswerCode => CODES[code].status !== null);

/** `endpoint`: what the exchange was last sent to, null when nowhere: then a VM of this region was meant. */
export function blameOf(code: ErrorCode, endpoint: "vm" | "region" | null): Blame {
  const cause: Cause = CODES[code].cause;
  return cause === "endpoint" ? endpoint ?? "vm" : cause;
}

export function noBlames(): BlameCounts {
  return { client: 0, vm: 0, region: 0, edge: 0, database: 0 };
}

/** May the request be sent again: never; only if the connection was a reused one; always (no byte left us). */
export type RetryRight = "never" | "if-reused" | "safe";

/** A failure of an attempt. Only `forwarding/failure.ts` turns one into a status, a log level and a metric. */
export class ProxyError extends Error {
  readonly code: AnswerCode;
  readonly retry: RetryRight;

  constructor(code: AnswerCode, message: string, retry: RetryRight = "never", cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = "ProxyError";
    this.code = code;
    this.retry = retry;
  }
}
