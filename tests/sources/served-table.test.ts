/** What is served, revision by revision: pins, flapping hosts, the order of things. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { ChangedHosts } from "../../src/sources/revision-history.ts";
import { ServedTable } from "../../src/sources/served-table.ts";
import { changes, type Routes } from "../../src/table/routes.ts";
import { CollectingLog } from "../fixtures/collecting-log.ts";
import { FakeTimers, settle } from "../fixtures/fake-timers.ts";
import { ELSEWHERE, region, route, routesOf, vm } from "../fixtures/records.ts";

const HOUR_MS = 3_600_000;
const A = routesOf([route("app.test", vm("10.0.0.1"))]);
const B = routesOf([route("app.test", vm("10.0.0.2"))]);
const C = routesOf([route("app.test", vm("10.0.0.3"))]);

function stage(prepare: () => Promise<void> | void = () => {}) {
  const log = new CollectingLog();
  const timers = new FakeTimers();
  const published: Routes[] = [];
  const served: ServedTable = new ServedTable({
    log,
    timers,
    intervalMs: 10_000,
    prepare,
    publish: () => published.push(served.routes),
  });
  const offer = (routes: Routes) =>
    served.offer({ routes, fresh: true }, { reason: "interval", source: "postgres", durationMs: 1 });
  return { log, timers, published, served, offer };
}

function assertSame(actual: Routes, expected: Routes): void {
  assert.deepEqual([...changes(actual, expected)], []);
}

test("pinTo() serves an old revision as a new one, and readings change nothing that is served", async () => {
  const { served, offer, published, log } = stage();
  await offer(A);
  await offer(B);
  assert.equal(await served.pinTo(1, HOUR_MS), "pinned");
  assert.equal(served.revision, 3);
  assertSame(served.routes, A);
  assert.deepEqual(log.take(), [
    "info routes changed",
    "info routes changed",
    "warn revision pinned: the table does not follow its source",
    "info routes changed",
  ]);
  assert.equal(await offer(C), true);
  assertSame(served.routes, A);
  assertSame(served.good, C);
  assert.deepEqual([published.length, served.revision], [3, 3]);
  assert.equal(await served.unpin(), true);
  assertSame(served.routes, C);
  assert.deepEqual(log.take(), ["warn revision no longer pinned: the table follows its source again", "info routes changed"]);
  assert.deepEqual(served.history.list(9).map(({ revision, reason }) => [revision, reason]), [
    [4, "unpin"],
    [3, "pin of 1"],
    [2, "interval"],
    [1, "interval"],
  ]);
  assert.equal(await served.unpin(), false);
});

test("a pin ends by itself", async () => {
  const { served, offer, timers, log } = stage();
  await offer(A);
  await offer(B);
  await served.pinTo(1, HOUR_MS);
  await timers.advance(HOUR_MS / 2);
  assert.equal(await served.pinTo(1, HOUR_MS), "pinned", "a longer end");
  await timers.advance(HOUR_MS - 1);
  assert.equal(served.pin.state, "pinned");
  assertSame(served.routes, A);
  await timers.advance(1);
  assert.equal(served.pin.state, "free");
  assertSame(served.routes, B);
  assert.deepEqual(log.lines.filter(({ msg }) => msg.startsWith("revision no longer")).map(({ fields }) => fields), [
    { revision: 1, reason: "pin expired" },
  ]);
});

test("pinTo() knows which revisions there are and which were let go", async () => {
  const { served, offer, log } = stage();
  await offer(A);
  log.take();
  assert.equal(await served.pinTo(2, HOUR_MS), "unknown");
  const large = Array.from({ length: 100_001 }, (_, index) => route(`h${index}.test`, vm("10.0.0.1")));
  await offer(routesOf([route("app.test", vm("10.0.0.1")), ...large]));
  await offer(routesOf([route("app.test", vm("10.0.0.2")), ...large]));
  assert.equal(await served.pinTo(1, HOUR_MS), "gone");
  assert.equal(served.pin.state, "free");
});

test("the blast radius is that of what the source said before, also under a pin", async () => {
  const { served, offer } = stage();
  const hosts = (count: number) => routesOf(Array.from({ length: count }, (_, index) => route(`h${index}.test`, vm("10.0.0.1"))));
  await offer(hosts(1));
  await offer(hosts(300));
  await served.pinTo(1, HOUR_MS);
  assert.equal(await offer(hosts(10)), false);
  assert.equal(served.held, 290);
  await served.unpin();
  assert.equal(served.routes.size, 300);
});

test("begin() serves a first table, and nothing where there is one", async () => {
  const { served, offer } = stage();
  const cause = { reason: "start", source: "last good table", durationMs: 5 };
  assert.equal(await served.begin(A, cause), true);
  assert.deepEqual([served.revision, served.source], [1, "last good table"]);
  assert.equal(await served.begin(B, cause), false);
  await offer(A);
  assert.deepEqual([served.revision, served.source], [1, "postgres"], "the source says the same");
  await offer(B);
  assert.deepEqual(served.history.list(1).map(({ source, revision }) => [revision, source]), [[2, "postgres"]]);
});

test("one thing is done at a time, in the order in which it was asked for", async () => {
  const gates: (() => void)[] = [];
  const { served, offer, published } = stage(() => new Promise<void>((resolve) => gates.push(resolve)));
  const first = offer(A);
  const second = offer(B);
  const pinned = served.pinTo(1, HOUR_MS);
  const unpinned = served.unpin();
  for (const _ of [1, 2, 3, 4]) {
    while (gates.length === 0) await settle();
    gates.shift()!();
    await settle();
  }
  assert.deepEqual(await Promise.all([first, second, pinned, unpinned]), [true, true, "pinned", true]);
  assert.equal(served.revision, 4);
  [A, B, A, B].forEach((routes, index) => assertSame(published[index]!, routes));
});

test("a flapping host is served as it was, and everything else as it is", async () => {
  const { served, offer, timers, log } = stage();
  const table = (address: string, other: string) => routesOf([route("app.test", vm(address)), route("other.test", vm(other))]);
  for (let i = 0; i < 260; i++) {
    await offer(table(`10.0.0.${i % 2}`, `10.0.1.${Math.floor(i / 10)}`));
    await timers.advance(10);
  }
  assert.deepEqual(served.flapping.map(({ host }) => host), ["app.test"]);
  assert.equal(log.lines.filter(({ msg }) => msg.startsWith("a route changes too often")).length, 1);
  assert.equal(served.routes.get("other.test")?.endpoints[0]?.address, "10.0.1.25");
  const { revision } = served;
  await offer(table("10.0.0.7", "10.0.1.25"));
  assert.equal(served.revision, revision);
  await timers.advance(10_000);
  await offer(table("10.0.0.7", "10.0.1.25"));
  assert.equal(served.routes.get("app.test")?.endpoints[0]?.address, "10.0.0.7");
  await timers.advance(10_000);
  await offer(table("10.0.0.7", "10.0.1.25"));
  assert.deepEqual(served.flapping, []);
  assert.equal(log.lines.filter(({ msg }) => msg === "a route is calm again").length, 1);
});

test("a VM that moves to another region is one revision with both sides", async () => {
  const { served, offer } = stage();
  await offer(A);
  await offer(routesOf([route("app.test", region(ELSEWHERE, "203.0.113.7"))]));
  const changed = await served.history.changedHosts(2, { count: 10, after: "" });
  assert.deepEqual(changed?.changes.map(({ before, after }) => [before?.endpoints[0]?.key, after?.endpoints[0]?.key]), [
    ["vm/10.0.0.1:8080", "region/203.0.113.7:80"],
  ]);
});

test("changedHosts() pages through what a revision changed, in order", async () => {
  const { served, offer } = stage();
  await offer(routesOf([]));
  await offer(routesOf(Array.from({ length: 1000 }, (_, index) => route(`h${index}.test`, vm("10.0.0.1")))));
  const seen: string[] = [];
  for (let after: string | null = ""; after !== null;) {
    const page: ChangedHosts = (await served.history.changedHosts(2, { count: 300, after }))!;
    seen.push(...page.changes.map(({ host }) => host));
    after = page.next;
  }
  assert.deepEqual(seen, [...seen].sort());
  assert.equal(new Set(seen).size, 1000);
});
