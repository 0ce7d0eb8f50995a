/** Rate limits of routes, counted by two workers as one: how many pass, what clients are told, and what counts survive. */
import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { after, before, test } from "node:test";
import { type Edgeproxy, temporaryFolder } from "../fixtures/edgeproxy.ts";
import { fieldValue } from "../fixtures/http1.ts";
import { get, Platform } from "../fixtures/platform.ts";
import { startPostgres, type TestDatabase } from "../fixtures/postgres.ts";
import { clientPorts } from "../fixtures/processes.ts";
import { getRequest, openRaw, type RawConnection } from "../fixtures/raw-client.ts";

const FLOOD = { requests: 300, windowMs: 2000 };

function routes(vm: string): string {
  return `
services:
  app: { endpoints: [{ url: "http://${vm}" }] }
routes:
  - { id: flood, hosts: [flood.test], service: app, rateLimit: { requests: ${FLOOD.requests}, window: 2s, key: client-ip } }
  - { id: clients, hosts: [clients.test], service: app, rateLimit: { requests: 2, window: 60s, key: client-ip } }
  - { id: tokens, hosts: [tokens.test], service: app, rateLimit: { requests: 1, window: 60s, burst: 1, key: "header:X-Token" } }
  - { id: whole, hosts: [whole.test], service: app, rateLimit: { requests: 3, window: 60s, key: route } }
  - { id: lasting, hosts: [lasting.test], service: app, rateLimit: { requests: 5, window: 10m } }
  - { id: looked-at, hosts: [looked.test], service: app, rateLimit: { requests: 1, window: 60s } }
`;
}

let server: TestDatabase;
let resources: AsyncDisposableStack;
let edge: Edgeproxy;
before(async () => {
  resources = new AsyncDisposableStack();
  server = resources.use(await startPostgres());
  const platform = resources.use(await Platform.start(server));
  const vm = await platform.vm("plain.test");
  const { path } = resources.use(await temporaryFolder());
  const file = join(path, "routes.yaml");
  await writeFile(file, routes(`${vm.host}:${vm.port}`));
  edge = await platform.edge({
    EDGEPROXY_WORKERS: "2",
    EDGEPROXY_CONFIG_FILE: file,
    EDGEPROXY_TRUSTED_PROXIES: "127.0.0.0/8",
  });
  await edge.waitFor(async () => (await edge.workers()).every(({ state }) => state === "serving"));
});
after(() => resources.disposeAsync());

/** Connections, so many to each worker. */
async function connections(each: number): Promise<AsyncDisposableStack & { readonly all: RawConnection[] }> {
  const all: RawConnection[] = [];
  const stack = Object.assign(new AsyncDisposableStack(), { all });
  const counts = new Map((await edge.workers()).map(({ pid }) => [pid, 0]));
  while ([...counts.values()].some((count) => count < each)) {
    const connection = stack.use(await openRaw(edge.port, edge.host));
    connection.send(getRequest("plain.test"));
    await connection.readResponse();
    const owner = [...counts.keys()].find((pid) => clientPorts(pid, edge.port).has(connection.localPort))!;
    if (counts.get(owner)! >= each) continue;
    counts.set(owner, counts.get(owner)! + 1);
    all.push(connection);
  }
  return stack;
}

/** When it was sent, and when it was answered: its place was taken or refused in between. */
interface Asked {
  readonly sentMs: number;
  readonly gotMs: number;
}

/** How many of ascending numbers are below `limit`. */
function below(limit: number, numbers: Float64Array): number {
  let from = 0, to = numbers.length;
  while (from < to) {
    const middle = (from + to) >> 1;
    if (numbers[middle]! < limit) from = middle + 1;
    else to = middle;
  }
  return from;
}

/** A worker's clock stands still while it serves what has come. */
const CLOCK_MS = 0.1 * FLOOD.windowMs;

test("two workers let through what one limit allows, within 5 %, whatever connections a client uses", async () => {
  await using clients = await connections(4);
  const passed: Asked[] = [], refused: Asked[] = [];
  const passedOf = clients.all.map(() => 0);
  // Into the third window, as long as that takes
  await Promise.all(clients.all.map(async (connection, i) => {
    while (passed.length < 2.5 * FLOOD.requests || refused.length < FLOOD.requests) {
      const sentMs = performance.now();
      connection.send(getRequest("flood.test"));
      const { status } = await connection.readResponse();
      assert.ok(status === 200 || status === 429, `${status}`);
      (status === 200 ? passed : refused).push({ sentMs, gotMs: performance.now() });
      if (status === 200) passedOf[i]!++;
    }
  }));
  assert.ok(passedOf.every((count) => count > 0), `both workers have let some through: ${passedOf}`);

  const sent = Float64Array.from(passed, ({ sentMs }) => sentMs).sort();
  const got = Float64Array.from(passed, ({ gotMs }) => gotMs).sort();
  for (const fromMs of sent) {
    const surely = below(fromMs + FLOOD.windowMs - CLOCK_MS, got) - below(fromMs, sent);
    assert.ok(surely <= 1.05 * FLOOD.requests, `${surely} of ${FLOOD.requests} passed within a window`);
  }
  const unjust = refused.filter(({ sentMs, gotMs }) =>
    below(gotMs, sent) - below(sentMs - FLOOD.windowMs - CLOCK_MS, got) < 0.95 * FLOOD.requests
  );
  assert.ok(unjust.length <= 0.05 * refused.length, `${unjust.length} of ${refused.length} were refused while 5 % were free`);
});

