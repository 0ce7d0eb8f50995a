/*  What readings of PostgreSQL cost, at any size. One JSON line; answers are checked before anything is timed.
 *
 *    bun tests/bench/reading.bench.ts [domains]        100,000 without a number
 *
 *    copy_ms       `copy (query) to stdout` of the same routes as plain rows, taken by us and thrown away: the reference
 *    whole_ms      a reading of everything; `cpu` ours, `turn` the longest that nobody else had one
 *    told, read    from COMMIT until the source says so, and until its reading is complete
 *    minute        CPU of server and client for an idle minute: with the feed (60 looks), without (6 comparisons of the tables)
 */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import process from "node:process";
import { removeScript } from "../../src/sources/feed-removal.ts";
import { migrateScript } from "../../src/sources/feed-schema.ts";
import { PostgresSource } from "../../src/sources/postgres.ts";
import { createSchema, type Database, startPostgres } from "../fixtures/postgres.ts";

const REGION = "11111111-1111-4111-8111-111111111111";
const VMS = 250;
const CHANGES = 100;
const never = new AbortController().signal;
const domains = Number(process.argv[2] ?? 100_000);

function at(values: readonly number[], share: number): number {
  return rounded(values.toSorted((a, b) => a - b)[Math.floor((values.length - 1) * share)]!);
}

function rounded(value: number): number {
  return Math.round(value * 100) / 100;
}

async function fill(database: Database): Promise<void> {
  await createSchema(database, { inet: true });
  await database.sql(`
    insert into regions values ('${REGION}', null);
    insert into vms select md5('vm' || n)::uuid, ('10.0.1.' || n)::inet, 8080, '${REGION}', 'running' from generate_series(1, ${VMS}) as n;
    insert into deployments select md5('dep' || n)::uuid, md5('vm' || n % ${VMS} + 1)::uuid, 'ready' from generate_series(1, ${domains}) as n;
    insert into domains (name, deployment_id, verified_at)
      select 'd' || n || '.bench.test', md5('dep' || n)::uuid, now() from generate_series(1, ${domains}) as n`);
  await database.sql("vacuum analyze");
}

function sourceOf(database: Database): PostgresSource {
  return new PostgresSource({ url: `${database.url}?application_name=bench`, here: { regionId: REGION, regionPort: 80 } });
}

async function copyMs(database: Database): Promise<number> {
  const startMs = performance.now();
  await database.sql(`copy (
    select name, private_ip, port, region_id, public_ipv4 from domains join deployments on deployments.id = deployment_id
    join vms on vms.id = vm_id join regions on regions.id = region_id
    where verified_at is not null and deployments.status = 'ready' and vms.status = 'running') to program 'cat > /dev/null'`);
  return performance.now() - startMs;
}

async function measureWhole(source: PostgresSource): Promise<{ wholeMs: number; cpuMs: number; turnMs: number }> {
  let turnMs = 0;
  let lastMs = performance.now();
  const timer = setInterval(() => {
    turnMs = Math.max(turnMs, performance.now() - lastMs);
    lastMs = performance.now();
  }, 0);
  const startMs = performance.now();
  const begin = process.cpuUsage();
  await source.read({ whole: true }, never);
  const { user, system } = process.cpuUsage(begin);
  clearInterval(timer);
  return { wholeMs: rounded(performance.now() - startMs), cpuMs: (user + system) / 1000, turnMs: rounded(turnMs) };
}

async function measureChanges(source: PostgresSource, database: Database): Promise<{ told: number[]; read: number[] }> {
  const told: number[] = [], read: number[] = [];
  for (let n = 0; n < CHANGES; n++) {
    const name = `d${1 + Math.floor(Math.random() * domains)}.bench.test`;
    await database.sql(`begin; update domains set deployment_id = md5('dep' || ${n + 1})::uuid, verified_at = clock_timestamp()
      where name = '${name}'`);
    const announced = new Promise<void>((resolve) => source.onChange = resolve);
    const startMs = performance.now();
    const committing = database.sql("commit");
    await announced;
    told.push(performance.now() - startMs);
    await source.read({ whole: false }, never);
    read.push(performance.now() - startMs);
    await committing;
  }
  return { told, read };
}

async function minute(source: PostgresSource, database: Database, reads: number, perMinute: number): Promise<object> {
  const [row] = await database.sql("select pid from pg_stat_activity where application_name = 'bench'");
  const serverBefore = await cpuMsOf(Number(row?.["pid"]));
  const begin = process.cpuUsage();
  for (let n = 0; n < reads; n++) await source.read({ whole: false }, never);
  const { user, system } = process.cpuUsage(begin);
  const server = await cpuMsOf(Number(row?.["pid"])) - serverBefore;
  return { server_ms: rounded(server / reads * perMinute), client_ms: rounded((user + system) / 1000 / reads * perMinute) };
}

/** Linux counts in hundredths of a second. */
async function cpuMsOf(pid: number): Promise<number> {
  const fields = (await readFile(`/proc/${pid}/stat`, "utf8")).split(") ")[1]!.split(" ");
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

await using server = await startPostgres();
await fill(server);
const plain = sourceOf(server);
for (let n = 0; n < 2; n++) assert.equal((await plain.read({ whole: false }, never)).routes.size, domains);
const withoutFeed = await minute(plain, server, 3, 6);
await plain.close();
await server.sql(migrateScript());
const source = sourceOf(server);
assert.equal((await source.read({ whole: true }, never)).routes.size, domains);
assert.equal(source.following, "notifications");
const copies: number[] = [];
for (let n = 0; n < 3; n++) copies.push(await copyMs(server));
const whole = [await measureWhole(source), await measureWhole(source), await measureWhole(source)];
const { told, read } = await measureChanges(source, server);
const withFeed = await minute(source, server, 600, 60);
await source.close();
await server.sql(removeScript());
process.stdout.write(`${
  JSON.stringify({
    domains,
    copy_ms: at(copies, 0.5),
    whole_ms: at(whole.map(({ wholeMs }) => wholeMs), 0.5),
    whole_cpu_ms: at(whole.map(({ cpuMs }) => cpuMs), 0.5),
    whole_turn_ms: at(whole.map(({ turnMs }) => turnMs), 0.5),
    told_ms: { p50: at(told, 0.5), p99: at(told, 0.99) },
    read_ms: { p50: at(read, 0.5), p99: at(read, 0.99) },
    minute_with_feed: withFeed,
    minute_without_feed: withoutFeed,
  })
}\n`);
