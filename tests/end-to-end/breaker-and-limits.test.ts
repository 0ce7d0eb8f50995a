/** Breakers and limits of services (docs/routes.md), with two workers that must act as one. */
import assert from "node:assert/strict";
import process from "node:process";
import { after, before, test } from "node:test";
import type { Edgeproxy, LogLine } from "../fixtures/edgeproxy.ts";
import { getRequest, openRaw, type RawConnection, type RawResponse } from "../fixtures/raw-client.ts";
import { endpointsOf, startRouted } from "../fixtures/routed-edge.ts";
import { metric } from "../fixtures/served-vms.ts";
import { respond, startVm, type Vm, type VmScript } from "../fixtures/vm.ts";

const NO_CHECKS = { health: { type: "none" } };
const OPEN_FOR_MS = 1500;
const HARD = 5;
const QUEUED = "edgeproxy_exchanges_queued";

const stack = new AsyncDisposableStack();
let edge: Edgeproxy;
let broken: Vm, other: Vm, lone: Vm, spare: Vm, narrow: Vm, single: Vm, soft: readonly [Vm, Vm];
after(() => stack.disposeAsync());

before(async () => {
  const vm = async () => stack.use(await startVm({ script: respond(200, "ok") }));
  [broken, other, lone, spare, narrow, single] = [await vm(), await vm(), await vm(), await vm(), await vm(), await vm()];
  soft = [await vm(), await vm()];
  const breaker = { failures: 3, failureRate: 0, openFor: `${OPEN_FOR_MS}ms` };
  edge = await startRouted(stack, {
    broken: { ...NO_CHECKS, endpoints: endpointsOf(broken), breaker },
    elsewhere: {
      ...NO_CHECKS,
      endpoints: endpointsOf(lone, spare),
      breaker: { ...breaker, openFor: "1h" },
      balance: "round-robin",
    },
    fallback: {
      ...NO_CHECKS,
      endpoints: endpointsOf(other),
      breaker: {
        failures: 1,
        openFor: "1h",
        scope: "service",
        fallback: { status: 200, body: "from the cupboard", headers: { "X-From": "cupboard" } },
      },
    },
    narrow: { ...NO_CHECKS, endpoints: endpointsOf(narrow), limits: { hard: HARD, queue: 1000, queueTimeout: "30s" } },
    single: { ...NO_CHECKS, endpoints: endpointsOf(single), limits: { hard: 1, queue: 3, queueTimeout: "30s" } },
    hasty: { ...NO_CHECKS, endpoints: endpointsOf(single), limits: { hard: 1, queue: 3, queueTimeout: "500ms" } },
    patient: { ...NO_CHECKS, endpoints: endpointsOf(single), limits: { hard: 1, queue: 10, queueTimeout: "30s" } },
    soft: { ...NO_CHECKS, endpoints: endpointsOf(...soft), limits: { soft: 2 } },
  }, { EDGEPROXY_WORKERS: "2", EDGEPROXY_ACCESS_LOG: "on" });
});

/** A request on a connection of its own, which may be in either worker. */
async function ask(name: string): Promise<RawResponse> {
  await using client = await openRaw(edge.port, edge.host);
  client.send(getRequest(`${name}.test`));
  return await client.readResponse();
}

function code(answer: RawResponse): string {
  return answer.fields.find(([name]) => name.toLowerCase() === "x-edgeproxy-error")?.[1] ?? "";
}

/** Status and error code of so many requests at the same time, and how often each came. */
async function together(name: string, count: number): Promise<Record<string, number>> {
  const answers = await Promise.all(Array.from({ length: count }, () => ask(name)));
  const tally: Record<string, number> = {};
  for (const answer of answers) {
    const what = `${answer.status} ${code(answer)}`.trim();
    tally[what] = (tally[what] ?? 0) + 1;
  }
  return tally;
}

