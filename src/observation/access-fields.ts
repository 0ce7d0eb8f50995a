/** What a line of the access log says: the one table that docs/access-log.md is made of, and that tests hold every line against. */

/** Grows when a field is renamed, removed or changes its meaning; new fields may come without. */
export const ACCESS_SCHEMA = 1;

export type AccessFieldType = "string" | "integer" | "number" | "number or null" | "boolean";

export interface AccessField {
  readonly name: string;
  readonly type: AccessFieldType;
  readonly meaning: string;
}

/** In the order of the line. */
export const ACCESS_FIELDS: readonly AccessField[] = [
  { name: "time", type: "string", meaning: "when the exchange ended (RFC 3339, UTC, milliseconds)" },
  { name: "level", type: "string", meaning: "always `info`" },
  { name: "msg", type: "string", meaning: "always `access`: tells these lines from those of the application log" },
  { name: "schema", type: "integer", meaning: `version of this table: ${ACCESS_SCHEMA}; fields may be added without a new one` },
  { name: "method", type: "string", meaning: "as sent; empty where the request line could not be read" },
  { name: "host", type: "string", meaning: "the host asked for, normalised: lower case, no port, no final dot" },
  { name: "path", type: "string", meaning: "`target` up to its query" },
  { name: "status", type: "integer", meaning: "of the answer; 0 when no head was sent" },
  { name: "bytes_in", type: "integer", meaning: "of the request's body, without its framing; of a tunnel, all from the client" },
  { name: "bytes_out", type: "integer", meaning: "of the answer's body, likewise" },
  { name: "duration_ms", type: "number", meaning: "from the request's first byte to the end of the exchange" },
  {
    name: "upstream",
    type: "string",
    meaning: "`address:port` of the endpoint that answered or failed last; empty: none was asked",
  },
  { name: "region", type: "string", meaning: "id of the region where that endpoint's VM runs" },
  { name: "request_id", type: "string", meaning: "as in `X-Request-Id`" },
  { name: "error", type: "string", meaning: "a code of [errors.md](errors.md); empty: the exchange ended well" },
  { name: "trace_id", type: "string", meaning: "of the `traceparent` that was forwarded: 32 hexadecimal digits" },
  { name: "client", type: "string", meaning: "address of the connection's peer" },
  { name: "protocol", type: "string", meaning: "`HTTP/1.1` or `HTTP/1.0`" },
  { name: "target", type: "string", meaning: "as sent, with its query; user information in it is replaced by `***`" },
  { name: "route", type: "string", meaning: "the domain or wildcard of the table that the host matched; empty: none" },
  {
    name: "policy",
    type: "string",
    meaning: "id of the route of the routes file, or of the domain's policy, that applied; empty: none",
  },
  { name: "service", type: "string", meaning: "the service that this route led to; empty: none, or the route answered by itself" },
  {
    name: "decided_by",
    type: "string",
    meaning: "name in `Via` of the other region's edge that had drawn this service, and counted the request; empty: none",
  },
  {
    name: "outcome",
    type: "string",
    meaning:
      "`forwarded`: answered by an endpoint, whole; `refused`: answered by the proxy; `aborted`: the client left, or was cut " +
      "off; `truncated`: the endpoint's answer broke off; `tunnelled`: an upgrade, ended",
  },
  {
    name: "blame",
    type: "string",
    meaning: "whose doing the error was: `client`, `vm`, `region`, `edge`, `database`; empty: none",
  },
  {
    name: "problem",
    type: "string",
    meaning:
      "the error in words (of `vm_unhealthy` and `vm_cordoned` the endpoints that were meant, which were not asked), or why an " +
      "earlier attempt failed, or that the client had closed its side before the answer was complete, or that the fallback of an open breaker has answered; empty: none",
  },
  { name: "ended_by", type: "string", meaning: "who ended the exchange, well or badly: `client`, `vm`, `region`, `edge`" },
  { name: "head_wait_ms", type: "number", meaning: "from the request's first byte until its head was complete" },
  { name: "probe_wait_ms", type: "number", meaning: "spent on waiting for the verdict of a VM's probe, or for a newer table" },
  {
    name: "queue_wait_ms",
    type: "number",
    meaning: "spent on waiting for a place at an endpoint that carried as many requests as it may",
  },
  { name: "connect_ms", type: "number", meaning: "spent on waiting for connections to endpoints; 0 on pooled ones" },
  {
    name: "first_byte_ms",
    type: "number or null",
    meaning: "from the end of the request's head until the head of the answer was there; null without an answer",
  },
  { name: "attempts", type: "integer", meaning: "how often the request was sent to an endpoint, or was tried to be" },
  {
    name: "retry",
    type: "string",
    meaning:
      "what the retry policy of its service made of failed attempts, in order: `connect`, `reset`, `timeout` or `status` where it was " +
      "sent again, `no ` and why where it was not (`unsafe`, `body`, `attempts`, `time`, `budget`, `cause`, `answered`); empty: " +
      "nothing failed, or there is no policy",
  },
  { name: "reused", type: "boolean", meaning: "the last attempt went on a pooled connection" },
  { name: "worker", type: "integer", meaning: "number of the worker process; 0 where everything is one process" },
  {
    name: "sample",
    type: "number",
    meaning: "share of exchanges like this one that are written: the line stands for 1/`sample` of them",
  },
];
