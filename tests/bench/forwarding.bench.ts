/*  What one forwarded request costs our own code: the data plane between two sockets that cost nothing, without kernel, loop and load.
 *
 *      bun tests/bench/forwarding.bench.ts [SECONDS [KIND,...]]
 *
 *  Prints one JSON line: nanoseconds per request by kind of request, the fastest of several rounds. A difference of a tenth of a
 *  microsecond shows here that drowns in the noise of a benchmark over sockets; only that one says what it is worth.
 */
import assert from "node:assert/strict";
import process from "node:process";
import { H1Connection } from "../../src/downstream/h1-connection.ts";
import type { Socket, SocketSink } from "../../src/runtime/sockets.ts";
import { ConnectionLimit } from "../../src/upstream/connection-limit.ts";
import { H1UpstreamConnection } from "../../src/upstream/h1-connection.ts";
import { Policies } from "../../src/table/policies.ts";
import {
  type FieldEdits,
  OWN_VMS,
  type PolicyRoute,
  type RateLimitPolicy,
  type RewritePolicy,
  type RouteMatch,
} from "../../src/table/policy.ts";
import { LIMITS, World } from "../fixtures/world.ts";
import { filePolicies, policyRoute } from "../fixtures/policies.ts";

const BATCH = 20_000;
const ROUNDS = 8;

/** Takes everything at once. */
class FreeSocket implements Socket {
  handler!: SocketSink;
  bulk = false;
  readonly remoteAddress = "127.0.0.1";
  readonly pendingBytes = 0;
  readonly settled = true;
  taken = 0;
  last: Buffer = Buffer.alloc(0);
  /** Keeps what it takes. */
  keep = true;

  write(bytes: Uint8Array): boolean {
    this.taken += bytes.length;
    if (this.keep) this.last = Buffer.from(bytes);
    return true;
  }

  writeCopied(scratch: Buffer, length: number): boolean {
    this.taken += length;
    if (this.keep) this.last = Buffer.from(scratch.subarray(0, length));
    return true;
  }

  end(): void {}
  destroy(): void {}
  reset(): void {}
  pause(): void {}
  resume(): void {}
}

interface Kind {
  readonly request: string;
  readonly answer: string;
  /** Of the one route of its host. */
  readonly policy?: Partial<PolicyRoute>;
}

const PLAIN_KINDS: Readonly<Record<"small" | "headers", Kind>> = {
  small: {
    request: "GET /small HTTP/1.1\r\nHost: app.test\r\n\r\n",
    answer:
      `HTTP/1.1 200 OK\r\nServer: nginx\r\nDate: Sat, 21 Nov 2026 12:00:00 GMT\r\nContent-Type: text/plain\r\nContent-Length: 100\r\n\r\n${
        "x".repeat(100)
      }`,
  },
  headers: {
    request: "GET /path/of/some/page?with=query&and=more HTTP/1.1\r\nHost: app.test\r\nConnection: keep-alive\r\n" +
      'sec-ch-ua: "Chromium";v="130"\r\nsec-ch-ua-mobile: ?0\r\nsec-ch-ua-platform: "Linux"\r\nUpgrade-Insecure-Requests: 1\r\n' +
      "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36\r\n" +
      "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\nSec-Fetch-Site: none\r\n" +
      "Sec-Fetch-Mode: navigate\r\nSec-Fetch-User: ?1\r\nSec-Fetch-Dest: document\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n" +
      `Accept-Language: en-US,en;q=0.9\r\nCookie: session=${"c".repeat(200)}\r\n\r\n`,
    answer:
      "HTTP/1.1 200 OK\r\nDate: Sat, 21 Nov 2026 12:00:00 GMT\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: 100\r\n" +
      'Connection: keep-alive\r\nCache-Control: private, max-age=0\r\nETag: "abc"\r\nVary: Accept-Encoding\r\nX-Frame-Options: DENY\r\n' +
      `Strict-Transport-Security: max-age=31536000\r\nSet-Cookie: a=${"d".repeat(80)}; Path=/; HttpOnly\r\n\r\n${"x".repeat(100)}`,
  },
};