test("a breaker opens, lets one trial through, opens again, and closes, for both workers at once", async () => {
  broken.script = respond(500, "broken");
  for (let i = 0; i < 2; i++) assert.equal((await ask("broken")).status, 500);
  const openedAtMs = performance.now(); // or later
  assert.equal((await ask("broken")).status, 500);
  /** As many requests have reached the VM as there was time for trials, each of them one, and no others; its answers are those. */
  const onlyTrials = (tally: Record<string, number>): void => {
    const trials = broken.requests.length - 3;
    assert.ok(trials <= (performance.now() - openedAtMs + 50) / OPEN_FOR_MS, `${trials} trials, however many ask`);
    assert.deepEqual(Object.keys(tally).filter((what) => !["503 breaker_open", "500"].includes(what)), []);
    assert.ok((tally["500"] ?? 0) <= trials && tally["503 breaker_open"]! > 0, JSON.stringify(tally));
  };
  onlyTrials(await together("broken", 20));

  // Asked again and again, the first request that reaches the VM is one trial, after its time; when it has failed, there is time to the next
  while (broken.requests.length === 3) onlyTrials(await together("broken", 10));
  onlyTrials(await together("broken", 20));

  broken.script = respond(200, "mended");
  await edge.waitFor(async () => (await ask("broken")).status === 200, "does not close");
  assert.deepEqual(await together("broken", 20), { "200": 20 });
  await edge.waitForLog(({ msg, endpoint }) => msg === "breaker closed" && String(endpoint).endsWith("@broken"));
  const turns = edge.log.filter(({ endpoint }) => String(endpoint).endsWith("@broken")).map(({ msg }) => String(msg));
  const timeline = turns.map((msg) => msg.replace(/^breaker /, "")).join(", ");
  assert.match(timeline, /^(opened, half-open, ){2,}closed$/);
});

test("while the breaker of one endpoint is open, the other one takes its requests", async () => {
  lone.script = respond(500, "broken");
  for (let i = 0; i < 20; i++) await ask("elsewhere");
  const before = lone.requests.length;
  assert.equal(before, 3);
  assert.deepEqual(await together("elsewhere", 20), { "200": 20 });
  assert.equal(lone.requests.length, before);
});

test("an open breaker is shown, and closes by hand", async () => {
  const shown = async (): Promise<{ name: string; state: string }[]> =>
    (await (await edge.admin("/api/breakers?q=@elsewhere")).json() as { breakers: { name: string; state: string }[] }).breakers;
  const name = `vm/${lone.host}:${lone.port}@elsewhere`;
  assert.equal((await shown()).find((each) => each.name === name)?.state, "open");
  lone.script = respond(200, "mended");
  const before = lone.requests.length;
  const answer = await edge.admin(`/api/breakers/${encodeURIComponent(name)}/reset`, { method: "POST" });
  assert.equal(answer.status, 200);
  assert.deepEqual((await shown()).map(({ state }) => state), ["closed", "closed"]);
  assert.deepEqual(await together("elsewhere", 20), { "200": 20 });
  assert.ok(lone.requests.length > before);
});

test("the breaker of a service answers with its fallback", async () => {
  other.script = respond(500, "broken");
  assert.equal((await ask("fallback")).status, 500);
  const answer = await ask("fallback");
  assert.deepEqual([answer.status, answer.body.toString(), other.requests.length], [200, "from the cupboard", 1]);
  assert.deepEqual(answer.fields.find(([name]) => name === "X-From"), ["X-From", "cupboard"]);
});

/** A VM that holds its answers back, and knows how many requests it has at a time. */
class Held {
  now = 0;
  most = 0;
  readonly #vm: Vm;
  readonly #waiting: (() => void)[] = [];
  #open = false;

  constructor(vm: Vm) {
    this.#vm = vm;
    vm.requests.length = 0;
    vm.script = this.#script;
  }

  readonly #script: VmScript = async (request, connection) => {
    this.now++;
    this.most = Math.max(this.most, this.now);
    connection.socket.setMaxListeners(0); // one for each request that it has carried
    const gone = new Promise<void>((resolve) => connection.socket.once("close", () => resolve()));
    if (!this.#open) await Promise.race([new Promise<void>((resolve) => this.#waiting.push(resolve)), gone]);
    this.now--;
    await respond(200, "at last")(request, connection);
  };

  /** Answers the oldest. */
  release(count = 1): void {
    for (let i = 0; i < count; i++) this.#waiting.shift()?.();
  }

