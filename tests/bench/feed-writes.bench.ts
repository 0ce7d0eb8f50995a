/*  What the change feed costs the platform's writes: the same statements with the feed taken out and put in, in turns.
 *
 *      bun tests/bench/feed-writes.bench.ts [ROUNDS] [URL]
 *
 *  URL names an empty database on a server of yours, whose role may create tables; default: a server of its own, whose fsync is off, so
 *  that nothing hides behind the disk. 200,000 domains on 50 VMs. A session listens, as an edge does. Each figure is the median of the
 *  rounds; the statements are prepared; an answer is awaited before the next statement of a client.
 *
 *    domain-1, domain-4  one domain verified anew, one and four clients
 *    mixed-4             four clients, of whose statements each fourth is that one, the others an update that concerns nobody
 *    heartbeat           a column of a VM that routes are not made of
 *    vm                  the port of a VM with 4,000 domains
 *    bulk, bulk-beside   10,000 domains in one statement: a column that matters, one that does not
 *
 *  Prints one JSON line: microseconds per statement without and with, and their ratio (median of the ratios of each round). Where the
 *  server runs on this machine (Linux), `cpu` says the same of the CPU time of its processes that ran the statements: less noisy, but
 *  blind to waiting.
 */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import process from "node:process";
import postgres from "postgres";
import { CHANNEL } from "../../src/sources/change-feed.ts";
import { putFeedIn, takeFeedOut } from "../fixtures/feed.ts";
import { createSchema, openSession, startPostgres } from "../fixtures/postgres.ts";

const DOMAINS = 200_000;
const VMS = 50;
const BULK = 10_000;
const SECONDS = 1.5;

const LOAD = `
  alter table vms add seen_at timestamptz, add number serial;
  alter table deployments add number serial;
  alter table domains add note text, add number serial;
  create table others (number int primary key, at timestamptz);
  insert into others select i from generate_series(1, ${DOMAINS}) as i;
  insert into regions (public_ipv4) values ('203.0.113.1');
  insert into vms (private_ip, port, region_id, status) select '10.0.0.0'::inet + i, 80, id, 'running' from regions, generate_series(1, ${VMS}) as i;
  insert into deployments (vm_id, status) select vms.id, 'ready' from generate_series(1, ${DOMAINS}) as i join vms on vms.number = i % ${VMS} + 1;
  insert into domains (name, deployment_id, verified_at) select 'site-' || number || '.customers.example', id, now() from deployments;
  create index on domains (name); create index on domains (deployment_id); create index on deployments (vm_id);
  create unique index on vms (number); create unique index on domains (number);
  vacuum analyze`;

const VERIFY = "update domains set verified_at = clock_timestamp() where number = $1";
const BESIDE = "update others set at = clock_timestamp() where number = $1";
const BULKS = { "bulk": "verified_at = clock_timestamp()", "bulk-beside": "note = md5(name)" };

const any = (most: number): number => 1 + Math.floor(Math.random() * most);
const rounds = Number(process.argv[2] ?? 5);
await using own = process.argv[3] === undefined ? await startPostgres() : null;
await using database = openSession(process.argv[3] ?? own?.url ?? "");
await createSchema(database, { inet: true });
for (const statement of LOAD.split(";")) await database.sql(statement);
const clients = Array.from({ length: 4 }, () => postgres(database.url, { max: 1, onnotice: () => {} }));
const listener = postgres(database.url, { max: 1, onnotice: () => {} });
let heard = 0;
await listener.listen(CHANNEL, () => heard++);

const backends = await Promise.all([
  ...clients.map((client) => client.unsafe("select pg_backend_pid() as pid")),
  database.sql(
    "select pg_backend_pid() as pid",
  ),
].map(async (rows) => Number((await rows)[0]?.["pid"])));

interface Cost {
  readonly us: number;
  readonly cpuUs: number;
}

