/*  What clients notice of the control plane's work: latency of a steady load while routes are read, all of them move, and VMs are probed.
 *
 *      bun tests/bench/refresh-latency.bench.ts [DOMAINS] [RATE] [SECONDS]
 *
 *  The compiled binary (`./compile.sh` first) with one worker, a PostgreSQL of its own, VMs and clients in this process. Phases of
 *  SECONDS each:
 *
 *    quiet     nothing but the load
 *    unchanged one refresh after the other that finds what it knows
 *    moved     one refresh after the other that finds every domain at another VM
 *    replaced  one refresh after the other that finds every VM at another address; the first requests to each wait for its probe
 *    probes    a proxy that probes every 500 ms, with 1,000 VMs in use of which three in four refuse
 *
 *  Prints one JSON line: milliseconds from when a request was due to its answer. `stall`: the longest time in which the worker did not
 *  look at its sockets. On a machine with few processors, database, supervisor, worker and this process take them from each other.
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import process from "node:process";
import { setTimeout as wait } from "node:timers/promises";
import { type Edgeproxy, startEdgeproxy } from "../fixtures/edgeproxy.ts";
import { serveVms, VMS } from "../fixtures/large-platform.ts";
import { type Latencies, OpenLoop } from "../fixtures/open-loop.ts";
import { get } from "../fixtures/platform.ts";
import { insertRegion, startPostgres, type TestDatabase } from "../fixtures/postgres.ts";

const REFUSING = 750;
/** Seldom enough that a VM never counts as unused: each is asked every 2 s. */
const REFUSING_RATE = REFUSING / 2;
const CONNECTIONS = 32;
const PROBE_INTERVAL = "500ms";
/** Between two looks at the worker's longest stall. Its report to the supervisor once a second hides what came since the last look. */
const LOOK_MS = 50;
/** Between two refreshes. */
const REST_MS = 100;
/** For everything beside the phases. */
const OVERHEAD_MS = 90_000;

interface Phase extends Latencies {
  readonly stall: number;
  readonly refreshes: number;
}

const [domains = 200_000, rate = 1000, seconds = 8] = process.argv.slice(2).map(Number);
/** Where the VMs are: 127.0.1.x, or 127.0.2.x after each second replacement. */
let network = 1;
/** How often the domains have moved on to the next VM. */
let moves = 0;

function domainOf(request: number): string {
  return `d${request * 7919 % domains}.example.com`;
}

function vmAddress(domain: string): string {
  return `127.0.${network}.${(Number(/\d+/.exec(domain)?.[0]) + moves) % VMS + 1}`;
}

/** With the domain asked for and the address. */
function answerOf(address: string, head: string): string {
  return `${/\r\nhost: ([^\r]*)/i.exec(head)?.[1]} ${address}`;
}

/** Domains `d0`... on the VMs that answer, `r0`... each on a VM that refuses. */
async function insertRoutes({ sql }: TestDatabase, region: string, port: number): Promise<void> {
  const id = (kind: string, n: string): string => `md5('${kind}' || ${n})::uuid`;
  const insert = (kind: string, last: number, address: string): string =>
    `insert into vms (id, private_ip, port, region_id, status)
       select ${id(kind, "n")}, ${address}, ${port}, '${region}', 'running' from generate_series(0, ${last}) as n;
     insert into deployments (id, vm_id, status)
       select ${id(kind, "n")}, ${id(kind, "n")}, 'ready' from generate_series(0, ${last}) as n;`;
  const name = (kind: string, count: number, vms: number): string =>
    `insert into domains (id, name, deployment_id, verified_at)
       select gen_random_uuid(), '${kind}' || n || '.example.com', ${id(kind, `(n % ${vms})`)}, now()
       from generate_series(0, ${count - 1}) as n;`;
  await sql(insert("d", VMS - 1, "('127.0.1.' || n + 1)::inet") + name("d", domains, VMS));
  await sql(
    insert("r", REFUSING - 1, `('127.0.' || 3 + n / ${VMS} || '.' || n % ${VMS} + 1)::inet`) + name("r", REFUSING, REFUSING),
  );
  await sql("analyze");
}

async function moveDomains({ sql }: TestDatabase): Promise<void> {
  moves++;
  await sql(`update deployments set vm_id = md5('d' || (n + ${moves}) % ${VMS})::uuid
    from generate_series(0, ${VMS - 1}) as n where deployments.id = md5('d' || n)::uuid`);
}

async function replaceVms({ sql }: TestDatabase): Promise<void> {
  network = 3 - network;
  await sql(`update vms set private_ip = ('127.0.${network}.' || split_part(host(private_ip), '.', 4))::inet
    where host(private_ip) like '127.0.${3 - network}.%'`);
}

