import { test } from "node:test";
import assert from "node:assert/strict";
import { EVENT, EVENT_TYPES } from "../../src/admin/event-view.ts";
import { type EdgeEvent, EventLog } from "../../src/observation/event-log.ts";
import { noBlames } from "../../src/observation/proxy-error.ts";
import type { ExchangeReport } from "../../src/observation/exchange-report.ts";
import { adminOf, NOW_MS } from "../fixtures/admin.ts";
import { EventReader } from "../fixtures/event-reader.ts";
import { exchangeReport } from "../fixtures/exchange-report.ts";

const TABLE: EdgeEvent = { type: "table", revision: 4, routes: 3, added: 1, removed: 0, changed: 0, reason: "change" };
const EVENTS: readonly EdgeEvent[] = [
  TABLE,
  { type: "source", state: "failed", problem: "connection refused" },
  { type: "health", key: "vm/10.0.0.5:8080", region: "r", verdict: "unhealthy", reason: "status 500" },
  { type: "endpoint", key: "vm/10.0.0.5:8080@users", turn: "ejected", reason: "upstream_reset, out for 10 s" },
  { type: "error", exchange: exchangeReport() },
  { type: "worker", worker: 1, state: "serving", reason: "" },
  { type: "policies", state: "refused", revision: 4, services: 1, routes: 2, domains: 3, problem: "routes.yaml:1:1: no" },
  { type: "audit", action: "refresh", subject: "", details: {}, by: "127.0.0.1", succeeded: true },
];

function watched(events = new EventLog(() => NOW_MS)) {
  const closing = new AbortController();
  const admin = adminOf({ events, closing: closing.signal });
  const watch = async (query = "", headers: Readonly<Record<string, string>> = {}) => {
    const response = await admin.ask(`/api/events${query}`, { headers });
    assert.equal(response.status, 200);
    return new EventReader(response.body!);
  };
  return { admin, events, closing, watch };
}

test("GET /api/events tells every type of event as its schema says", async () => {
  const { events, watch } = watched();
  await using reader = await watch();
  for (const event of EVENTS) events.publish(event);
  for (const [index, { type }] of EVENTS.entries()) {
    const { id, event, data } = (await reader.next())!;
    assert.deepEqual([id, event], [`${events.generation}-${index + 1}`, type]);
    assert.deepEqual(EVENT.parse(data), data);
    assert.deepEqual([data.id, data.time], [index + 1, "2023-11-14T22:13:20.000Z"]);
  }
  assert.deepEqual(EVENTS.map(({ type }) => type), EVENT_TYPES);
});

test("GET /api/events tells only the types that are wanted", async () => {
  const { admin, events, watch } = watched();
  await using reader = await watch("?types=worker,table");
  for (const event of EVENTS) events.publish(event);
  assert.deepEqual([(await reader.next())!.event, (await reader.next())!.event], ["table", "worker"]);
  assert.equal((await admin.ask("/api/events?types=nothing")).status, 400);
});

test("GET /api/events goes on after the last event that was seen, in this generation or from another", async () => {
  const { events, watch } = watched();
  for (const event of EVENTS) events.publish(event);
  for (
    const [query, headers, first] of [
      ["", { "last-event-id": `${events.generation}-4` }, 5],
      ["", { "last-event-id": "another-5000" }, 1],
      [`?after=${events.generation}-2`, {}, 3],
      ["?after=0", {}, 1],
    ] as const
  ) {
    await using reader = await watch(query, headers);
    assert.equal((await reader.next())!.data.id, first, query);
  }
  await using fresh = await watch();
  events.publish(TABLE);
  assert.equal((await fresh.next())!.data.id, EVENTS.length + 1);
});

test("GET /api/events tells a slow client how many events it has missed", async () => {
  const { events, watch } = watched();
  await using reader = await watch();
  for (let count = 0; count < 700; count++) events.publish(TABLE);
  const { data: { lost } } = await reader.until(({ event }) => event === "lost");
  events.publish(TABLE);
  assert.equal((await reader.next())!.data.id, 701);
  assert.ok(Number(lost) >= 200 && Number(lost) < 700, String(lost));
});

test("GET /api/events repeats what is kept once per type, and no more than some MiB of it", async () => {
  const { events, watch } = watched();
  const target = `/${"x".repeat(8000)}`;
  for (let count = 0; count < 500; count++) events.publish({ type: "error", exchange: exchangeReport({ target }) });
  await using reader = await watch("?after=0&types=error,error,error");
  const first = (await reader.next())!;
  assert.equal(first.event, "lost");
  const lost = Number(first.data.lost);
  assert.ok(lost > 200 && lost < 300, String(lost));
  for (let id = lost + 1; id <= 500; id++) assert.equal((await reader.next())!.data.id, id);
  events.publish(TABLE);
  events.publish({ type: "error", exchange: exchangeReport() });
  assert.equal((await reader.next())!.data.id, 502);
});

test("GET /api/events ends when the admin address closes", async () => {
  const { closing, watch } = watched();
  await using reader = await watch();
  closing.abort();
  assert.equal(await reader.next(), null);
});

