/** What the policies of a service mean for its requests, through the whole data plane on sockets in memory. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { H1Connection } from "../../src/downstream/h1-connection.ts";
import type { H1UpstreamConnection } from "../../src/upstream/h1-connection.ts";
import { keptBodyBytes } from "../../src/forwarding/retries.ts";
import { Policies } from "../../src/table/policies.ts";
import type {
  BreakerPolicy,
  MaintenancePolicy,
  PolicyRoute,
  RetryPolicy,
  ServicePolicy,
  ServiceRecord,
} from "../../src/table/policy.ts";
import { EndpointWatch, type Guard } from "../../src/upstream/endpoint-watch.ts";
import { type Dial, World } from "../fixtures/world.ts";
import { filePolicies, policyRoute, service } from "../fixtures/policies.ts";

const RETRY: RetryPolicy = {
  attempts: 2,
  on: ["reset"],
  statuses: [],
  budget: 1,
  backoffMs: 0,
  maxBodyBytes: 1000,
  totalMs: 0,
};
const BREAKER: BreakerPolicy = {
  failures: 1,
  failureRate: 0,
  minRequests: 1,
  windowMs: 1000,
  openForMs: 1000,
  halfOpenRequests: 1,
  scope: "endpoint",
  strategy: "fail-fast",
  fallback: null,
};
const NO_TIMEOUTS = { connectMs: null, responseMs: null, idleMs: null };

/** Everything goes by this route; all endpoints are healthy. */
function world(services: readonly ServiceRecord[], route: PolicyRoute, dials: readonly Dial[]): World {
  const made = new World("later", 0);
  made.leaveTable();
  made.enforce(new Policies(filePolicies(services, [route]), new Map()));
  for (const { endpoints } of services) for (const each of endpoints ?? []) made.endpoints.of(each).judge("healthy");
  made.dials.push(...dials);
  return made;
}

test("a service that answers in a maintenance has its own timeouts and retries", () => {
  const page = service("page", ["10.0.0.7:80", "10.0.0.8:80"], { retry: RETRY, timeouts: { ...NO_TIMEOUTS, responseMs: 400 } });
  const maintenance: MaintenancePolicy = { enabled: true, service: "page", answer: { status: 503, body: "", headers: [] } };
  using w = world([service("users", ["10.0.0.5:80"]), page], policyRoute("all", "users", { maintenance }), ["open", "open"]);
  w.client.send(Buffer.from("GET / HTTP/1.1\r\nHost: app.test\r\n\r\n"));
  w.network.settle();
  const connection = w.vm[0]!.handler as unknown as { deadlineAtMs: number };
  assert.ok(connection.deadlineAtMs <= performance.now() + 400, "the response timeout of the page");
  w.vm[0]!.abort();
  w.network.settle();
  w.vm[1]!.send(Buffer.from("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"));
  w.network.settle();
  assert.match(w.client.take().toString(), /^HTTP\/1\.1 200 OK\r\n[^]*X-Edgeproxy-Attempts: 2\r\n/);
});

const HALF = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nha";
const SWITCHED = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\n";

test("guards of an endpoint are told that it has stalled, and not of what clients do or of quiet tunnels", () => {
  const cases: readonly [answer: string, code: "stream_timeout" | "body_timeout", told: string[]][] = [
    ["", "stream_timeout", ["ended stream_timeout"]],
    ["", "body_timeout", ["ended null"]],
    [HALF, "stream_timeout", ["answered 200", "ended stream_timeout"]],
    [SWITCHED, "stream_timeout", ["answered 101", "ended null"]],
  ];
  for (const [answer, code, expected] of cases) {
    const users = service("users", ["10.0.0.5:80"]);
    using w = world([users], policyRoute("all", "users"), ["open"]);
    const told: string[] = [];
    const guard: Guard = {
      look: () => null,
      enter: () => ({
        answered: (status) => void told.push(`answered ${status}`),
        ended: (failure) => void told.push(`ended ${failure}`),
      }),
    };
    w.endpoints.of(users.endpoints![0]!).watch = new EndpointWatch([guard]);
    w.client.send(Buffer.from("GET / HTTP/1.1\r\nHost: app.test\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\n"));
    w.network.settle();
    w.vm[0]!.send(Buffer.from(answer));
    w.network.settle();
    (w.client.handler as H1Connection).input.exchange!.timedOut(code, "No byte moved");
    w.network.settle();
    assert.deepEqual(told, expected, `${code} behind ${JSON.stringify(answer)}`);
  }
});

/** What the client got, without what changes from run to run. */
function attemptsIn(answer: string): [status: string, attempts: string[]] {
  return [answer.split(" ")[1] ?? "", [...answer.matchAll(/^X-Edgeproxy-Attempts: (.*)\r$/gm)].map(([, count]) => count!)];
}

