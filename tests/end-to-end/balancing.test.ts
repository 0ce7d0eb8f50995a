/** Balancers, weights and sticky cookies over real VMs, as services of a routes file ask for them. */
import assert from "node:assert/strict";
import process from "node:process";
import { after, before, test } from "node:test";
import { fieldValue } from "../fixtures/http1.ts";
import { getRequest, openRaw, type RawResponse } from "../fixtures/raw-client.ts";
import { bodyOf, ServedServices } from "../fixtures/served-services.ts";
import { metric } from "../fixtures/served-vms.ts";
import { respond, type Vm } from "../fixtures/vm.ts";

const served = new ServedServices();
const NARROW = { health: { type: "none" }, limits: { hard: 1, queue: 10, queueTimeout: "30s" } };
const STICKY = { sticky: { cookie: "edge_sticky", ttl: "1h" } };

before(async () => {
  await served.add("turns", { balance: "round-robin" }, [1, 5, 1]);
  await served.add("weights", { balance: "weighted" }, [3, 1]);
  await served.add("two", {}, [1, 1, 1, 1]);
  await served.add("least", { balance: "least-connections" }, [1, 1]);
  await served.add("address", { balance: "ip-hash" }, [1, 1, 1, 1]);
  await served.add("keyed", { balance: "consistent-hash", hashKey: "header:X-User" }, [1, 1, 1, 1]);
  await served.add("cold", { balance: "consistent-hash", hashKey: "header:X-User", health: { timeout: "20s" } }, [1, 1, 1, 1]);
  await served.add("drained", { balance: "round-robin" }, [1, 0, 1]);
  await served.add("empty", {}, [0, 0]);
  await served.add("sticky", { ...STICKY, balance: "round-robin" }, [1, 1, 1]);
  await served.add("leaving", { ...STICKY, balance: "round-robin" }, [1, 1, 1]);
  await served.add("moved", NARROW, [1, 0]);
  await served.start({ EDGEPROXY_TRUSTED_PROXIES: "127.0.0.0/8" });
});
after(() => served[Symbol.asyncDispose]());

function shares(name: string): number[] {
  const counts = served.counts(name);
  const together = counts.reduce((sum, count) => sum + count, 0);
  return counts.map((count) => count / together);
}

function cookieOf(answer: RawResponse): string | null {
  return fieldValue(answer, "set-cookie")?.split(";")[0] ?? null;
}

function stuckTo(cookie: string | null): () => readonly string[] {
  return () => [`Cookie: theme=dark; ${cookie}; lang=en`];
}

test("round-robin gives each VM its turn, whatever the weights", async () => {
  await served.warm("turns");
  await served.ask("turns", 60);
  assert.deepEqual(served.counts("turns"), [20, 20, 20]);
});

test("weighted gives each VM turns by its weight", async () => {
  await served.warm("weights");
  await served.ask("weights", 80);
  assert.deepEqual(served.counts("weights"), [60, 20]);
});

test("p2c, the default, spreads requests", async () => {
  await served.warm("two");
  await served.ask("two", 800);
  for (const share of shares("two")) assert.ok(share > 0.15 && share < 0.35, `${shares("two")}`); // chance: 1e-9
});

test("least-connections avoids the VM with requests under way, and comes back when their clients have left", async () => {
  await served.warm("least");
  const [first, second] = [served.vms("least")[0]!, served.vms("least")[1]!];
  first.script = second.script = () => {}; // holds whatever comes
  await using waiting = await openRaw(served.edge.port, served.edge.host);
  const before = served.counts("least");
  waiting.send(getRequest("least.test"));
  await Promise.race([first.until((vm) => vm.requests.length > before[0]!), second.until((vm) => vm.requests.length > before[1]!)]);
  const busy = first.requests.length > before[0]! ? "1" : "2";
  const idle = busy === "1" ? "2" : "1";
  first.script = respond(200, "1");
  second.script = respond(200, "2");
  const meanwhile = await served.ask("least", 20);
  assert.deepEqual([...new Set(meanwhile.map(bodyOf))], [idle]);
  waiting.reset();
  await served.edge.waitFor(async () => {
    const { endpoints } = await (await served.edge.admin("/api/endpoints?q=least")).json();
    return endpoints.every((endpoint: { "in_flight": number }) => endpoint.in_flight === 0);
  });
  assert.ok((await served.ask("least", 40)).some((answer) => bodyOf(answer) === busy));
});