test("GET /api/events is for 32 clients at a time", async () => {
  const { admin, watch } = watched();
  const readers = await Promise.all(Array.from({ length: 32 }, () => watch()));
  assert.equal((await admin.json("/api/events")).body.error, "too_many_streams");
  assert.equal((await admin.ask("/api/events", { method: "HEAD" })).status, 200, "holds no place");
  await readers[0]![Symbol.asyncDispose]();
  readers[0] = await watch();
  for (const reader of readers) await reader[Symbol.asyncDispose]();
});

test("GET /api/errors lists bad ends, newest first, filtered and page by page", async () => {
  const { admin, events } = watched();
  const add = (changes: Partial<ExchangeReport>) => events.publish({ type: "error", exchange: exchangeReport(changes) });
  add({ host: "a.example.com", code: "vm_unhealthy", blame: "vm", totalMs: 3 });
  events.publish(TABLE);
  add({ host: "b.example.com", code: "no_route", blame: "client", totalMs: 1, target: "/Found?x=1" });
  add({ host: "a.example.com", code: "no_route", blame: "client", totalMs: 2, upstream: "10.0.0.5:8080" });
  const ids = async (query: string) => {
    const { body } = await admin.json(`/api/errors${query}`);
    return body.errors.map(({ id }: { id: number }) => id);
  };
  assert.deepEqual(await ids(""), [4, 3, 1]);
  assert.deepEqual(await ids("?host=A.example.com"), [4, 1]);
  assert.deepEqual(await ids("?code=no_route"), [4, 3]);
  assert.deepEqual(await ids("?blame=vm"), [1]);
  assert.deepEqual(await ids("?q=found"), [3]);
  assert.deepEqual(await ids("?upstream=10.0.0.5:8080&sort=time"), [4]);
  assert.deepEqual(await ids("?sort=duration"), [3, 4, 1]);
  const first = (await admin.json("/api/errors?limit=2")).body;
  assert.equal(first.total, 3);
  events.lose({ ...noBlames(), client: 12 });
  assert.equal((await admin.json("/api/errors")).body.lost.client, 12);
  assert.deepEqual(await ids(`?limit=2&after=${first.next}`), [1]);
  for (const query of ["?code=nonsense", "?sort=nothing", "?after=x", "?limit=0"]) {
    assert.equal((await admin.json(`/api/errors${query}`)).body.error, "bad_query", query);
  }
});

test("nothing is changed any more once the admin address closes: on a connection of before it would hold for nobody", async () => {
  const { admin, closing, events } = watched();
  closing.abort();
  for (
    const [method, path] of [
      ["POST", "/api/endpoints/vm%2F10.0.0.5:8080/cordon"],
      ["POST", "/api/revisions/3/pin"],
      ["POST", "/api/refresh"],
      ["DELETE", "/api/log-level"],
    ] as const
  ) {
    const { status, body, headers } = await admin.json(path, { method });
    assert.deepEqual([status, body.error, headers.get("retry-after")], [503, "closing", "1"], path);
  }
  assert.equal(events.lastId, 0);
  assert.deepEqual(admin.deps.cordons.list(), []);
  assert.equal((await admin.ask("/api/regions")).status, 200);
  assert.equal((await admin.ask("/api/explain", { method: "POST", body: '{"url":"a.test"}' })).status, 200);
});

test("every change is in the audit log and in the log, whatever came of it, without a token", async () => {
  const events = new EventLog(() => NOW_MS);
  const admin = adminOf({
    events,
    token: "s3cret",
    pin: (revision) => revision === 1 ? Promise.reject(new Error("broken")) : Promise.resolve(revision === 2 ? "gone" : "pinned"),
  });
  const headers = { authorization: "Bearer s3cret" };
  const post = async (path: string, body = "") => (await admin.ask(path, { method: "POST", headers, body }, "192.0.2.7")).status;
  assert.equal(await post("/api/revisions/3/pin", '{"expires":"30m"}'), 200);
  assert.equal(await post("/api/revisions/2/pin?expires=2h"), 409);
  assert.equal(await post("/api/revisions/1/pin"), 500);
  assert.equal(await post("/api/refresh"), 200);
  assert.equal(await post("/api/revisions/3/pin", '{"expires":"never"}'), 400, "not heard, so no change");
  assert.equal((await admin.ask("/api/refresh", { method: "POST" })).status, 401);
  const { body } = await admin.json("/api/audit", { headers });
  assert.deepEqual(body.changes.map((each: Record<string, unknown>) => [each.action, each.subject, each.details, each.succeeded]), [
    ["refresh", "", {}, true],
    ["pin", "1", {}, false],
    ["pin", "2", { expires: "2h" }, false],
    ["pin", "3", { expires: "30m" }, true],
  ]);
  assert.deepEqual(body.changes[0].by, "192.0.2.7");
  const lines = admin.log.lines.filter(({ msg }) => msg === "admin change");
  assert.deepEqual(lines[0]?.fields, {
    by: "192.0.2.7",
    action: "pin",
    subject: "3",
    details: { expires: "30m" },
    succeeded: true,
  });
  assert.equal(lines.length, 4);
  assert.ok(!JSON.stringify([body, lines]).includes("s3cret"));
  assert.equal((await admin.json("/api/audit?action=pin&limit=1", { headers })).body.total, 3);
});