const { small, headers } = PLAIN_KINDS;
const REQUEST_FIELDS: FieldEdits = { set: [["X-Gateway", "edge"], ["X-Client", "{client_ip}"]], add: [], remove: ["sec-ch-ua"] };
const RESPONSE_FIELDS: FieldEdits = {
  set: [["X-Frame-Options", "SAMEORIGIN"], ["X-Served", "{route}"]],
  add: [["Vary", "Origin"]],
  remove: ["server"],
};
const REWRITE: RewritePolicy = {
  stripPrefix: "/path",
  addPrefix: "/v1",
  replacePrefix: null,
  pattern: null,
  to: null,
  query: null,
};
/** Of a route that limits each client, and never refuses one. */
const RATE_LIMIT: RateLimitPolicy = { requests: 1e9, windowMs: 60_000, burst: 0, key: { kind: "client-ip" } };
const BY_CHANCE: Partial<PolicyRoute> = {
  requestFields: REQUEST_FIELDS,
  responseFields: RESPONSE_FIELDS,
  split: [{ service: OWN_VMS, share: 9000 }, { service: OWN_VMS, share: 1000 }],
};
/**
 * By a route: with nothing to say, with edits, with a rewritten target, with all that and a split that keeps clients; then `small` with
 * edits, a split, and a limit.
 */
const KINDS: Readonly<Record<string, Kind>> = {
  ...PLAIN_KINDS,
  matched: { ...headers, policy: {} },
  edited: { ...headers, policy: { requestFields: REQUEST_FIELDS, responseFields: RESPONSE_FIELDS } },
  rewritten: { ...headers, policy: { rewrite: REWRITE } },
  pattern: {
    ...headers,
    policy: { rewrite: { ...REWRITE, stripPrefix: null, addPrefix: null, pattern: "^/path/(.*)", to: "/v1/$1" } },
  },
  rich: {
    ...headers,
    policy: {
      requestFields: REQUEST_FIELDS,
      responseFields: RESPONSE_FIELDS,
      rewrite: REWRITE,
      split: [{ service: OWN_VMS, share: 9000 }, { service: OWN_VMS, share: 1000 }],
      splitKey: { kind: "client-ip" },
    },
  },
  smallSplit: { ...small, policy: BY_CHANCE },
  smallRich: { ...small, policy: { ...BY_CHANCE, rateLimit: RATE_LIMIT } },
};

const seconds = Number(process.argv[2] ?? 1);
const wanted = process.argv[3]?.split(",") ?? Object.keys(KINDS);
const result: Record<string, number> = {};
for (const [kind, { request, answer, policy }] of Object.entries(KINDS).filter(([kind]) => wanted.includes(kind))) {
  const world = new World("later", 0, { exchangeEnded() {} });
  const client = new FreeSocket(), vm = new FreeSocket();
  const { sweep, metrics, endpoint, environment } = world;
  if (policy !== undefined) {
    const match: RouteMatch = {
      path: { kind: "prefix", value: request.startsWith("GET /path") ? "/path" : "/small" },
      methods: [],
      headers: [],
      cookies: [],
      query: [],
      routeKey: null,
    };
    const route = policyRoute("app", OWN_VMS, { hosts: ["app.test"], match, ...policy });
    world.enforce(new Policies(filePolicies([], [route]), new Map()));
  }
  const upstream = new H1UpstreamConnection(vm, endpoint, {
    limits: LIMITS,
    sweep,
    metrics,
    connections: new ConnectionLimit(Infinity),
  });
  vm.handler = upstream;
  endpoint.idle.push(upstream);
  client.handler = new H1Connection(client, { address: "127.0.0.1", trusted: false, forwarded: null }, environment);
  const asked = Buffer.from(request), answered = Buffer.from(answer);
  const forward = (): void => {
    client.handler.onData(asked);
    vm.handler.onData(answered);
  };

  forward();
  assert.match(vm.last.toString(), /^GET .*\r\nHost: app\.test\r\n.*X-Forwarded-For: 127\.0\.0\.1\r\n.*Via: 1\.1 .*\r\n\r\n$/s);
  assert.match(client.last.toString(), /^HTTP\/1\.1 200 OK\r\n.*\r\n\r\nx{100}$/s);
  if (policy?.rewrite !== undefined) assert.match(vm.last.toString(), /^GET \/v1\/of\/some\/page\?with=query&and=more HTTP/);
  if (policy?.requestFields !== undefined) assert.match(vm.last.toString(), /\r\nX-Gateway: edge\r\nX-Client: 127\.0\.0\.1\r\n/);
  if (policy?.responseFields !== undefined) assert.match(client.last.toString(), /\r\nX-Served: app\r\n/);
  client.keep = vm.keep = false;

  let best = Infinity;
  for (let round = 0; round < ROUNDS; round++) {
    const untilMs = performance.now() + seconds * 1000 / ROUNDS;
    do {
      const startMs = performance.now();
      for (let i = 0; i < BATCH; i++) forward();
      best = Math.min(best, (performance.now() - startMs) * 1e6 / BATCH);
    } while (performance.now() < untilMs);
  }
  result[kind] = Math.round(best);
  sweep.close();
}
process.stdout.write(`${JSON.stringify({ bench: "forwarding", unit: "ns per request", ...result })}\n`);
process.exit(0);