test("ip-hash keeps a client at one VM, and clients apart", async () => {
  await served.warm("address");
  const answers = await served.ask("address", 200, (index) => [`X-Forwarded-For: 203.0.113.${index % 100}`]);
  const vmOf = new Map<number, string>();
  for (const [index, answer] of answers.entries()) {
    const known = vmOf.get(index % 100);
    assert.equal(bodyOf(answer), known ?? bodyOf(answer));
    vmOf.set(index % 100, bodyOf(answer));
  }
  assert.deepEqual([...new Set(vmOf.values())].sort(), ["1", "2", "3", "4"]);
});

test("consistent-hash moves only the keys of the VM that goes", async () => {
  await served.warm("keyed");
  const users = Array.from({ length: 200 }, (_, index) => [`X-User: user-${index}`]);
  const before = (await served.ask("keyed", 200, (index) => users[index]!)).map(bodyOf);
  await served.change("keyed", [1, null, 1, 1]);
  const after = (await served.ask("keyed", 200, (index) => users[index]!)).map(bodyOf);
  const moved = before.flatMap((vm, index) => vm === after[index] ? [] : [vm]);
  assert.deepEqual([...new Set(moved)], ["2"]);
  assert.ok(moved.length > 15 && moved.length < 95, `${moved.length} of 200 have moved`);
});

test("consistent-hash leads a key where it will lead later, also before there is a verdict on that VM", async () => {
  const [slow, ...others] = served.vms("cold");
  const checked = Promise.withResolvers<void>();
  slow!.onProbe = () => checked.promise;
  const askAll = () =>
    Promise.all(Array.from({ length: 80 }, (_, index) => served.ask("cold", 1, () => [`X-User: user-${index}`])));
  const first = askAll();
  await Promise.all(others.map((vm) => vm.until(() => vm.requests.length > 0)));
  checked.resolve();
  const vmsOf = (answers: RawResponse[][]) => answers.map(([answer]) => bodyOf(answer!));
  const before = vmsOf(await first);
  assert.deepEqual([...new Set(before)].sort(), ["1", "2", "3", "4"]);
  assert.deepEqual(vmsOf(await askAll()), before);
});

test("a VM of weight 0 gets nothing; with weight 0 everywhere nobody is left", async () => {
  await served.warm("drained", [0, 2]);
  await served.ask("drained", 20);
  assert.deepEqual(served.counts("drained"), [10, 0, 10]);
  const [answer] = await served.ask("empty", 1);
  assert.deepEqual([answer!.status, fieldValue(answer!, "x-edgeproxy-error")], [503, "no_endpoints"]);
});

test("a sticky cookie keeps a client at the VM that has answered it first", async () => {
  await served.warm("sticky");
  const [first] = await served.ask("sticky", 1);
  const field = fieldValue(first!, "set-cookie") ?? "";
  assert.match(field, /^edge_sticky=[\w-]{12}\.[0-9a-z]+\.[\w-]{22}; Path=\/; Max-Age=3600; HttpOnly; SameSite=Lax$/);
  const answers = await served.ask("sticky", 20, stuckTo(cookieOf(first!)));
  assert.deepEqual([...new Set(answers.map(bodyOf))], [bodyOf(first!)]);
  assert.deepEqual([...new Set(answers.map(cookieOf))], [null], "what it has is good for long");
  const others = await served.ask("sticky", 3);
  assert.deepEqual(others.map(bodyOf).sort(), ["1", "2", "3"], "who has none gets his turn");
});

test("a sticky cookie is for https only where the client speaks it", async () => {
  const [answer] = await served.ask("sticky", 1, () => ["X-Forwarded-Proto: https"]);
  assert.match(fieldValue(answer!, "set-cookie") ?? "", /; SameSite=Lax; Secure$/);
});

test("a forged sticky cookie leads nowhere", async () => {
  const cookies = await Promise.all([1, 2, 3].map(async () => cookieOf((await served.ask("sticky", 1))[0]!)!));
  const forged = cookies[0]!.replace(/.$/, (last) => last === "A" ? "Q" : "A");
  const answers = await served.ask("sticky", 6, stuckTo(forged));
  assert.deepEqual(new Set(answers.map(bodyOf)), new Set(["1", "2", "3"]));
  for (const answer of answers) assert.notEqual(cookieOf(answer), null, "a genuine one comes instead");
});

