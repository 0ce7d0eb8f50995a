/** Retries (docs/routes.md): what may be repeated is, what may not never arrives twice, and an outage is not made worse. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { Edgeproxy } from "../fixtures/edgeproxy.ts";
import { type Arrivals, type Fault, FAULTS, noArrivals, startFaultyVm } from "../fixtures/faulty-vm.ts";
import { freePort, loopbackAddress } from "../fixtures/ports.ts";
import { getRequest, openRaw, type RawConnection, rawRequest, type RawResponse } from "../fixtures/raw-client.ts";
import { endpointsOf, startRouted } from "../fixtures/routed-edge.ts";
import { metric } from "../fixtures/served-vms.ts";
import { UnresponsiveListener } from "../fixtures/unresponsive-listener.ts";
import { respond, startVm, type Vm } from "../fixtures/vm.ts";

const POSTS = 10_000;
const CLIENTS = 64;
const EVERYTHING = { attempts: 4, on: ["connect", "reset", "timeout", 502, 503], budget: 1, backoff: "1ms" };
const NO_CHECKS = { health: { type: "none" } };

const stack = new AsyncDisposableStack();
let faults: readonly Fault[] = FAULTS;
/** Not so many that the budget, which is as large as it can be, is used up. */
const SOME_FAULTS: readonly Fault[] = FAULTS.flatMap((fault) => ["none", "none", fault] as const);
const arrivals: Arrivals = noArrivals();
let edge: Edgeproxy;
/** Of the service `steady`. */
let good: Vm, bad: Vm;
/** Of the services `unsaid` and `checked`, beside one that refuses connections. */
let kept: Vm;
/** Of the services `outage` and `seldom`. */
const outage: Vm[] = [];
after(() => stack.disposeAsync());

before(async () => {
  let turn = 0;
  const next = (): Fault => faults[turn++ % faults.length]!;
  const faulty = [stack.use(await startFaultyVm(arrivals, next)), stack.use(await startFaultyVm(arrivals, next))];
  good = stack.use(await startVm());
  bad = stack.use(await startVm());
  kept = stack.use(await startVm());
  for (let i = 0; i < 3; i++) outage.push(stack.use(await startVm({ script: respond(503, "down") })));
  const silent = stack.use(await UnresponsiveListener.start(loopbackAddress()));
  const closed = { host: "127.0.0.1", port: await freePort() };
  edge = await startRouted(stack, {
    // The others answer at once, as far as the machine lets them
    faulty: { ...NO_CHECKS, endpoints: endpointsOf(...faulty, closed), retry: EVERYTHING, timeouts: { response: "250ms" } },
    steady: { ...NO_CHECKS, endpoints: endpointsOf(good, bad), retry: { ...EVERYTHING, attempts: 2, backoff: "0s" } },
    silent: {
      ...NO_CHECKS,
      endpoints: endpointsOf(silent),
      timeouts: { connect: "1m" },
      retry: { ...EVERYTHING, total: "200ms" },
    },
    unsaid: { ...NO_CHECKS, endpoints: endpointsOf(kept, closed) },
    checked: { endpoints: endpointsOf(kept, closed), retry: { attempts: 2 } },
    outage: { ...NO_CHECKS, endpoints: endpointsOf(...outage), retry: { ...EVERYTHING, budget: 0.2 } },
    seldom: { ...NO_CHECKS, endpoints: endpointsOf(...outage), retry: { ...EVERYTHING, budget: 0.2 } },
  }, { EDGEPROXY_WORKERS: "2", EDGEPROXY_ACCESS_LOG: "on" });
});

