/** The list of connections: what suits, in order, no more than asked for, however many there are. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { BODY, HEAD, STOPPED, TUNNEL } from "../../src/downstream/client-input.ts";
import { listConnections } from "../../src/downstream/connection-list.ts";
import type { H1Connection } from "../../src/downstream/h1-connection.ts";
import type { ConnectionWish } from "../../src/observation/client-connection.ts";

const ANY: ConnectionWish = { kind: null, state: null, part: "", order: "age", descending: true, most: 100 };

interface Given {
  readonly id: number;
  readonly client?: string;
  readonly phase?: number;
  readonly headStarted?: boolean;
  readonly sinceAtMs?: number;
  readonly bytesOut?: number;
  readonly host?: string;
}

/** As far as the list looks at it. */
function connection(
  { id, client = "192.0.2.1", phase = HEAD, headStarted = false, sinceAtMs = 0, bytesOut = 0, host }: Given,
): H1Connection {
  const exchange = host === undefined ? null : {
    host,
    requestId: "r1",
    head: { method: "GET", target: "/x" },
    record: { upstream: "10.0.0.5:8080", startedAtMs: 10 },
  };
  const input = { phase, headStarted, exchange };
  return {
    id,
    peer: { address: client },
    sinceAtMs,
    requests: id,
    bytesIn: 0,
    out: { bytes: bytesOut },
    input,
  } as unknown as H1Connection;
}

function ids(connections: readonly H1Connection[], wish: Partial<ConnectionWish>): number[] {
  return listConnections(connections, { ...ANY, ...wish }, 1000).connections.map(({ id }) => id);
}

const SOME = [
  connection({ id: 1, sinceAtMs: 30, bytesOut: 5 }),
  connection({ id: 2, sinceAtMs: 10, phase: TUNNEL, host: "ws.test" }),
  connection({ id: 3, sinceAtMs: 20, phase: BODY, host: "app.test", bytesOut: 7 }),
  connection({ id: 4, sinceAtMs: 20, headStarted: true, client: "198.51.100.7" }),
  connection({ id: 5, sinceAtMs: 40, phase: STOPPED }),
];

test("listConnections() filters by kind, state and part, and sorts", () => {
  assert.deepEqual(ids(SOME, {}), [2, 3, 4, 1, 5], "the oldest first, then by id");
  assert.deepEqual(ids(SOME, { descending: false }), [5, 1, 3, 4, 2]);
  assert.deepEqual(ids(SOME, { order: "bytes_out" }), [3, 1, 2, 4, 5]);
  assert.deepEqual(ids(SOME, { order: "requests", most: 2 }), [5, 4]);
  assert.deepEqual(ids(SOME, { kind: "tunnel" }), [2]);
  assert.deepEqual(ids(SOME, { kind: "connection" }), [3, 4, 1, 5]);
  for (const [state, id] of [["idle", 1], ["tunnel", 2], ["exchange", 3], ["head", 4], ["closing", 5]] as const) {
    assert.deepEqual(ids(SOME, { state }), [id], state);
  }
  assert.deepEqual(ids(SOME, { part: "app.t" }), [3]);
  assert.deepEqual(ids(SOME, { part: "10.0.0.5" }), [2, 3]);
  assert.deepEqual(ids(SOME, { part: "198.51" }), [4]);
  assert.deepEqual(listConnections(SOME, { ...ANY, kind: "tunnel" }, 1000).connections[0], {
    id: 2,
    client: "192.0.2.1",
    sinceAtMs: performance.timeOrigin + 10,
    state: "tunnel",
    requests: 2,
    bytesIn: 0,
    bytesOut: 0,
    host: "ws.test",
    method: "GET",
    target: "/x",
    requestId: "r1",
    upstream: "10.0.0.5:8080",
    exchangeMs: 990,
  });
});

test("listConnections() finds the first of a hundred thousand in any order, and counts all", () => {
  const many = Array.from(
    { length: 100_000 },
    (_, i) => connection({ id: i, sinceAtMs: (i * 7919) % 100_003, bytesOut: i % 1000 }),
  );
  const list = () => listConnections(many, { ...ANY, most: 1000 }, 0);
  const { total, connections } = list();
  assert.deepEqual([total, connections.length], [100_000, 1000]);
  const expected = many.toSorted((a, b) => a.sinceAtMs - b.sinceAtMs).slice(0, 1000).map(({ id }) => id);
  assert.deepEqual(connections.map(({ id }) => id), expected);
  let fastestMs = Infinity; // the machine may have other things to do, but not each time
  for (let round = 0; round < 20 && fastestMs >= 1000; round++) {
    const beganAtMs = performance.now();
    list();
    fastestMs = Math.min(fastestMs, performance.now() - beganAtMs);
  }
  assert.ok(fastestMs < 1000, `${fastestMs} ms`);
  assert.equal(listConnections(many, { ...ANY, most: 0 }, 0).total, 100_000);
});
