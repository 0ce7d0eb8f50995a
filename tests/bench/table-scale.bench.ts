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
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import process from "node:process";
import { setTimeout as wait } from "node:timers/promises";
import { type Edgeproxy, runEdgeproxy, startEdgeproxy } from "../fixtures/edgeproxy.ts";
import { OpenLoop } from "../fixtures/open-loop.ts";
import { get } from "../fixtures/platform.ts";
import { freePort } from "../fixtures/ports.ts";
import { insertRegion, startPostgres, type TestDatabase } from "../fixtures/postgres.ts";
import { commandOf, cpuSeconds, parentOf } from "../fixtures/processes.ts";

const VMS = 250;
const RATE = 1000;
const CONNECTIONS = 32;
const PATIENCE_MS = 60_000;

const [domains = 1_000_000, changes = 100, idleSeconds = 60] = process.argv.slice(2).map(Number);

/** Each answers with its address. */
async function serveVms(resources: AsyncDisposableStack): Promise<number> {
  const port = await freePort("127.0.1.1");
  const answer = (socket: Socket): void => {
    let received = "";
    socket.on("error", () => {}).setNoDelay(true).setEncoding("latin1").on("data", (text: string) => {
      received += text;
      if (!received.endsWith("\r\n\r\n")) return;
      received = "";
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${socket.localAddress!.length}\r\n\r\n${socket.localAddress}`);
    });
  };
  for (let n = 1; n <= VMS; n++) {
    const server = createServer(answer).listen(port, `127.0.1.${n}`);
    await once(server, "listening");
    resources.defer(() => void server.close());
  }
  return port;
}

async function insertRoutes({ sql }: TestDatabase, region: string, port: number): Promise<void> {
  const id = (n: string): string => `md5('d' || ${n})::uuid`;
  await sql(`insert into vms (id, private_ip, port, region_id, status)
      select ${id("n")}, ('127.0.1.' || n + 1)::inet, ${port}, '${region}', 'running' from generate_series(0, ${VMS - 1}) as n;
    insert into deployments (id, vm_id, status) select ${id("n")}, ${id("n")}, 'ready' from generate_series(0, ${VMS - 1}) as n;
    insert into domains (id, name, deployment_id, verified_at)
      select gen_random_uuid(), 'd' || n || '.example.com', ${id(`n % ${VMS}`)}, now() from generate_series(0, ${
    domains - 1
  }) as n`);
  await sql("vacuum analyze");
}

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

function memory(edge: Edgeproxy): { readonly pss: number; readonly peak: number } {
  const sum = { pss: 0, peak: 0 };
  for (const pid of edge.pids) {
    sum.pss += kibOf(`/proc/${pid}/smaps_rollup`, "Pss") / 1024;
    sum.peak += kibOf(`/proc/${pid}/status`, "VmHWM") / 1024;
  }
  return sum;
}

function kibOf(path: string, name: string): number {
  return Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(readFileSync(path, "utf8"))?.[1]);
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

function processesBelow(pid: number): number[] {
  const ids = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" ").filter(Boolean).map(Number);
  return [pid, ...ids.flatMap(processesBelow)];
}

async function postmasterOf(database: TestDatabase): Promise<number> {
  const [row] = await database.sql("select pg_backend_pid() as pid");
  const pid = parentOf(Number(row?.["pid"]));
  assert.match(commandOf(pid).join(" "), /postgres/);
  return pid;
}

async function bench(resources: AsyncDisposableStack): Promise<unknown> {
  const database = resources.use(await startPostgres({ tables: "inet" }));
  const postmaster = await postmasterOf(database);
  const region = await insertRegion(database);
  await insertRoutes(database, region, await serveVms(resources));
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