/** Every VM once, before anything is timed. */
async function assertRouted(edge: Edgeproxy): Promise<void> {
  for (let n = 0; n < VMS; n++) {
    const domain = domainOf(n);
    const { status, body } = await get(edge, domain);
    assert.deepEqual([status, body.toString()], [200, `${domain} ${vmAddress(domain)}`]);
  }
}

function answersWell(domain: string, status: number, body: string): boolean {
  return status === 200 && body.startsWith(`${domain} 127.0.`);
}

/** The load, with one `work` after the other beside it. */
async function measured(edge: Edgeproxy, work: (() => Promise<void>) | null): Promise<Phase> {
  using load = new OpenLoop({ ...edge, connections: CONNECTIONS, rate, domain: domainOf, expected: answersWell });
  await load.connect();
  await load.run(500); // connections to the VMs are opened, code is warm
  let running = true;
  let stall = 0;
  const look = async (): Promise<void> => {
    await workerStall(edge); // not of before
    for (; running; await wait(LOOK_MS)) stall = Math.max(stall, await workerStall(edge));
  };
  let refreshes = 0;
  const toil = async (): Promise<void> => {
    for (; running && work !== null; await wait(REST_MS)) {
      await work();
      refreshes++;
    }
  };
  const beside = Promise.all([look(), toil()]);
  const latencies = await load.run(seconds * 1000).finally(() => running = false);
  await beside;
  assert.equal(latencies.wrong, 0, `${latencies.wrong} of ${latencies.requests} answers were wrong`);
  return { ...latencies, stall, refreshes };
}

async function workerStall(edge: Edgeproxy): Promise<number> {
  const { workers } = await (await edge.admin("/api/workers")).json() as { workers: { stall_ms: number | null }[] };
  return workers[0]?.stall_ms ?? 0;
}

/** While all VMs that refuse are in use. */
async function probeStorm(edge: Edgeproxy): Promise<Phase & { readonly probes: number }> {
  const domain = (request: number): string => `r${request % REFUSING}.example.com`;
  const expected = (_domain: string, status: number): boolean => status === 502 || status === 503;
  using refused = new OpenLoop({ ...edge, connections: CONNECTIONS, rate: REFUSING_RATE, domain, expected });
  await refused.connect();
  assert.equal((await refused.run(2000)).wrong, 0, "a VM that refuses was answered for");
  const probesBefore = await probes(edge);
  const beside = refused.run(seconds * 1000 + 500);
  const phase = await measured(edge, null);
  const made = await probes(edge) - probesBefore;
  assert.equal((await beside).wrong, 0, "a VM that refuses was answered for");
  return { ...phase, probes: made };
}

async function probes(edge: Edgeproxy): Promise<number> {
  const text = await (await edge.admin("/metrics")).text();
  return [...text.matchAll(/^edgeproxy_probes_total\{.*\} (\d+)$/gm)].reduce((sum, [, count]) => sum + Number(count), 0);
}

async function bench(resources: AsyncDisposableStack): Promise<Readonly<Record<string, Phase>>> {
  const database = resources.use(await startPostgres({ tables: "inet" }));
  const region = await insertRegion(database);
  await insertRoutes(database, region, await serveVms(resources, [1, 2], answerOf));
  const env = { EDGEPROXY_WORKERS: "1", EDGEPROXY_UPDATE_INTERVAL: "1h" };
  const edge = resources.use(await startEdgeproxy({ database: database.url, region, env }));
  await assertRouted(edge);
  const quiet = await measured(edge, null);
  const unchanged = await measured(edge, () => edge.refresh());
  const moved = await measured(edge, () => moveDomains(database).then(() => edge.refresh()));
  await assertRouted(edge);
  const replaced = await measured(edge, () => replaceVms(database).then(() => edge.refresh()));
  await assertRouted(edge);
  assert.equal(await edge.stop(), 0, edge.report());
  const probing = { ...env, EDGEPROXY_HEALTH_INTERVAL: PROBE_INTERVAL };
  const other = resources.use(await startEdgeproxy({ database: database.url, region, env: probing }));
  await assertRouted(other);
  return { quiet, unchanged, moved, replaced, probes: await probeStorm(other) };
}

await using resources = new AsyncDisposableStack();
const limit = AbortSignal.timeout(OVERHEAD_MS + 8000 * seconds);
const expired = once(limit, "abort").then(() => Promise.reject(new Error("The benchmark took too long")));
const phases = await Promise.race([bench(resources), expired]);
process.stdout.write(`${JSON.stringify({ bench: "refresh-latency", unit: "ms", domains, rate, seconds, ...phases })}\n`);
