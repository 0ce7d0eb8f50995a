/*  What policies cost beside a large table: the same database with and without them, in turns.
 *
 *      bun tests/bench/policies-scale.bench.ts [DOMAINS] [POLICIES] [ROUNDS] [IDLE SECONDS] [BINARY TO COMPARE WITH]
 *
 *  The compiled binary (`./compile.sh` first) with one worker. `policies`: a file with a hundredth as many routes as there are rows of
 *  `route_policies`: field edits, rate limits, retries and breakers of the domain's VMs, routes of its own. `none`: neither. `compared`:
 *  the other binary without policies. Each start: seconds until the last domain is served (with its policy), CPU seconds of both processes, MiB of
 *  each (`pss`). `moved`: a domain's VM, COMMIT to traffic, ms; `edited`: a row of `route_policies`; `latency`: of 300 requests a second
 *  beside these changes. `idle`: CPU seconds of a minute without the change feed. Prints one JSON line.
 */
import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { setTimeout as wait } from "node:timers/promises";
import { type Edgeproxy, runEdgeproxy, startEdgeproxy, temporaryFolder } from "../fixtures/edgeproxy.ts";
import { fieldValue } from "../fixtures/http1.ts";
import { insertRoutes, kibOf, postmasterOf, processesBelow, serveVms, VMS } from "../fixtures/large-platform.ts";
import { OpenLoop } from "../fixtures/open-loop.ts";
import { get } from "../fixtures/platform.ts";
import { insertRegion, startPostgres, type TestDatabase } from "../fixtures/postgres.ts";
import { cpuSeconds } from "../fixtures/processes.ts";

const [domains = 1_000_000, policies = 10_000, rounds = 3, idleSeconds = 60] = process.argv.slice(2, 6).map(Number);
const compared = process.argv[6];
const CHANGES = 20;
const PATIENCE_MS = 300_000;

type Figures = Readonly<Record<string, unknown>>;

interface Variant {
  readonly name: string;
  readonly binary?: string;
  readonly policies: boolean;
}

const VARIANTS: readonly Variant[] = [
  ...compared === undefined ? [] : [{ name: "compared", binary: compared, policies: false }],
  { name: "none", policies: false },
  { name: "policies", policies: true },
];

/** Of every hundredth domain, in four kinds; all tell their version. */
async function putPolicies({ sql }: TestDatabase): Promise<void> {
  const spread = Math.floor(domains / policies);
  await sql(`insert into route_policies (domain, policy)
    select 'd' || n * ${spread} || '.example.com', '{"headers": {"response": {"set": {"X-Version": "0"}}}}'::jsonb || case n % 4
      when 0 then '{}'::jsonb
      when 1 then '{"rateLimit": {"requests": 1000000, "window": "1m"}}'
      when 2 then '{"retry": {"attempts": 2}, "breaker": {"failures": 5}}'
      else '{"routes": [{"path": "/api", "maxBodySize": "1MiB"}, {"path": "/old", "redirect": {"to": "/new"}}]}' end
    from generate_series(0, ${policies - 1}) as n`);
  await sql("analyze route_policies");
}

function routesFile(): string {
  const routes = Array.from({ length: Math.ceil(policies / 100) }, (_, i) => ({
    id: `file-${i}`,
    hosts: [`d${i * 7919 % domains}.example.com`],
    path: `/team-${i}`,
    service: "vms",
    headers: { response: { set: { "X-Team": String(i) } } },
  }));
  return JSON.stringify({ routes });
}

async function versionOf(edge: Edgeproxy, domain: string): Promise<string | undefined> {
  return fieldValue(await get(edge, domain), "x-version");
}

const policed = (n: number): string => `d${n * Math.floor(domains / policies)}.example.com`;

async function started(database: TestDatabase, region: string, variant: Variant, file: string): Promise<[Edgeproxy, Figures]> {
  const startMs = performance.now();
  const env = {
    EDGEPROXY_WORKERS: "1",
    EDGEPROXY_UPDATE_INTERVAL: "10s",
    ...variant.policies && { EDGEPROXY_CONFIG_FILE: file },
  };
  const { binary } = variant;
  const edge = await startEdgeproxy({ database: database.url, region, env, ready: false, ...binary !== undefined && { binary } });
  const served = async (domain: string): Promise<boolean> => (await get(edge, domain).catch(() => null))?.status === 200;
  while (!await served(`d${domains - 1}.example.com`) || variant.policies && await versionOf(edge, policed(policies - 1)) !== "0") {
    if (performance.now() - startMs > PATIENCE_MS) throw new Error(`The table did not arrive\n${edge.report()}`);
    await wait(5);
  }
  const seconds = (performance.now() - startMs) / 1000;
  const cpu = edge.pids.reduce((sum, pid) => sum + cpuSeconds(pid), 0);
  await wait(3000);
  return [edge, { seconds, cpu, pss: edge.pids.map((pid) => kibOf(`/proc/${pid}/smaps_rollup`, "Pss") / 1024) }];
}