const seen: Record<string, { without: Cost[]; with: Cost[] }> = {};
for (let round = 0; round < rounds; round++) {
  for (const how of round % 2 === 0 ? ["without", "with"] as const : ["with", "without"] as const) {
    await (how === "with" ? putFeedIn : takeFeedOut)(database);
    await database.sql("checkpoint");
    heard = 0;
    for (const [name, cost] of Object.entries(await measure())) (seen[name] ??= { without: [], with: [] })[how].push(cost);
    assert.equal(heard > 0, how === "with");
  }
}
process.stdout.write(`${JSON.stringify({ bench: "feed-writes", unit: "us per statement", rounds, ...summary() })}\n`);
await Promise.all([...clients, listener].map((client) => client.end()));

async function measure(): Promise<Record<string, Cost>> {
  const figures: Record<string, Cost> = {
    "domain-1": await paced(1, () => [VERIFY, any(DOMAINS)]),
    "domain-4": await paced(4, () => [VERIFY, any(DOMAINS)]),
    "mixed-4": await paced(4, (count) => [count % 4 === 0 ? VERIFY : BESIDE, any(DOMAINS)]),
    "heartbeat": await paced(1, () => ["update vms set seen_at = clock_timestamp() where number = $1", any(VMS)]),
    "vm": await paced(1, () => ["update vms set port = port % 1000 + 1 where number = $1", any(VMS)]),
  };
  for (const [name, change] of Object.entries(BULKS)) {
    const costs: Cost[] = [];
    for (let i = 0; i < 3; i++) {
      const first = any(DOMAINS - BULK);
      const statement = `update domains set ${change} where number between ${first} and ${first + BULK - 1}`;
      costs.push(
        await costOf(1, async () => {
          await database.sql(statement);
          return 1;
        }),
      );
    }
    figures[name] = { us: median(costs.map((cost) => cost.us)), cpuUs: median(costs.map((cost) => cost.cpuUs)) };
  }
  return figures;
}

/** Statements of some clients, each one after the other, for a while. */
async function paced(count: number, next: (count: number) => readonly [statement: string, number: number]): Promise<Cost> {
  return await costOf(count, async () => {
    const untilMs = performance.now() + SECONDS * 1000;
    let done = 0;
    await Promise.all(
      clients.slice(0, count).map(async (client) => {
        for (let own = 0; performance.now() < untilMs; own++, done++) {
          const [statement, number] = next(own);
          await client.unsafe(statement, [number], { prepare: true });
        }
      }),
    );
    return done;
  });
}

/** Per statement; `act` answers how many there were. */
async function costOf(count: number, act: () => Promise<number>): Promise<Cost> {
  const cpuBefore = await cpuUs(), startMs = performance.now();
  const done = await act();
  return { us: (performance.now() - startMs) * 1000 * count / done, cpuUs: (await cpuUs() - cpuBefore) / done };
}

async function cpuUs(): Promise<number> {
  const read = (pid: number) => readFile(`/proc/${pid}/schedstat`, "utf8").then((text) => parseInt(text) / 1000, () => NaN);
  return (await Promise.all(backends.map(read))).reduce((sum, us) => sum + us, 0);
}

function summary(): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(seen).map(([name, costs]) => {
      const [without, having] = [costs.without.map((cost) => cost.us), costs.with.map((cost) => cost.us)];
      const cpu = compare(costs.without.map((cost) => cost.cpuUs), costs.with.map((cost) => cost.cpuUs));
      return [name, { ...compare(without, having), ...Number.isNaN(cpu["with"]) ? {} : { cpu } }];
    }),
  );
}

function compare(without: readonly number[], having: readonly number[]): Record<string, number> {
  const ratio = median(having.map((us, round) => us / (without[round] ?? NaN)));
  return { without: Math.round(median(without)), with: Math.round(median(having)), ratio: Math.round(ratio * 100) / 100 };
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? NaN;
}