/** Clients that send requests one after the other, each with its number, until all are sent. */
async function flood(count: number, clients: number, exchange: (client: RawConnection, id: number) => Promise<RawResponse>) {
  const statuses = new Map<number | "broken off", number>();
  let id = 0;
  const run = async (): Promise<void> => {
    let client: RawConnection | null = null;
    while (id < count) {
      client ??= await openRaw(edge.port, edge.host);
      const status: number | "broken off" = await exchange(client, id++).then(
        (answer) => answer.status,
        () => "broken off" as const,
      );
      statuses.set(status, (statuses.get(status) ?? 0) + 1);
      if (status !== 200 || client.ending !== null) {
        await client[Symbol.asyncDispose]();
        client = null;
      }
    }
    await client?.[Symbol.asyncDispose]();
  };
  await Promise.all(Array.from({ length: clients }, run));
  return statuses;
}

/** In two pieces, some with their length and some in chunks. */
function upload(method: string, client: RawConnection, id: string, body: Buffer, ...fields: string[]): Promise<RawResponse> {
  const chunked = body.length % 2 === 1;
  const framing = chunked ? "Transfer-Encoding: chunked" : `Content-Length: ${body.length}`;
  client.send([`${method} / HTTP/1.1`, "Host: faulty.test", `X-Id: ${id}`, framing, ...fields, "", ""].join("\r\n"));
  const half = body.length >> 1;
  const pieces = [body.subarray(0, half), body.subarray(half)];
  const send = (piece: Buffer): void => {
    if (!chunked) return client.send(piece);
    client.send(`${piece.length.toString(16)}\r\n`);
    client.send(piece);
    client.send("\r\n");
  };
  send(pieces[0]!);
  setImmediate(() => {
    send(pieces[1]!);
    if (chunked) client.send("0\r\n\r\n");
  });
  return client.readResponse();
}

test(`${POSTS} POSTs meet every fault, and none of them arrives twice`, async () => {
  const statuses = await flood(
    POSTS,
    CLIENTS,
    (client, id) => upload("POST", client, `post-${id}`, Buffer.alloc(40 + id % 7, "x")),
  );
  const twice = [...arrivals.count].filter(([id, count]) => id.startsWith("post-") && count > 1);
  assert.deepEqual(twice.slice(0, 5), []);
  const good = statuses.get(200) ?? 0;
  assert.ok(good >= POSTS * 0.1, `only ${good} of them went well: ${JSON.stringify([...statuses])}`);
  const counted = async (sample: string) => await metric(edge, `edgeproxy_upstream_retries_${sample}`);
  await edge.waitFor(async () => await counted('total{reason="connect"}') > 1000, "did not send refused ones elsewhere");
  await edge.waitFor(
    async () => await counted('refused_total{reason="unsafe"}') > 1000,
    "does not count what it did not send again",
  );
});

test("PUTs through the same faults are sent again, with the same body", async () => {
  const body = (id: number) => Buffer.alloc(2 + (id * 977) % 60_000, `body of ${id}`);
  const before = await metric(edge, 'edgeproxy_upstream_retries_total{reason="reset"}');
  faults = SOME_FAULTS;
  const statuses = await flood(400, 16, (client, id) => upload("PUT", client, `put-${id}`, body(id)));
  const wrong: string[] = [];
  for (let id = 0; id < 400; id++) {
    for (const arrived of arrivals.bodies.get(`put-${id}`) ?? []) if (!arrived.equals(body(id))) wrong.push(`put-${id}`);
  }
  assert.deepEqual(wrong, []);
  assert.ok((statuses.get(200) ?? 0) >= 300, JSON.stringify([...statuses]));
  await edge.waitFor(async () => await metric(edge, 'edgeproxy_upstream_retries_total{reason="reset"}') > before);
});

test("POSTs with Idempotency-Key are sent again", async () => {
  const key = (id: number) => `Idempotency-Key: key-${id}`;
  await flood(100, 8, (client, id) => upload("POST", client, `keyed-${id}`, Buffer.from("ab"), key(id)));
  const again = [...arrivals.count].filter(([id, count]) => id.startsWith("keyed-") && count > 1).length;
  assert.ok(again > 10, `only ${again} of 100`);
});