/** Milliseconds from COMMIT to the traffic. */
async function timed(change: () => Promise<unknown>, arrived: () => Promise<boolean>): Promise<number> {
  await change();
  const committedMs = performance.now();
  while (!await arrived()) {
    if (performance.now() - committedMs > PATIENCE_MS) throw new Error("A change did not arrive");
  }
  return performance.now() - committedMs;
}

async function several(one: (n: number) => Promise<number>): Promise<Figures> {
  const took: number[] = [];
  for (let n = 0; n < CHANGES; n++) {
    took.push(await one(n));
    await wait(50);
  }
  took.sort((a, b) => a - b);
  return { p50: took[CHANGES >> 1], max: took.at(-1) };
}

function moves(edge: Edgeproxy, { sql }: TestDatabase): Promise<Figures> {
  return several(async () => {
    const domain = `d${Math.floor(Math.random() * domains)}.example.com`;
    const at = async (): Promise<string> => (await get(edge, domain)).body.toString();
    const vm = (Number((await at()).split(".")[3]) + Math.floor(Math.random() * (VMS - 2))) % VMS;
    const change = () => sql(`update domains set deployment_id = md5('d' || ${vm})::uuid where name = '${domain}'`);
    return await timed(change, async () => await at() === `127.0.1.${vm + 1}`);
  });
}

function edits(edge: Edgeproxy, { sql }: TestDatabase, round: number): Promise<Figures> {
  return several((n) => {
    const domain = policed((n * 997 + round) % policies);
    const version = `${round}-${n}`;
    const change = () =>
      sql(
        `update route_policies set policy = jsonb_set(policy, '{headers,response,set,X-Version}', '"${version}"') where domain = '${domain}'`,
      );
    return timed(change, async () => await versionOf(edge, domain) === version);
  });
}

/** The changes, and what requests notice of them. */
async function besideLoad(edge: Edgeproxy, changes: () => Promise<Figures>): Promise<Figures> {
  const domain = (request: number): string => `d${request * 7919 % domains}.example.com`;
  using load = new OpenLoop({ ...edge, connections: 16, rate: 300, domain, expected: (_, status) => status === 200 });
  await load.connect();
  await load.run(500);
  const running = load.run(CHANGES * 75);
  return { ...await changes(), latency: await running };
}

async function fed(database: TestDatabase, region: string, variant: Variant, file: string, round: number): Promise<Figures> {
  await database.sql("truncate route_policies");
  if (variant.policies) await putPolicies(database);
  const [edge, start] = await started(database, region, variant, file);
  await using _stopped = edge;
  const moved = await besideLoad(edge, () => moves(edge, database));
  const edited = variant.policies ? await besideLoad(edge, () => edits(edge, database, round)) : null;
  return { start, moved, edited };
}

async function idleMinute(database: TestDatabase, region: string, variant: Variant, file: string): Promise<Figures> {
  await database.sql("truncate route_policies");
  if (variant.policies) await putPolicies(database);
  const postmaster = await postmasterOf(database);
  const [edge] = await started(database, region, variant, file);
  await using _stopped = edge;
  const total = (pids: readonly number[]): number => pids.reduce((sum, pid) => sum + cpuSeconds(pid), 0);
  const now = (): [number, number] => [total(edge.pids), total(processesBelow(postmaster))];
  await wait(5000);
  const before = now();
  await wait(idleSeconds * 1000);
  const after = now();
  return { proxy: (after[0] - before[0]) * 60 / idleSeconds, database: (after[1] - before[1]) * 60 / idleSeconds };
}

async function bench(resources: AsyncDisposableStack): Promise<Figures> {
  const folder = resources.use(await temporaryFolder());
  const file = join(folder.path, "routes.json");
  await writeFile(file, routesFile());
  const database = resources.use(await startPostgres({ tables: "inet" }));
  const region = await insertRegion(database);
  await insertRoutes(database, region, await serveVms(resources), domains);
  await database.sql("create table route_policies (domain text primary key, policy jsonb not null)");
  const figures: Record<string, unknown[]> = {};
  const note = (key: string, found: Figures): void => {
    (figures[key] ??= []).push(found);
    process.stderr.write(`${key} ${JSON.stringify(found)}\n`);
  };
  for (const variant of VARIANTS) {
    if (idleSeconds > 0) note(`idle ${variant.name}`, await idleMinute(database, region, variant, file));
  }
  const migrated = await runEdgeproxy(["migrate"], { env: { EDGEPROXY_DATABASE_URL: database.url } });
  assert.equal(migrated.exitCode, 0, migrated.stderr);
  for (let round = 1; round <= rounds; round++) {
    for (const variant of VARIANTS) note(variant.name, await fed(database, region, variant, file, round));
  }
  return figures;
}

await using resources = new AsyncDisposableStack();
process.stdout.write(`${JSON.stringify({ bench: "policies-scale", domains, policies, ...await bench(resources) })}\n`);
