/*  Readings of the platform's tables: each is a transaction, and what it read becomes a new state.
 *
 *  Poolers in transaction mode keep one transaction on one server connection, but nothing between transactions: therefore
 *  `set local`, and no prepared statement. `repeatable read`: all of it is of one moment. `read only`: an account that could
 *  write by mistake does not, and hot standbys are content.
 */
import { inSlices } from "../runtime/in-slices.ts";
import { type DatabaseClient, type DatabaseRow, sqlState } from "./database-client.ts";
import { POLICY_TABLE } from "./change-feed.ts";
import { blockName, blockOf, blocksWhere, claimsQuery, isAmong, regionOf, REGIONS_QUERY } from "./postgres-queries.ts";
import { type Block, namesOf, type ReadingTools, RouteReading, type RouteState } from "./route-reading.ts";
import { TABLES } from "./schema.ts";
import type { PolicyRow } from "./policy-table.ts";
import type { RegionRow } from "./source.ts";

/** Which file a table was in when the transaction began (a row of pg_class), and which one it is in. */
const REWRITTEN_QUERY = `
  select count(*) > 0 as rewritten from unnest('{${[...Object.keys(TABLES), POLICY_TABLE].join(",")}}'::text[]) as name
  left join pg_class on pg_class.oid = to_regclass(name)
  where pg_class.oid is null and name <> '${POLICY_TABLE}' or nullif(relfilenode, 0) is distinct from pg_relation_filenode(pg_class.oid)`;

/** The rows of a message by kind; those of other kinds as they are, in one. */
export interface Answer {
  readonly blocks: Block[];
  readonly regions: RegionRow[];
  /** Column `changed`. */
  readonly changed: string[];
  /** Column `claimant`. */
  readonly claimants: string[];
  /** Columns `policed` and `policy`. */
  readonly policies: PolicyRow[];
  /** Column `policy_changed`. */
  readonly policyNames: string[];
  readonly others: Record<string, unknown>;
}

export class ReadTransaction {
  readonly #client: DatabaseClient;
  readonly #signal: AbortSignal;
  readonly #begin: string;
  #begun = false;

  constructor(client: DatabaseClient, statementTimeoutMs: number, signal: AbortSignal) {
    this.#client = client;
    this.#signal = signal;
    this.#begin = `begin isolation level repeatable read read only; set local statement_timeout = ${statementTimeoutMs}`;
  }

  /** In one message; the first begins the transaction. A failure closes the client. */
  async ask(...statements: readonly string[]): Promise<Answer> {
    return await this.askWithin(this.#signal, ...statements);
  }

  async askWithin(signal: AbortSignal, ...statements: readonly string[]): Promise<Answer> {
    const answer: Answer = { blocks: [], regions: [], changed: [], claimants: [], policies: [], policyNames: [], others: {} };
    const text = (this.#begun ? statements : [this.#begin, ...statements]).join(";\n");
    this.#begun = true;
    await this.#client.query(text, (row) => collect(row, answer), signal);
    return answer;
  }

  /** Rejects where a table was rewritten since the snapshot: to us it may have looked empty. */
  async commit(): Promise<void> {
    const { others } = await this.ask(REWRITTEN_QUERY, "commit");
    if (others["rewritten"] === true) throw new TablesRewritten();
  }
}

/** The server gave the statement up: a conflict with recovery on a standby, a deadlock, a timeout. */
const GIVEN_UP = /^(40001|40P01|57014)$/;

/** Whether a failed reading is worth another one at once. */
export function isPassing(error: unknown): boolean {
  return error instanceof TablesRewritten || GIVEN_UP.test(sqlState(error));
}

/** By ALTER TABLE or TRUNCATE, whose new files show an older snapshot no rows. Read again. */
class TablesRewritten extends Error {
  constructor() {
    super("The tables were altered while they were read");
    this.name = "TablesRewritten";
  }
}

function collect(row: DatabaseRow, answer: Answer): void {
  if ("block" in row) answer.blocks.push(blockOf(row));
  else if ("region" in row) answer.regions.push(regionOf(row));
  else if ("changed" in row) answer.changed.push(String(row["changed"]));
  else if ("policed" in row) answer.policies.push({ domain: String(row["policed"]), text: String(row["policy"]) });
  else if ("policy_changed" in row) answer.policyNames.push(String(row["policy_changed"]));
  else if ("claimant" in row) answer.claimants.push(String(row["claimant"]));
  else Object.assign(answer.others, row);
}

/** What `stateOfAll` makes a state of. */
export const EVERYTHING_BUT_REGIONS: readonly string[] = [blocksWhere("true")];
export const EVERYTHING: readonly string[] = [...EVERYTHING_BUT_REGIONS, REGIONS_QUERY];

/** Of the answer about EVERYTHING; as far as possible it shares with the state before. */
export async function stateOfAll(
  transaction: ReadTransaction,
  answer: Answer,
  tools: ReadingTools,
  before: RouteState | null,
): Promise<RouteState> {
  const reading = new RouteReading(tools, null, before);
  await reading.add(answer.blocks);
  await settle(reading, transaction);
  return await reading.finish();
}

/** The answer holds the rows, if any are left, of all names that changed, in `changed` or only in blocks. `base` is used up. */
export async function stateWith(
  transaction: ReadTransaction,
  answer: Answer,
  tools: ReadingTools,
  base: RouteState,
  before: RouteState,
): Promise<RouteState> {
  const reading = new RouteReading(tools, base, before);
  const names = await namesToRead(answer);
  const siblings = await siblingsOf(names, reading);
  const more = siblings.length === 0 ? [] : (await transaction.ask(blocksWhere(isAmong(siblings)))).blocks;
  await inSlices(names, (name) => reading.forget(name));
  for (const name of siblings) reading.forget(name);
  await reading.add([...answer.blocks, ...more]);
  await settle(reading, transaction);
  return await reading.finish();
}

async function namesToRead({ changed, blocks }: Answer): Promise<ReadonlySet<string>> {
  const names = new Set<string>();
  await inSlices(changed, (name) => names.add(blockName(name)));
  await inSlices(namesOf(blocks), (name) => names.add(name));
  return names;
}

async function siblingsOf(names: ReadonlySet<string>, reading: RouteReading): Promise<string[]> {
  const siblings = new Set<string>();
  await inSlices(names, (name) => {
    for (const sibling of reading.siblings(name)) if (!names.has(sibling)) siblings.add(sibling);
  });
  return [...siblings];
}

async function settle(reading: RouteReading, transaction: ReadTransaction): Promise<void> {
  const contested = await reading.contested();
  const { claimants } = contested.length === 0 ? { claimants: [] } : await transaction.ask(claimsQuery(contested));
  await reading.settle(claimants);
}