test("a refusal says when to come again, every answer what is left, and that of another route nothing", async () => {
  const answers = [];
  for (let i = 0; i < 3; i++) answers.push(await get(edge, "clients.test", "/", "Accept: application/json"));
  assert.deepEqual(answers.map(({ status }) => status), [200, 200, 429]);
  assert.deepEqual(answers.map((answer) => fieldValue(answer, "RateLimit-Remaining")), ["1", "0", "0"]);
  assert.deepEqual(answers.map((answer) => fieldValue(answer, "RateLimit-Limit")), ["2", "2", "2"]);
  assert.equal(fieldValue(answers[0]!, "RateLimit-Policy"), '"default";q=2;w=60');
  assert.match(fieldValue(answers[0]!, "RateLimit") ?? "", /^"default";r=1;t=60$/);
  assert.equal(fieldValue(answers[0]!, "Retry-After"), undefined);
  assert.match(fieldValue(answers[2]!, "Retry-After") ?? "", /^(5\d|60)$/);
  assert.equal(fieldValue(answers[2]!, "X-Edgeproxy-Error"), "rate_limited");
  assert.equal(JSON.parse(answers[2]!.body.toString()).error, "rate_limited");
  const plain = await get(edge, "plain.test");
  assert.equal(plain.status, 200);
  assert.equal(fieldValue(plain, "RateLimit-Limit"), undefined);
});

test("clients count by address, of IPv6 by the first 64 bits, as trusted proxies tell it", async () => {
  const from = async (address: string) => (await get(edge, "clients.test", "/", `X-Forwarded-For: ${address}`)).status;
  assert.deepEqual([await from("192.0.2.1"), await from("192.0.2.1"), await from("192.0.2.1")], [200, 200, 429]);
  assert.equal(await from("192.0.2.2"), 200);
  assert.deepEqual([await from("2001:db8::1"), await from("2001:db8::2"), await from("2001:db8::ffff:3")], [200, 200, 429]);
  assert.equal(await from("2001:db8:0:1::1"), 200);
});

test("a header as key counts each value, and those without it by address; the burst comes on top", async () => {
  const by = async (...fields: string[]) => (await get(edge, "tokens.test", "/", ...fields)).status;
  assert.deepEqual([await by("X-Token: a"), await by("x-token: a"), await by("X-Token: a")], [200, 200, 429]);
  assert.deepEqual([await by("X-Token: b"), await by("X-Token: b"), await by("X-Token: b")], [200, 200, 429]);
  assert.deepEqual([await by(), await by(), await by()], [200, 200, 429]);
  assert.equal(await by("X-Forwarded-For: 192.0.2.9"), 200);
});

test("a limit by route is one for all clients", async () => {
  const from = async (address: string) => (await get(edge, "whole.test", "/", `X-Forwarded-For: ${address}`)).status;
  assert.deepEqual([await from("192.0.2.1"), await from("192.0.2.2"), await from("192.0.2.3")], [200, 200, 200]);
  assert.equal(await from("192.0.2.4"), 429);
});

test("explain says what a limit would answer and takes nothing of it", async () => {
  const explain = async () => {
    const body = JSON.stringify({ url: "http://looked.test/" });
    return await (await edge.admin("/api/explain", { method: "POST", body })).text();
  };
  for (let i = 0; i < 3; i++) assert.doesNotMatch(await explain(), /rate_limited/);
  assert.equal((await get(edge, "looked.test")).status, 200);
  assert.match(await explain(), /rate_limited/);
});

test("killed workers and a hand-over make nobody begin anew", async () => {
  for (let i = 0; i < 5; i++) assert.equal((await get(edge, "lasting.test")).status, 200);
  const before = await edge.workers();
  for (const { pid } of before) process.kill(pid, "SIGKILL");
  const gone = new Set(before.map(({ pid }) => pid));
  await edge.waitFor(async () => (await edge.workers()).every(({ pid, state }) => state === "serving" && !gone.has(pid)));
  assert.equal((await get(edge, "lasting.test")).status, 429);

  const replaced = new Set((await edge.workers()).map(({ pid }) => pid));
  edge.signal("SIGUSR2");
  await edge.waitFor(async () => (await edge.workers()).every(({ pid, state }) => state === "serving" && !replaced.has(pid)));
  await edge.waitForLog((line) => line["msg"] === "stopped"); // from now on only the next generation accepts
  assert.equal((await get(edge, "lasting.test")).status, 429);
});