test("a client whose VM has weight 0 stays; one whose VM is down or gone gets another, and another cookie", async () => {
  await served.warm("leaving");
  const first = await served.ask("leaving", 3);
  const [drained, dead, gone] = ["1", "2", "3"].map((name) => cookieOf(first.find((answer) => bodyOf(answer) === name)!));
  const [, second] = served.vms("leaving");
  await served.change("leaving", [0, 1, null]);
  const stays = await served.ask("leaving", 4, stuckTo(drained!));
  assert.deepEqual(stays.map(bodyOf), ["1", "1", "1", "1"]);
  const [moved] = await served.ask("leaving", 1, stuckTo(gone!));
  assert.deepEqual([bodyOf(moved!), cookieOf(moved!) === null], ["2", false], "gone from the file; weight 0 takes nobody new");
  await second!.die();
  await served.change("leaving", [1, 1]);
  const [elsewhere] = await served.ask("leaving", 1, stuckTo(dead!));
  assert.deepEqual([bodyOf(elsewhere!), cookieOf(elsewhere!) === null], ["1", false], "down");
});

test("clients stay where they are when a worker is replaced, which knows of no VM yet", async () => {
  await served.warm("sticky");
  const cookies = await Promise.all([1, 2, 3].map(async () => (await served.ask("sticky", 1))[0]!));
  const [worker] = await served.edge.workers();
  process.kill(worker!.pid, "SIGKILL");
  await served.edge.waitFor(async () =>
    (await served.edge.workers()).some(({ pid, state }) => pid !== worker!.pid && state === "serving")
  );
  for (const first of cookies) {
    const [answer] = await served.ask("sticky", 1, stuckTo(cookieOf(first)));
    assert.equal(bodyOf(answer!), bodyOf(first));
  }
});

test("turns and requests under way are those of both workers, from the first request on", async () => {
  await using both = new ServedServices();
  await both.add("turns", { balance: "round-robin" }, [1, 1]);
  await both.add("weights", { balance: "weighted" }, [3, 1]);
  await both.add("least", { balance: "least-connections" }, [1, 1]);
  await both.start({ EDGEPROXY_WORKERS: "2" });
  for (let i = 0; i < 10; i++) await both.ask("turns", 1); // each on a connection of its own
  assert.deepEqual(both.counts("turns"), [5, 5]);
  for (let i = 0; i < 16; i++) await both.ask("weights", 1);
  assert.deepEqual(both.counts("weights"), [12, 4]);
  await both.warm("least");
  const [first, second] = [both.vms("least")[0]!, both.vms("least")[1]!];
  first.script = second.script = () => {}; // holds whatever comes
  const before = both.counts("least");
  await using waiting = await openRaw(both.edge.port, both.edge.host);
  waiting.send(getRequest("least.test"));
  await Promise.race([first.until((vm) => vm.requests.length > before[0]!), second.until((vm) => vm.requests.length > before[1]!)]);
  const idle = first.requests.length > before[0]! ? "2" : "1";
  first.script = respond(200, "1");
  second.script = respond(200, "2");
  for (let i = 0; i < 20; i++) assert.deepEqual((await both.ask("least", 1)).map(bodyOf), [idle]);
});

test("requests that wait for a place go to the endpoints of a new file, not to one that is gone", async () => {
  const [before] = served.vms("moved") as [Vm, Vm];
  const { promise: released, resolve: release } = Promise.withResolvers<void>();
  before.script = async (request, connection) => {
    await released;
    await respond(200, "before")(request, connection);
  };
  const first = served.ask("moved", 1);
  await served.edge.waitFor(() => Promise.resolve(before.requests.length === 1));
  const waiting = [served.ask("moved", 1), served.ask("moved", 1)];
  await served.edge.waitFor(async () => (await metric(served.edge, "edgeproxy_exchanges_queued")) === 2);
  await served.change("moved", [null, 1]);
  for (const [answer] of await Promise.all(waiting)) assert.equal(bodyOf(answer!), "2");
  release();
  assert.equal(bodyOf((await first)[0]!), "before");
  assert.equal(before.requests.length, 1);
});
