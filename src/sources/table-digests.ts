/*  Comparing the tables without a feed: the database reckons a digest for each of 4096 buckets of each table, and only what is behind the
 *  buckets that changed is fetched, in the same transaction.
 *
 *    first reading     everything, no digests: they cost the database two thirds of it
 *    second            digests and everything
 *    others            digests; when some changed, their rows; when many did, everything
 *
 *  Each table is reckoned for itself, since joining a million rows costs more than hashing them. A bucket of deployments or VMs leads to
 *  names in the database, by what rows say now. For a bucket of names we must know which of our own names lie in it, for they may be
 *  gone: `postgres-hash` tells. If the server does not agree with it, everything is read each time.
 */
import { inSlices } from "../runtime/in-slices.ts";
import { blockName, blocksWhere, isAmong } from "./postgres-queries.ts";
import { hashText } from "./postgres-hash.ts";
import { namesOf, type ReadingTools, type RouteState } from "./route-reading.ts";
import { type Answer, EVERYTHING_BUT_REGIONS, type ReadTransaction, stateOfAll, stateWith } from "./table-reading.ts";

const BUCKETS = 4096;
/** Of any table: beyond, everything is fetched at once. */
const MOST_BUCKETS = BUCKETS / 4;
/** Behind buckets of deployments and VMs. */
const MOST_NAMES = 50_000;

const NAME_BUCKET = `hashtext(domains.name::text collate "C") & ${BUCKETS - 1}`;
const PROBE = "bücher.example.com";

/** Columns by table. Whatever the types are: rows are hashed as the database would to compare them. */
export const DIGESTS: readonly string[] = [
  digestsOf("name_digests", `coalesce(${NAME_BUCKET}, -1)`, "domains.name, domains.deployment_id, domains.verified_at", {
    from: "domains where domains.verified_at is not null",
  }),
  digestsOf("deployment_digests", bucketOf("deployments.id"), "deployments.id, deployments.vm_id", {
    from: "deployments where deployments.status = 'ready'",
  }),
  digestsOf("vm_digests", bucketOf("vms.id"), "vms.id, vms.private_ip, vms.port, vms.region_id", {
    from: "vms where vms.status = 'running'",
  }),
  digestsOf("region_digests", "0", "regions.id, regions.public_ipv4", { from: "regions" }),
  `select hashtext('${PROBE}' collate "C")::text as hash_probe, current_setting('server_encoding') as encoding`,
];

export class TableDigests {
  #known: Answer["others"] | null = null;
  #distrust: string | null = null;
  #used = false;

  /** Why the server's digests are not used; null: they are. */
  get distrust(): string | null {
    return this.#distrust;
  }

  /** The state that the next digests are compared with is another one. */
  forget(): void {
    this.#known = null;
    this.#used = false;
  }

  /** The server cannot reckon them. */
  giveUp(reason: string): void {
    this.#distrust = reason;
  }

  /** What to ask in the first message: a digest is worth its price for the second reading at the earliest. */
  questions(): readonly string[] {
    const first = !this.#used;
    this.#used = true;
    return first || this.#distrust !== null ? [] : DIGESTS;
  }

