/*  A large table from end to end: start, memory, how soon a commit reaches the traffic, and what an idle minute costs.
 *
 *      bun tests/bench/table-scale.bench.ts [DOMAINS] [CHANGES] [IDLE SECONDS]
 *
 *  The compiled binary (`./compile.sh` first) with one worker, a PostgreSQL of its own, VMs and clients in this process. First with the
 *  tables alone, then with the change feed. A change moves one random domain to another VM; it is timed from the answer to its COMMIT
 *  until a request gets the new VM's answer (asked one request after the other), CHANGES times:
 *
 *    idle      nothing else happens
 *    load      1,000 requests a second beside it
 *    compare   everything is compared all the time, by POST /api/refresh one after the other
 *
 *  Prints one JSON line: seconds, MiB (`pss`: shared pages in proportion; `peak`: the highest resident size) and milliseconds.
 */
import assert from "node:assert/strict";
import process from "node:process";
import { setTimeout as wait } from "node:timers/promises";
import { type Edgeproxy, runEdgeproxy, startEdgeproxy } from "../fixtures/edgeproxy.ts";
import { insertRoutes, memory, postmasterOf, processesBelow, serveVms, VMS } from "../fixtures/large-platform.ts";
import { OpenLoop } from "../fixtures/open-loop.ts";
import { get } from "../fixtures/platform.ts";
import { insertRegion, startPostgres, type TestDatabase } from "../fixtures/postgres.ts";
import { cpuSeconds } from "../fixtures/processes.ts";

const RATE = 1000;
const CONNECTIONS = 32;
const PATIENCE_MS = 60_000;

const [domains = 1_000_000, changes = 100, idleSeconds = 60] = process.argv.slice(2).map(Number);

async function answerOf(edge: Edgeproxy, domain: string): Promise<string> {
  const { status, body } = await get(edge, domain);
  assert.equal(status, 200, `${domain} was answered with ${status}`);
  return body.toString();
}

interface Start {
  readonly edge: Edgeproxy;
  readonly figures: Readonly<Record<string, number>>;
}

async function started(database: TestDatabase, region: string): Promise<Start> {
  const startMs = performance.now();
  const env = { EDGEPROXY_WORKERS: "1", EDGEPROXY_UPDATE_INTERVAL: "10s" };
  const edge = await startEdgeproxy({ database: database.url, region, env, ready: false });
  const answers = async (domain: string): Promise<boolean> => (await get(edge, domain).catch(() => null))?.status === 200;
  while (!await answers("d0.example.com") || !await answers(`d${domains - 1}.example.com`)) {
    if (performance.now() - startMs > PATIENCE_MS) throw new Error(`The table did not arrive\n${edge.report()}`);
    await wait(5);
  }
  return { edge, figures: { seconds: (performance.now() - startMs) / 1000, ...memory(edge) } };
}

async function propagation(edge: Edgeproxy, database: TestDatabase): Promise<Readonly<Record<string, number>>> {
  const took: number[] = [];
  for (let i = 0; i < changes; i++) {
    const domain = `d${Math.floor(Math.random() * domains)}.example.com`;
    const before = await answerOf(edge, domain);
    const vm = (Number(before.split(".")[3]) + Math.floor(Math.random() * (VMS - 2))) % VMS;
    const after = `127.0.1.${vm + 1}`;
    await database.sql(`update domains set deployment_id = md5('d' || ${vm})::uuid where name = '${domain}'`);
    const committedMs = performance.now();
    while (await answerOf(edge, domain) !== after) {
      if (performance.now() - committedMs > PATIENCE_MS) throw new Error(`${domain} did not move\n${edge.report()}`);
    }
    took.push(performance.now() - committedMs);
    await wait(20 + 100 * Math.random());
  }
  took.sort((a, b) => a - b);
  const at = (share: number): number => took[Math.floor((took.length - 1) * share)]!;
  return { p50: at(0.5), p99: at(0.99), max: took.at(-1)! };
}

async function underLoad(edge: Edgeproxy, database: TestDatabase): Promise<unknown> {
  const domain = (request: number): string => `d${request * 7919 % domains}.example.com`;
  using load = new OpenLoop({ ...edge, connections: CONNECTIONS, rate: RATE, domain, expected: (_, status) => status === 200 });
  await load.connect();
  await load.run(500);
  const running = load.run(changes * 120);
  const change = await propagation(edge, database);
  const { wrong, ...latency } = await running;
  assert.equal(wrong, 0, `${wrong} answers were wrong`);
  return { change, latency };
}

async function whileComparing(edge: Edgeproxy, database: TestDatabase): Promise<unknown> {
  let running = true, comparisons = 0;
  const comparing = (async () => {
    for (; running; comparisons++) await edge.refresh();
  })();
  const startMs = performance.now();
  const change = await propagation(edge, database).finally(() => running = false);
  await comparing;
  return { change, comparisons, "ms_each": (performance.now() - startMs) / comparisons };
}

/** CPU seconds of a minute in which nothing happens, of the proxy and of the database with all its sessions. */
async function idleMinute(edge: Edgeproxy, postmaster: number): Promise<unknown> {
  const servers = (): number[] => processesBelow(postmaster);
  const total = (pids: readonly number[]): number => pids.reduce((sum, pid) => sum + cpuSeconds(pid), 0);
  const before = [total(edge.pids), total(servers())] as const;
  await wait(idleSeconds * 1000);
  const scale = 60 / idleSeconds;
  return { proxy: (total(edge.pids) - before[0]) * scale, database: (total(servers()) - before[1]) * scale };
}

async function bench(resources: AsyncDisposableStack): Promise<unknown> {
  const database = resources.use(await startPostgres({ tables: "inet" }));
  const postmaster = await postmasterOf(database);
  const region = await insertRegion(database);
  await insertRoutes(database, region, await serveVms(resources), domains);
  const first = await started(database, region);
  const tables = { start: first.figures, idle: await idleMinute(first.edge, postmaster), later: memory(first.edge) };
  assert.equal(await first.edge.stop(), 0, first.edge.report());
  const migrated = await runEdgeproxy(["migrate"], { env: { EDGEPROXY_DATABASE_URL: database.url } });
  assert.equal(migrated.exitCode, 0, migrated.stderr);
  const { edge, figures } = await started(database, region);
  resources.use(edge);
  return {
    tables,
    feed: {
      start: figures,
      "idle_minute": await idleMinute(edge, postmaster),
      idle: await propagation(edge, database),
      load: await underLoad(edge, database),
      compare: await whileComparing(edge, database),
      later: memory(edge),
    },
  };
}

await using resources = new AsyncDisposableStack();
const figures = await bench(resources);
process.stdout.write(`${JSON.stringify({ bench: "table-scale", domains, changes, ...figures as object })}\n`);