  /** Answers all, also those to come. */
  open(): void {
    this.#open = true;
    this.release(this.#waiting.length);
  }

  async carries(count: number): Promise<void> {
    await this.#vm.until(() => this.now === count);
  }
}

/** Of the access log. */
function logged(host: string, target: string): Promise<LogLine> {
  return edge.waitForLog((line) => line["msg"] === "access" && line["host"] === host && line["target"] === target);
}

async function queued(count: number): Promise<void> {
  await edge.waitFor(async () => await metric(edge, QUEUED) === count, `does not have ${count} waiting`);
}

test("an endpoint never carries more than its hard limit, also when clients leave in the middle", async () => {
  const held = new Held(narrow);
  const clients: RawConnection[] = [];
  for (let i = 0; i < 60; i++) {
    const client = await openRaw(edge.port, edge.host);
    client.send(getRequest("narrow.test"));
    clients.push(client);
  }
  await held.carries(HARD);
  await queued(60 - HARD);
  assert.equal(held.most, HARD); // later the VM may see a request before it sees that the one before has gone
  for (const [index, client] of clients.entries()) if (index % 2 === 0) client.reset();
  const left = clients.filter((_, index) => index % 2 === 1);
  await held.carries(HARD); // the places of those who have left are taken by others
  await edge.waitFor(async () => await metric(edge, QUEUED) <= left.length - 2, "those who left still wait");
  held.open();
  for (const client of left) assert.equal((await client.readResponse()).status, 200);
  await queued(0);

  const again = new Held(narrow);
  const fresh = await Promise.all(Array.from({ length: HARD + 3 }, () => openRaw(edge.port, edge.host)));
  for (const client of fresh) client.send(getRequest("narrow.test"));
  await again.carries(HARD);
  await queued(3);
  again.open();
  for (const client of fresh) assert.equal((await client.readResponse()).status, 200);
  assert.equal(again.most, HARD, "no place was lost, and none was found");
  for (const client of [...left, ...fresh]) await client[Symbol.asyncDispose]();
});

/** Of what may be sent by who then waits: nothing more, a body that came with it, and one of which more is to come than is kept. */
const WAITING = [
  getRequest("narrow.test", "/leaves"),
  "POST /leaves HTTP/1.1\r\nHost: narrow.test\r\nContent-Length: 3\r\n\r\nabc",
  `POST /leaves HTTP/1.1\r\nHost: narrow.test\r\nContent-Length: 1000000\r\n\r\n${"x".repeat(1000)}`,
];

test("a thousand clients that leave while they wait give back all places, with RST and with FIN", async () => {
  const held = new Held(narrow);
  const clients: RawConnection[] = [];
  for (let i = 0; i < HARD; i++) clients.push(await openRaw(edge.port, edge.host));
  for (const client of clients) client.send(getRequest("narrow.test"));
  await held.carries(HARD);
  // Two that end their side right behind the last that they ask for, which comes late
  const slow = await openRaw(edge.port, edge.host), further = await openRaw(edge.port, edge.host);
  slow.send("POST / HTTP/1.1\r\nHost: narrow.test\r\nContent-Length: 8\r\n\r\nslow");
  further.send(getRequest("narrow.test"));
  await queued(2);
  const leaving = await Promise.all(Array.from({ length: 998 }, () => openRaw(edge.port, edge.host)));
  for (const [i, client] of leaving.entries()) client.send(WAITING[i % 3]!);
  await queued(1000);
  await new Promise((resolve) => setTimeout(resolve, 1100)); // a FIN right behind a request is a half-close
  slow.send("body");
  slow.end();
  further.send(getRequest("narrow.test"));
  further.end();
  for (const [i, client] of leaving.entries()) {
    if (i % 2 === 0) client.reset();
    else client.end();
  }
  await queued(2);
  const { status, problem } = await edge.waitForLog(({ error, target, problem }) =>
    error === "client_gone" && target === "/leaves" && String(problem).includes("ended its side")
  );
  assert.deepEqual([status, problem], [0, "The client has ended its side while its request waited for a place"]);
  assert.equal(narrow.requests.length, HARD, "the VM hears of none of them");

  // One that ends its side right behind its request still waits for the answer
  const last = await openRaw(edge.port, edge.host);
  last.send(getRequest("narrow.test"));
  last.end();
  await queued(3);
  held.open();
  for (const client of [...clients, slow, further, further, last]) assert.equal((await client.readResponse()).status, 200);
  for (const client of [...clients, ...leaving, slow, further, last]) await client[Symbol.asyncDispose]();
  await edge.waitFor(async () => await metric(edge, "edgeproxy_exchanges_active") === 0);
});

test("hundreds of requests at the same time keep to the limit", async () => {
  narrow.requests.length = 0;
  let now = 0, most = 0;
  narrow.script = async (request, connection) => {
    most = Math.max(most, ++now);
    await new Promise((resolve) => setImmediate(resolve));
    now--;
    await respond(200, "ok")(request, connection);
  };
  assert.deepEqual(await together("narrow", 300), { "200": 300 });
  assert.ok(most <= HARD, `${most} at a time`);
});

test("a worker that is killed takes no places with it", async () => {
  const clients = await Promise.all(Array.from({ length: 20 }, () => openRaw(edge.port, edge.host)));
  const held = new Held(narrow);
  for (const client of clients) client.send(getRequest("narrow.test"));
  await held.carries(HARD);
  await queued(20 - HARD);
  const pid = (await edge.workers())[0]!.pid;
  process.kill(pid, "SIGKILL");
  await edge.waitFor(async () => {
    const workers = await edge.workers();
    return workers.every((worker) => worker.state === "serving" && worker.pid !== pid);
  });
  held.open();
  for (const client of clients) await client[Symbol.asyncDispose]();
  await queued(0);

  const again = new Held(narrow);
  const fresh = await Promise.all(Array.from({ length: HARD + 3 }, () => openRaw(edge.port, edge.host)));
  for (const client of fresh) client.send(getRequest("narrow.test"));
  await again.carries(HARD);
  await queued(3);
  again.open();
  for (const client of fresh) {
    assert.equal((await client.readResponse()).status, 200);
    await client[Symbol.asyncDispose]();
  }
});

test("who has waited longest comes first, and a client that leaves frees its place in the queue", async () => {
  const held = new Held(single);
  const clients: RawConnection[] = [];
  for (let i = 0; i < 6; i++) {
    const client = await openRaw(edge.port, edge.host);
    client.send(getRequest("patient.test", `/${i}`));
    if (i === 0) await held.carries(1);
    else await queued(i);
    clients.push(client);
  }
  clients[2]!.reset();
  await queued(4);
  for (const served of [1, 2, 3, 4, 5]) {
    await single.until(({ requests }) => requests.length === served && held.now === 1);
    held.release();
  }
  for (const index of [0, 1, 3, 4, 5]) assert.equal((await clients[index]!.readResponse()).status, 200);
  const order = single.requests.map(({ target }) => target);
  assert.deepEqual([...order].sort(), ["/0", "/1", "/3", "/4", "/5"]);
  // Whoever waits in another worker comes first only as long as that worker is not too busy to take what is free
  const workers = await Promise.all(order.map(async (target) => (await logged("patient.test", target))["worker"]));
  for (const worker of new Set(workers)) {
    const inIt = order.filter((_, index) => workers[index] === worker);
    assert.deepEqual(inIt, [...inIt].sort(), `in worker ${worker}`);
  }
  for (const client of clients) await client[Symbol.asyncDispose]();
});

test("a queue has an end", async () => {
  const held = new Held(single);
  const first = await openRaw(edge.port, edge.host);
  first.send(getRequest("single.test"));
  await held.carries(1);
  const refused = () =>
    edge.log.filter(({ msg, host, error }) => msg === "access" && host === "single.test" && error === "queue_full");
  const many = together("single", 10);
  await queued(3);
  await edge.waitFor(() => Promise.resolve(refused().length === 7), "does not refuse seven");
  assert.equal(single.requests.length, 1);
  held.open();
  assert.deepEqual(await many, { "200": 3, "503 queue_full": 7 });
  assert.equal((await first.readResponse()).status, 200);
  await first[Symbol.asyncDispose]();
});

test("waiting in a queue has an end", async () => {
  const held = new Held(single);
  const first = await openRaw(edge.port, edge.host);
  first.send(getRequest("hasty.test"));
  await held.carries(1);
  assert.deepEqual(await together("hasty", 3), { "503 queue_timeout": 3 });
  const { problem } = await edge.waitForLog(({ msg, error }) => msg === "access" && error === "queue_timeout");
  assert.equal(problem, "What could take it of service hasty carries as many requests as it may");
  assert.equal(single.requests.length, 1);
  held.open();
  assert.equal((await first.readResponse()).status, 200);
  await first[Symbol.asyncDispose]();
});

test("above its soft limit an endpoint is left to others, and takes requests where there are none", async () => {
  const [one, two] = [new Held(soft[0]), new Held(soft[1])];
  const clients = await Promise.all(Array.from({ length: 4 }, () => openRaw(edge.port, edge.host)));
  for (const [index, client] of clients.entries()) {
    client.send(getRequest("soft.test"));
    await edge.waitFor(() => Promise.resolve(one.now + two.now === index + 1));
  }
  assert.deepEqual([one.now, two.now], [2, 2]);
  const fifth = await openRaw(edge.port, edge.host);
  fifth.send(getRequest("soft.test"));
  await edge.waitFor(() => Promise.resolve(one.now + two.now === 5));
  for (const each of [one, two]) each.open();
  for (const client of [...clients, fifth]) {
    assert.equal((await client.readResponse()).status, 200);
    await client[Symbol.asyncDispose]();
  }
});
