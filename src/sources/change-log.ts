/*  Where a reader is in the log of changes, and what has come since.
 *
 *  A position is a snapshot: the transactions that were visible in it are read. It means nothing to another server, nor to the same one
 *  after a crash or a promotion, hence `started` and `recovering`; nor when rows changed without a trigger, because tables were
 *  exchanged, restored or rewritten, or their triggers disabled for a while, hence `shape`. In a snapshot of a standby no running transactions are listed; the
 *  feed then reads from the oldest one that may be running (`xmin`), but for those whose rows were `seen`: a long transaction on the
 *  primary must not bring the same rows, or a TRUNCATE, again and again. On a primary an empty list says that there are none, and `xmin`
 *  is as good, so no promotion can come between a snapshot and the question whether it is one of a standby.
 */
import { CHANGES_TABLE, changesSince, FEED_VERSION, type FeedFinding, FOLLOWED, MOST_CHANGED_NAMES } from "./change-feed.ts";
import { blocksWhere } from "./postgres-queries.ts";
import { policiesWhere, type PolicyNews } from "./policy-table.ts";
import type { ReadingTools, RouteState } from "./route-reading.ts";
import { type Answer, type ReadTransaction, stateWith } from "./table-reading.ts";

export interface Position {
  readonly snapshot: string;
  /** When the server was started, as it says. */
  readonly started: string;
  readonly recovering: boolean;
  /** Which files the tables and their log are in, and which triggers they have had since when. */
  readonly shape: string;
  /** Of a standby, as `changesSince` wants it. */
  readonly seen: string;
  /** The highest transaction in the log, which its index knows without a search; 0: it is empty. */
  readonly newest: number;
}

/** What the log says of the time since a position. */
export interface News {
  /** Up to here. */
  readonly position: Position;
  /** Rows of the log. */
  readonly rows: number;
  /** The log does not say enough: everything is to be compared. */
  readonly insufficient: boolean;
  /** Some of them are about policies of domains. */
  readonly policies: boolean;
}

/** As text, ten bytes each. */
const MOST_SEEN = 10_000;

/** Columns `snapshot`, `started`, `recovering`, `shape`, `seen`, `newest`. */
export function positionQuery(feed: FeedFinding): string {
  return `select txid_current_snapshot()::text as snapshot, pg_postmaster_start_time()::text as started,
    pg_is_in_recovery() as recovering, ${shapeOf(feed)} as shape,
    case when pg_is_in_recovery() then (
      select case when count(*) <= ${MOST_SEEN} then string_agg(txid::text, ',') end from (
        select distinct txid from ${feed.schema}.${CHANGES_TABLE}
        where txid >= txid_snapshot_xmin(txid_current_snapshot()) and txid < txid_snapshot_xmax(txid_current_snapshot())
        limit ${MOST_SEEN + 1}
      ) as late
    ) end as seen,
    (select max(txid) from ${feed.schema}.${CHANGES_TABLE}
      where txid < txid_snapshot_xmax(txid_current_snapshot()))::text as newest`;
}

export function positionOf({ others }: Answer): Position {
  return {
    snapshot: String(others["snapshot"]),
    started: String(others["started"]),
    recovering: others["recovering"] === true,
    shape: String(others["shape"]),
    seen: String(others["seen"] ?? ""),
    newest: Number(others["newest"] ?? 0),
  };
}

/** Whether the log tells the way from one to the other. */
export function isSameServer(a: Position, b: Position): boolean {
  return a.started === b.started && a.recovering === b.recovering && a.shape === b.shape;
}

function shapeOf({ schema }: FeedFinding): string {
  const tables = `array[${[...FOLLOWED.map((table) => `'${table}'`), `'${schema}.${CHANGES_TABLE}'`].join(", ")}]`;
  return `(select string_agg(concat_ws(':', to_regclass(name)::oid, pg_relation_filenode(to_regclass(name)), (
      select string_agg(concat(oid, '.', xmin), ',' order by oid) from pg_trigger
      where tgrelid = to_regclass(name) and tgname like 'edgeproxy\\_feed\\_%'
    )), ' ') from unnest(${tables}) as name)`;
}

export async function newsSince(
  transaction: ReadTransaction,
  feed: FeedFinding,
  since: Position,
  signal: AbortSignal,
): Promise<News> {
  const answer = await transaction.askWithin(signal, queriesSince(feed, since).summary, positionQuery(feed));
  const { others } = answer;
  const position = positionOf(answer);
  const enough = others["version"] === FEED_VERSION && others["gap"] === false && others["everything"] === false;
  return { position, rows: Number(others["log_rows"]), insufficient: !enough, policies: others["policies"] === true };
}

/** What `base` becomes by the changes since the position at which it was read; null: there are too many to look them up. */
export async function stateAfter(
  transaction: ReadTransaction,
  feed: FeedFinding,
  since: Position,
  tools: ReadingTools,
  { base, before }: { readonly base: RouteState; readonly before: RouteState },
): Promise<RouteState | null> {
  const { names } = queriesSince(feed, since);
  const answer = await transaction.ask(`select unnest(${names})::text as changed`, blocksWhere(`domains.name = any (${names})`));
  if (answer.changed.length > MOST_CHANGED_NAMES) return null;
  return await stateWith(transaction, answer, tools, base, before);
}

/** The policies of domains that have changed since a position. */
export async function policiesAfter(transaction: ReadTransaction, feed: FeedFinding, since: Position): Promise<PolicyNews> {
  const { policed } = queriesSince(feed, since);
  const { policyNames, policies } = await transaction.ask(
    `select unnest(${policed})::text as policy_changed`,
    policiesWhere(`domain = any (${policed})`),
  );
  return { kind: "some", names: policyNames, rows: policies };
}

function queriesSince(feed: FeedFinding, { snapshot, seen }: Position): ReturnType<typeof changesSince> {
  return changesSince(feed, snapshot, snapshot.endsWith(":") ? { seen } : null);
}
