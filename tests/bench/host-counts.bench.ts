/*  What counting hosts costs an exchange.
 *
 *      bun tests/bench/host-counts.bench.ts
 *
 *  Prints one JSON line: nanoseconds per exchange (the fastest of several rounds) for one host, for a thousand, for a hundred thousand at
 *  random (most have no slot), and for random names under a wildcard; and the longest `take` of these, in ms.
 */
import assert from "node:assert/strict";
import process from "node:process";
import { HostCounts } from "../../src/observation/host-counts.ts";
import { addSparse, emptyRow, type HostReport, requestsOf } from "../../src/observation/host-figures.ts";
import { RoutingTable } from "../../src/table/routing-table.ts";
import { RoutesDraft } from "../../src/table/routes.ts";
import { Services } from "../../src/table/services.ts";
import { vm } from "../fixtures/records.ts";

const ROUNDS = 8;
const BATCH = 200_000;
const COUNTED = { status: 200, upstream: "10.0.0.5:80", bodyBytesIn: 0, bodyBytesOut: 100 };

function tableOf(hosts: readonly string[]): RoutingTable {
  const service = new Services().of([vm("10.0.0.5")]);
  const draft = new RoutesDraft();
  for (const host of hosts) draft.put(host, service);
  const table = new RoutingTable();
  table.commit(draft.finish(), 1, 0);
  return table;
}

/** Made as the parser makes them: anew for each request. */
function names(count: number, nameOf: (index: number) => string): Buffer[] {
  return Array.from({ length: count }, () => Buffer.from(nameOf(Math.floor(Math.random() * count))));
}

function measure(table: RoutingTable, asked: readonly Buffer[]): { readonly ns: number; readonly takeMs: number } {
  const counts = new HostCounts(table);
  let best = Infinity, takeMs = 0, sum = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const idle = run(asked, () => {});
    const busy = run(asked, (host) => counts.count(host, COUNTED, -1, 2, 3));
    best = Math.min(best, (busy - idle) * 1e6 / BATCH);
    const startMs = performance.now();
    const report = counts.take(round * 1000);
    takeMs = Math.max(takeMs, performance.now() - startMs);
    sum += requestsIn(report);
  }
  for (let second = ROUNDS; second < ROUNDS + 10; second++) sum += requestsIn(counts.take(second * 1000));
  assert.equal(sum, ROUNDS * BATCH);
  return { ns: Math.round(best), takeMs: Math.round(takeMs * 100) / 100 };
}

function run(asked: readonly Buffer[], each: (host: string) => void): number {
  const startMs = performance.now();
  for (let i = 0; i < BATCH; i++) each(asked[i % asked.length]!.toString("latin1"));
  return performance.now() - startMs;
}

function requestsIn({ hosts, other }: HostReport): number {
  let sum = 0;
  for (const counts of [other, ...hosts.map(([, each]) => each)]) {
    const row = emptyRow();
    addSparse(row, counts);
    sum += requestsOf(row);
  }
  return sum;
}

const hosts = Array.from({ length: 100_000 }, (_, i) => `d${i}.bench.test`);
const plain = tableOf(hosts);
const wild = tableOf([...hosts, "*.wild.test"]);
process.stdout.write(
  JSON.stringify({
    one: measure(plain, names(1, () => "d7.bench.test")),
    thousand: measure(plain, names(1000, (i) => `d${i}.bench.test`)),
    hundredThousand: measure(plain, names(100_000, (i) => `d${i}.bench.test`)),
    hundredThousandBesideWildcard: measure(wild, names(100_000, (i) => `d${i}.bench.test`)),
    underWildcard: measure(wild, names(100_000, (i) => `x${i}.wild.test`)),
  }) + "\n",
);
