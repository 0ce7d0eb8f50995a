/*  The change feed as its reader sees it: what `feed-schema` puts into a database, and the SQL that asks it.
 *
 *  edgeproxy_changes   the log. One row per kind of changed thing and statement; the things are in `subjects`:
 *                        domain      names of domains, as they were and as they are now
 *                        deployment  ids, as text; likewise vm, region
 *                        policy      domains as route_policies spells them
 *                        all         TRUNCATE: compare everything
 *                      `txid` is the transaction that wrote the row.
 *  edgeproxy_feed      one row: version, and up to which transaction rows were pruned.
 *
 *  A reader keeps the snapshot (`txid_current_snapshot()`) of each reading. What it has not seen are the rows of transactions that
 *  were not visible in that snapshot, in whatever order they commit, however long one of them runs. A deployment, VM or region is
 *  resolved to names in the reader's own snapshot, because the trigger cannot see what another transaction is about to lead there.
 *  This loses nothing: if the rows behind a name differ between two snapshots, then the domain's row differs (its name is logged), or
 *  it is the same and leads to a deployment that differs (its id is logged, and the domain is found by it), and so on to the region.
 */
import type { DatabaseRow } from "./database-client.ts";

export const FEED_VERSION = 1;
export const CHANGES_TABLE = "edgeproxy_changes";
export const FEED_TABLE = "edgeproxy_feed";
/** One notification per transaction, always with an empty payload. */
export const CHANNEL = "edgeproxy_changes";

/**
 * SQL: does a transaction that changes something notify? Not where transactions can be prepared, which PostgreSQL refuses after NOTIFY:
 * the platform's two-phase commits would fail. `alter database ... set edgeproxy.notify = on` (or off) decides it otherwise.
 */
export const NOTIFIES = `coalesce(nullif(current_setting('edgeproxy.notify', true), ''),
      case current_setting('max_prepared_transactions') when '0' then 'on' end) in ('on', 'true', 'yes', '1') is true`;

/** By table; `enabled` are the letters of pg_trigger.tgenabled that do the job. `feed-triggers` says what each is for. */
export const FEED_TRIGGERS = [
  { name: "edgeproxy_feed_insert", enabled: "OA" },
  { name: "edgeproxy_feed_update", enabled: "OA" },
  { name: "edgeproxy_feed_delete", enabled: "OA" },
  { name: "edgeproxy_feed_truncate", enabled: "A" },
  { name: "edgeproxy_feed_replica", enabled: "RA" },
] as const;
/** What a database may have, or not. */
export const POLICY_TABLE = "route_policies";
/** Tables. */
export const FOLLOWED = ["domains", "deployments", "vms", "regions", POLICY_TABLE];

/** Above that many names a reader had better compare everything; the SQL below returns one more at most. */
export const MOST_CHANGED_NAMES = 20_000;

export interface FeedFinding {
  /** Of the table `domains`, and so of the feed; quoted as SQL wants it. */
  readonly schema: string;
  readonly present: boolean;
  /** This user has SELECT on both tables. */
  readonly readable: boolean;
  /** null when it is absent. Not FEED_VERSION: do not use it. */
  readonly version: number | null;
  /** `table.trigger`, absent or disabled: changes may go unnoticed, so do not use it. */
  readonly missingTriggers: readonly string[];
  /** Else the log must be polled. */
  readonly notifies: boolean;
  /** Of the columns that changes are looked up by, as SQL; `policy` null: there is no table of policies. */
  readonly types: { readonly name: string; readonly deployment: string; readonly vm: string; readonly policy: string | null };
}

const EXPECTED = FOLLOWED.flatMap((table) => FEED_TRIGGERS.map(({ name, enabled }) => `('${table}', '${name}', '${enabled}')`))
  .join(", ");

/** Is the feed there, may this user read it, which version, do its triggers fire? No row: there is no table `domains`. */
export const FEED_QUERY = `
  select quote_ident(pg_namespace.nspname) as feed_schema, changes.oid is not null and feed.oid is not null as present,
    coalesce(has_table_privilege(changes.oid, 'select') and has_table_privilege(feed.oid, 'select'), false) as readable,
    (select pg_get_expr(adbin, adrelid) from pg_attrdef join pg_attribute on attrelid = adrelid and attnum = adnum
      where adrelid = feed.oid and attname = 'version') as feed_version,
    array_to_string(array(
      select expected.relation || '.' || expected.trigger_name from (values ${EXPECTED}) as expected (relation, trigger_name, enabled)
      where (expected.relation <> '${POLICY_TABLE}' or to_regclass('${POLICY_TABLE}') is not null) and not exists (
        select from pg_trigger join pg_proc on pg_proc.oid = tgfoid
        where tgrelid = to_regclass(expected.relation) and tgname = expected.trigger_name
          and position(tgenabled::text in expected.enabled) > 0 and pronamespace = domains.relnamespace
      )
    ), ' ') as missing_triggers, ${NOTIFIES} as notifies,
    ${columnType("domains", "name")} as name_type, ${columnType("domains", "deployment_id")} as deployment_type,
    ${columnType("deployments", "vm_id")} as vm_type, ${columnType(POLICY_TABLE, "domain")} as policy_type
  from pg_class as domains
  join pg_namespace on pg_namespace.oid = domains.relnamespace
  left join pg_class as changes on changes.relnamespace = domains.relnamespace and changes.relname = '${CHANGES_TABLE}'
  left join pg_class as feed on feed.relnamespace = domains.relnamespace and feed.relname = '${FEED_TABLE}'
  where domains.oid = to_regclass('domains')`;