  /** The state after the message with these questions. Whoever fails in it calls `forget`. */
  async bringUp(
    transaction: ReadTransaction,
    { others }: Answer,
    tools: ReadingTools,
    state: RouteState | null,
  ): Promise<RouteState> {
    const known = this.#known;
    this.#known = this.#takeDigests(others);
    if (known === null || this.#known === null || state === null) return await readAll(transaction, tools, state);
    const changed = changedBuckets(known, this.#known);
    if (changed === null) return await readAll(transaction, tools, state);
    if (changed.names.size + changed.deployments.size + changed.vms.size === 0) return state;
    // Two questions, because the planner makes a mess of one
    const led = changed.deployments.size + changed.vms.size === 0 ? [] : (await transaction.ask(namesBehind(changed))).changed;
    if (led.length > MOST_NAMES) return await readAll(transaction, tools, state);
    const answer = await transaction.ask(rowsBehind(changed, led, doubtfulNames(state)));
    for (const name of led) answer.changed.push(name);
    if (!await agrees(answer, changed.names)) {
      this.giveUp("the server puts names into other buckets");
      return await readAll(transaction, tools, state);
    }
    await addOurNames(answer.changed, state, changed.names);
    return await stateWith(transaction, answer, tools, state, state);
  }

  #takeDigests(others: Answer["others"]): Answer["others"] | null {
    if (!("hash_probe" in others)) return null;
    const agreed = Number(others["hash_probe"]) >>> 0 === hashText(PROBE) && others["encoding"] === "UTF8";
    if (!agreed) this.giveUp("the server reckons other hashes");
    return agreed ? others : null;
  }
}

interface ChangedBuckets {
  readonly names: ReadonlySet<number>;
  readonly deployments: ReadonlySet<number>;
  readonly vms: ReadonlySet<number>;
}

/** null: too many, or such as lead to no names. */
function changedBuckets(before: Answer["others"], after: Answer["others"]): ChangedBuckets | null {
  const [names, deployments, vms, regions] = ["name_digests", "deployment_digests", "vm_digests", "region_digests"].map((column) =>
    differences(String(before[column] ?? ""), String(after[column] ?? ""))
  ) as [Set<number>, Set<number>, Set<number>, Set<number>];
  const most = Math.max(names.size, deployments.size, vms.size);
  return most > MOST_BUCKETS || regions.size > 0 || names.has(-1) ? null : { names, deployments, vms };
}

function differences(before: string, after: string): Set<number> {
  if (before === after) return new Set();
  const known = new Set(before.split(" "));
  const differing = new Set<string>();
  for (const digest of after.split(" ")) if (!known.delete(digest)) differing.add(digest);
  return new Set([...known, ...differing].filter((digest) => digest !== "").map((digest) => Number.parseInt(digest)));
}

/** What buckets of deployments and VMs lead to now. */
function namesBehind({ deployments, vms }: ChangedBuckets): string {
  return `select distinct domains.name::text as changed from domains
    where ${bucketOf("domains.deployment_id")} = any (${bucketList(deployments)}) or domains.deployment_id in (
      select deployments.id from deployments where ${bucketOf("deployments.vm_id")} = any (${bucketList(vms)})
    ) limit ${MOST_NAMES + 1}`;
}

function rowsBehind({ names }: ChangedBuckets, led: readonly string[], doubtful: readonly string[]): string {
  const inBuckets = names.size === 0 ? "false" : `${NAME_BUCKET} = any (${bucketList(names)})`;
  const alike = doubtful.length === 0 ? "false" : "domains.name::text ~ E'[/\\n]'";
  return blocksWhere(`(${inBuckets} or ${isAmong(led)} or ${alike})`);
}

async function agrees({ blocks, changed }: Answer, buckets: ReadonlySet<number>): Promise<boolean> {
  const others = new Set(changed.map(blockName));
  let agreed = true;
  await inSlices(namesOf(blocks), (name) => {
    if (!buckets.has(hashText(name) & BUCKETS - 1) && !others.has(name) && !name.includes("/")) agreed = false;
  });
  return agreed;
}

/** What we serve or exclude in these buckets; it may be gone. */
async function addOurNames(names: string[], state: RouteState, buckets: ReadonlySet<number>): Promise<void> {
  if (buckets.size === 0) return;
  const add = (name: string): void => {
    if (buckets.has(hashText(name) & BUCKETS - 1)) names.push(name);
  };
  await inSlices(state.routes.entries(), ([host]) => add(host));
  await inSlices(state.spellings.values(), (spellings) => spellings.forEach(add));
  await inSlices(state.exclusions.names(), add);
  for (const name of doubtfulNames(state)) names.push(name);
}

/** A slash may stand for a line feed, so we cannot tell in which bucket it is. Nobody is served by such a name. */
function doubtfulNames({ exclusions }: RouteState): string[] {
  return [...exclusions.names()].filter((name) => name.includes("/"));
}

async function readAll(transaction: ReadTransaction, tools: ReadingTools, before: RouteState | null): Promise<RouteState> {
  return await stateOfAll(transaction, await transaction.ask(...EVERYTHING_BUT_REGIONS), tools, before);
}

function bucketOf(column: string): string {
  return `hash_record_extended(row(${column}), 0) & ${BUCKETS - 1}`;
}

function bucketList(buckets: ReadonlySet<number>): string {
  return `'{${[...buckets].join(",")}}'::bigint[]`;
}

/** One text with a word for each bucket, since thousands of rows cost us more than their bytes. */
function digestsOf(column: string, bucket: string, columns: string, { from }: { readonly from: string }): string {
  return `select string_agg(bucket || ':' || rows || ':' || digest, ' ' order by bucket) as ${column} from (
    select ${bucket} as bucket, count(*) as rows, sum(hash_record_extended(row(${columns}), 0)) as digest from ${from} group by 1
  ) as buckets`;
}