test("whatever the proxy itself answers after an attempt tells of it, once", () => {
  const users = service("users", ["10.0.0.5:80"], { retry: RETRY });
  const ends: readonly [status: string, end: (w: World) => void][] = [
    ["504", (w) => (w.client.handler as H1Connection).input.exchange!.timedOut("stream_timeout", "No byte moved")],
    ["413", (w) => w.client.send(Buffer.from("5\r\nmore!\r\n"))],
    ["400", (w) => w.client.send(Buffer.from("nonsense\r\n"))],
    ["502", (w) => w.vm[0]!.send(Buffer.from("nonsense\r\n\r\n"))],
  ];
  for (const [status, end] of ends) {
    using w = world([users], policyRoute("all", "users", { maxBodyBytes: 8 }), ["open"]);
    w.client.send(Buffer.from("PUT / HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbegin\r\n"));
    w.network.settle();
    end(w);
    w.network.settle();
    assert.deepEqual(attemptsIn(w.client.take().toString()), [status, ["1"]]);
    assert.equal(keptBodyBytes(), 0, status);
  }
});

test("a fall-back that answers for a failed attempt tells of it, and keeps nothing of the body", () => {
  const fallback = { status: 200, body: "[]", headers: [] };
  const retry = { ...RETRY, statuses: [{ from: 503, to: 503 }] };
  const users = service("users", ["10.0.0.5:80"], { retry, breaker: { ...BREAKER, strategy: "fallback", fallback } });
  using w = world([users], policyRoute("all", "users"), ["open"]);
  let open = false;
  const guard: Guard = { look: () => open ? "open" : null, enter: () => ({ answered() {}, ended: () => void (open = true) }) };
  w.endpoints.of(users.endpoints![0]!).watch = new EndpointWatch([guard]);
  w.client.send(Buffer.from("PUT / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 5\r\n\r\nbegin"));
  w.network.settle();
  assert.equal(keptBodyBytes(), 5);
  w.vm[0]!.send(Buffer.from("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"));
  w.network.settle();
  assert.deepEqual(attemptsIn(w.client.take().toString()), ["200", ["1"]]);
  assert.equal(keptBodyBytes(), 0);
});

const ANSWER = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/** Time passes without a byte; less than the stream timeout, which is 10 s. */
function quietFor(w: World, ms: number): void {
  w.sweep.nowMs += ms;
  const connection = w.client.handler as H1Connection;
  if (w.sweep.isDue(connection)) connection.onDeadline();
  w.network.settle();
}

test("an attempt that comes late is no silence of the endpoint that it goes to", () => {
  const users = service("users", ["10.0.0.5:80", "10.0.0.6:80"], { retry: { ...RETRY, on: ["timeout"] } });
  using w = world([users], policyRoute("all", "users"), ["open", "open"]);
  w.say(w.client, "GET / HTTP/1.1\r\nHost: app.test\r\n\r\n");
  quietFor(w, 8000);
  (w.vm[0]!.handler as H1UpstreamConnection).onDeadline();
  w.network.settle();
  quietFor(w, 8000);
  w.say(w.vm[1]!, ANSWER);
  assert.deepEqual(attemptsIn(w.client.take().toString()), ["200", ["2"]]);
});

/** A request that waits for the place of a service's only endpoint. */
function waiting(policy: Partial<ServicePolicy> = {}) {
  const limits = { soft: 0, hard: 1, queue: 1, queueTimeoutMs: 60_000 };
  const users = service("users", ["10.0.0.5:80"], { limits, ...policy });
  const w = world([users], policyRoute("all", "users"), ["open"]);
  let full = true;
  const visit = { answered() {}, ended() {} };
  const guard: Guard = { look: () => full ? "full" : null, enter: () => full ? null : visit };
  w.endpoints.of(users.endpoints![0]!).watch = new EndpointWatch([guard]);
  w.say(w.client, "GET / HTTP/1.1\r\nHost: app.test\r\n\r\n");
  assert.equal(w.metrics.exchangesQueued, 1);
  const free = async (): Promise<void> => {
    full = false;
    while (w.metrics.exchangesQueued > 0) await new Promise((resolve) => setTimeout(resolve, 1));
    w.network.settle();
  };
  return { w, free };
}

test("who waits for a place has the time of the queue, and then that of every request", async () => {
  const { w, free } = waiting();
  using _ = w;
  for (let i = 0; i < 4; i++) quietFor(w, 8000);
  assert.equal(w.client.take().toString(), "");
  await free();
  quietFor(w, 8000);
  w.say(w.vm[0]!, ANSWER);
  assert.deepEqual(attemptsIn(w.client.take().toString()), ["200", []]);
});

test("the time for all attempts begins with the first of them", async () => {
  const { w, free } = waiting({ retry: { ...RETRY, totalMs: 20 } });
  using _ = w;
  await new Promise((resolve) => setTimeout(resolve, 30));
  const freedAtMs = performance.now();
  await free();
  assert.ok((w.vm[0]!.handler as H1UpstreamConnection).deadlineAtMs > freedAtMs + 15, "the VM has time to answer");
});

test("the time for all attempts is not used up by a client that takes long to send", async () => {
  const users = service("users", ["10.0.0.5:80"], { retry: { ...RETRY, totalMs: 400 } });
  using w = world([users], policyRoute("all", "users"), ["open"]);
  w.say(w.client, "PUT / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 10\r\n\r\nbegin");
  await new Promise((resolve) => setTimeout(resolve, 500));
  const sentAtMs = performance.now();
  w.say(w.client, "ended");
  assert.ok((w.vm[0]!.handler as H1UpstreamConnection).deadlineAtMs > sentAtMs, "the VM has time to answer");
});