/** From a row of FEED_QUERY. */
export function feedFinding(row: DatabaseRow): FeedFinding {
  const missing = String(row["missing_triggers"] ?? "");
  const version = row["feed_version"];
  return {
    schema: String(row["feed_schema"]),
    present: row["present"] === true,
    readable: row["readable"] === true,
    version: typeof version === "string" && /^\d+$/.test(version) ? Number(version) : null,
    missingTriggers: missing === "" ? [] : missing.split(" "),
    notifies: row["notifies"] === true,
    types: {
      name: String(row["name_type"]),
      deployment: String(row["deployment_type"]),
      vm: String(row["vm_type"]),
      policy: typeof row["policy_type"] === "string" ? row["policy_type"] : null,
    },
  };
}

/** Everything is as a reader of this version needs it. */
export function isUsable(feed: FeedFinding): boolean {
  return feed.present && feed.readable && feed.version === FEED_VERSION && feed.missingTriggers.length === 0;
}

/** SQL about what changed since an earlier reading. Run all of it in one snapshot (`repeatable read`), with the rows' own query. */
export interface ChangeQueries {
  /**
   * One row: `snapshot` of now, as text; `version` of the feed; `gap`: rows may have been pruned unread; `everything`: a TRUNCATE, or a
   * region, behind which there may be any number of names; `log_rows` that are new, as text; `policies`: some are about policies.
   * With a gap, or with everything changed, or with more than MOST_CHANGED_NAMES names: compare everything.
   */
  readonly summary: string;
  /**
   * An array, of the type of domains.name, of every name that leads elsewhere now, or may: for `where domains.name = any (NAMES)`,
   * which the planner takes for a few (so it uses the index), and for `select unnest(NAMES)::text`.
   */
  readonly names: string;
  /** Likewise, of the type of route_policies.domain: domains whose policy is another one, or may be. */
  readonly policed: string;
}

/** What the snapshots of a standby do not say: which transactions since the oldest that may be running are over. */
export interface StandbySnapshot {
  /** Those in the log, between commas; if there are too many to list them, their rows come once more. */
  readonly seen: string;
}

/** `since` is the snapshot of the reading before, `standby` the rest of it. */
export function changesSince(feed: FeedFinding, since: string, standby: StandbySnapshot | null): ChangeQueries {
  const match = /^(\d+):(\d+):([\d,]*)$/.exec(since);
  if (match === null) throw new Error(`Cannot read the changes since snapshot "${since}"`);
  const [, xmin = "", xmax = "", running = ""] = match;
  const late = running === "" ? "" : ` or txid in (${running})`;
  const start = standby === null ? `txid >= ${xmax}${late}` : `txid >= ${xmin} and txid <> all ('{${standby.seen}}'::bigint[])`;
  // The upper bound leaves out rows that a restored dump brought along from another server, where transactions had higher numbers.
  const now = "txid_snapshot_xmax(txid_current_snapshot())";
  const unseen = `(${start}) and txid < ${now}`;
  const { schema, types } = feed;
  // The planner takes an array for ten elements, and may prefer to read the whole table if each has many rows: `exists` spares that
  // where there are none.
  return {
    summary: `
      select txid_current_snapshot()::text as snapshot, feed.version,
        feed.pruned_txid > ${xmin} and feed.pruned_txid <= ${now} as gap,
        coalesce(changes.everything, false) as everything, changes.log_rows::text as log_rows,
        coalesce(changes.policies, false) as policies
      from ${schema}.${FEED_TABLE} as feed, (
        select bool_or(kind not in ('domain', 'deployment', 'vm', 'policy')) as everything, count(*) as log_rows,
          bool_or(kind = 'policy') as policies
        from ${schema}.${CHANGES_TABLE} where ${unseen}
      ) as changes`,
    names: `array(
      with changed as (select kind, unnest(subjects) as subject from ${schema}.${CHANGES_TABLE} where ${unseen})
      select subject::${types.name} from changed where kind = 'domain'
      union
      select name::${types.name} from domains where exists (select from changed where kind in ('deployment', 'vm')) and deployment_id = any (array(
        select subject::${types.deployment} from changed where kind = 'deployment'
        union all
        select id from deployments
        where exists (select from changed where kind = 'vm') and vm_id = any (array(select subject::${types.vm} from changed where kind = 'vm'))
      ))
      limit ${MOST_CHANGED_NAMES + 1}
    )`,
    policed: `array(
      select distinct unnest(subjects)::${
      types.policy ?? "text"
    } from ${schema}.${CHANGES_TABLE} where (${unseen}) and kind = 'policy'
    )`,
  };
}

function columnType(table: string, column: string): string {
  return `(select format_type(atttypid, atttypmod) from pg_attribute
      where attrelid = to_regclass('${table}') and attname = '${column}' and not attisdropped)`;
}