/** The answer to a request, and what the access log says of it. */
async function told(request: string): Promise<readonly [status: number, attempts: string, retry: unknown, logged: unknown]> {
  const answer = await rawRequest(edge.port, request);
  const field = (name: string) => answer.fields.find(([each]) => each.toLowerCase() === name)?.[1] ?? "";
  const id = field("x-request-id");
  const line = id === ""
    ? await edge.waitForLog((each) => each["msg"] === "access" && each["target"] === targetOf(request))
    : await edge.waitForLog((each) => each["msg"] === "access" && each["request_id"] === id);
  return [answer.status, field("x-edgeproxy-attempts"), line["retry"], line["attempts"]];
}

function targetOf(request: string): string {
  return request.split(" ")[1] ?? "";
}

test("the answer and the log tell of attempts, and why one more was made or not", async () => {
  good.script = bad.script = respond(503, "busy");
  const get = (path: string) => getRequest("steady.test", path);
  const post = (path: string) => `POST ${path} HTTP/1.1\r\nHost: steady.test\r\nContent-Length: 1\r\n\r\nx`;
  assert.deepEqual(await told(get("/both-busy")), [503, "2", "status, no attempts", 2]);
  assert.deepEqual(await told(post("/unsafe")), [503, "1", "no unsafe", 1]);
  good.script = respond(200, "ok");
  bad.script = (_request, connection) => connection.reset();
  const seen = new Set<string>();
  for (let i = 0; i < 50 && seen.size < 2; i++) {
    // A pooled connection that is found dead makes one attempt more, which is none of the policy's
    const [status, attempts, retry, logged] = await told(get(`/one-resets-${i}`));
    assert.equal(attempts, String(logged));
    seen.add(`${status} ${retry}`);
  }
  assert.deepEqual(seen, new Set(["200 ", "200 reset"]));
});

test("what one endpoint refuses goes to another, also without a retry policy, also before there is a verdict", async () => {
  for (const name of ["unsaid", "checked"]) {
    const statuses = new Set<number>();
    kept.requests.length = 0;
    for (let i = 0; i < 20; i++) {
      statuses.add((await rawRequest(edge.port, `POST /${i} HTTP/1.1\r\nHost: ${name}.test\r\nContent-Length: 1\r\n\r\nx`)).status);
    }
    assert.deepEqual([[...statuses], kept.requests.length], [[200], 20], name);
  }
});

test("the time for all attempts is also that of their connections", async () => {
  assert.deepEqual((await told(getRequest("silent.test"))).slice(0, 2), [502, "1"]);
});

test("a total outage is met with a fifth more attempts, not with a multiple", async () => {
  const count = 1500;
  const sinceMs = performance.now();
  await flood(count, 16, (client) => (client.send(getRequest("outage.test")), client.readResponse()));
  const attempts = outage.reduce((sum, { requests }) => sum + requests.length, 0);
  const windows = 1 + Math.ceil((performance.now() - sinceMs) / 8000);
  const spare = windows * 10; // of both workers
  assert.ok(attempts <= count * 1.2 + spare, `${attempts} attempts`);
  assert.ok(attempts >= count * 1.15, `${attempts} attempts`);
  await edge.waitFor(async () => await metric(edge, 'edgeproxy_upstream_retries_refused_total{reason="budget"}') > 0);
});

test("a service with few requests has ten retries in ten seconds, of both workers together", async () => {
  for (const vm of outage) vm.requests.length = 0;
  const beganAtMs = performance.now();
  const count = 24; // each on a connection of its own: the workers share them
  for (let i = 0; i < count; i++) assert.equal((await rawRequest(edge.port, getRequest("seldom.test"))).status, 503);
  const windows = 1 + Math.floor((performance.now() - beganAtMs) / 8000);
  const retries = outage.reduce((sum, { requests }) => sum + requests.length, -count);
  assert.ok(retries >= 10 && retries <= 10 * windows, `${retries} retries`);
});
