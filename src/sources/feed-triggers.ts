/*  The functions behind the triggers of the change feed.
 *
 *  They run inside the platform's own writes, so their first duty is to be in nobody's way:
 *
 *  - Statement triggers with transition tables: a statement that writes 10,000 rows pays once. They compare only what routes are
 *    made of; a heartbeat, or a domain that is not verified yet, logs nothing and notifies nobody.
 *  - They never fail because a column is gone. `from (values (null, ...)) as absent (...) cross join lateral (select ... from rows)`
 *    makes a column that the table no longer has mean the null beside it, at no cost at run time. The feed then says nothing of this
 *    table, and the reader's own query fails and says why.
 *  - They wait for nobody. Pruning skips what is locked, does a bounded amount of work on every 256th row of the log, and what it
 *    may meet in a transaction that is not `read committed` is caught. (A `serializable` transaction does not prune: its reading of
 *    the log's index could conflict with the writes of others.)
 *  - They run with the rights of the feed's owner and a fixed search path, so whoever may write to the tables needs no right on the log.
 *
 *  Statement triggers do not fire for changes that logical replication applies row by row; for these there is a trigger for each row,
 *  which fires only there and in other sessions with session_replication_role = replica, where the others do not.
 *
 *  `@schema@` stands for the quoted schema.
 */
import { CHANGES_TABLE, CHANNEL, FEED_TABLE, NOTIFIES, POLICY_TABLE } from "./change-feed.ts";

export interface FeedFunction {
  readonly name: string;
  readonly returns: "trigger" | "void";
  readonly body: string;
}

export interface FollowedTable {
  readonly table: string;
  readonly kind: "domain" | "deployment" | "vm" | "region" | "policy";
  /** The column that names a row in the log. */
  readonly subject: string;
  /** What else routes are made of. */
  readonly columns: readonly string[];
  /** They are compared as text, since values of their type may be incomparable. */
  readonly asText?: true;
  /** Rows for which `sql` is not true might as well not be there. */
  readonly counts: { readonly column: string; readonly sql: string } | null;
}

/** Domains with the moment of their verification, since of two claims to a host the earlier one wins. */
export const FOLLOWED_TABLES: readonly FollowedTable[] = [
  { table: "regions", kind: "region", subject: "id", columns: ["public_ipv4"], counts: null },
  {
    table: "vms",
    kind: "vm",
    subject: "id",
    columns: ["private_ip", "port", "region_id"],
    counts: { column: "status", sql: "status::text = 'running'" },
  },
  {
    table: "deployments",
    kind: "deployment",
    subject: "id",
    columns: ["vm_id"],
    counts: { column: "status", sql: "status::text = 'ready'" },
  },
  {
    table: "domains",
    kind: "domain",
    subject: "name",
    columns: ["deployment_id", "verified_at"],
    counts: { column: "verified_at", sql: "verified_at is not null" },
  },
  { table: POLICY_TABLE, kind: "policy", subject: "domain", columns: ["policy"], asText: true, counts: null },
];

/** What the feed reads of a table. */
export function columnsOf({ subject, columns, counts }: FollowedTable): readonly string[] {
  return [...new Set([subject, ...columns, ...counts === null ? [] : [counts.column]])];
}

/** Names or ids in one row of the log. */
const PACK = 500;
const NOTIFY = `if ${NOTIFIES} then
      perform pg_notify('${CHANNEL}', '');
    end if;`;
const PRUNE_EVERY_ROWS = 256;
const MOST_PRUNED_ROWS = 2048;
/** A reader that was away for longer compares everything. */
const KEEP = "30 minutes";

export function feedFunctions(): readonly FeedFunction[] {
  return [
    { name: "edgeproxy_feed_prune", returns: "void", body: PRUNE },
    { name: "edgeproxy_feed_replica", returns: "trigger", body: REPLICA },
    ...FOLLOWED_TABLES.map((followed): FeedFunction => ({
      name: `edgeproxy_feed_${followed.table}`,
      returns: "trigger",
      body: statementBody(followed),
    })),
  ];
}

/** A trigger's part of `create trigger NAME after EVENTS on TABLE CLAUSE execute function ...`. */
export const TRIGGER_CLAUSES = {
  edgeproxy_feed_insert: { events: "insert", clause: "referencing new table as new_rows for each statement" },
  edgeproxy_feed_update: { events: "update", clause: "referencing old table as old_rows new table as new_rows for each statement" },
  edgeproxy_feed_delete: { events: "delete", clause: "referencing old table as old_rows for each statement" },
  edgeproxy_feed_truncate: { events: "truncate", clause: "for each statement" },
  edgeproxy_feed_replica: { events: "insert or update or delete", clause: "for each row" },
} as const;

/** The arguments that the trigger for each row takes; the others need none. */
export function replicaArguments(followed: FollowedTable): readonly string[] {
  return [followed.kind, ...columnsOf(followed)];
}

/** Finds out first and writes then: a plan that inserts costs its start (6 us) also when there is nothing to insert. */
function statementBody(followed: FollowedTable): string {
  const changed = (rows: string) => `changed := array(select distinct subject from (${rows}) as changes)`;
  return `
declare
  changed text[];
  latest bigint;
  written bigint := 1;
begin
  if tg_op = 'UPDATE' then
    ${changed(differences(followed))};
  elsif tg_op = 'INSERT' then
    ${changed(rowsOf(followed, "new_rows", ""))};
  elsif tg_op = 'DELETE' then
    ${changed(rowsOf(followed, "old_rows", ""))};
  end if;
  if changed is null then
    insert into @schema@.${CHANGES_TABLE} (kind, subjects) values ('all', '{}') returning seq into latest;
  elsif cardinality(changed) = 0 then
    return null;
  elsif cardinality(changed) <= ${PACK} then
    insert into @schema@.${CHANGES_TABLE} (kind, subjects) values ('${followed.kind}', changed) returning seq into latest;
  else
    insert into @schema@.${CHANGES_TABLE} (kind, subjects)
    select '${followed.kind}', array_agg(subject) from unnest(changed) with ordinality as listed (subject, rank)
    group by (rank - 1) / ${PACK};
    get diagnostics written = row_count;
    latest := currval('@schema@.${CHANGES_TABLE}_seq_seq'::regclass);
  end if;
  ${NOTIFY}
  if latest / ${PRUNE_EVERY_ROWS} <> (latest - written) / ${PRUNE_EVERY_ROWS} then
    perform @schema@.edgeproxy_feed_prune();
  end if;
  return null;
end`;
}

/** Rows that only one side has, or a different number of times. */
function differences(followed: FollowedTable): string {
  return `
      select subject from (
        ${rowsOf(followed, "new_rows", ", 1 as side")}
        union all
        ${rowsOf(followed, "old_rows", ", -1")}
      ) as sides group by ${["subject", ...followed.columns].join(", ")} having sum(side) <> 0`;
}

/** The design note explains `absent`. */
function rowsOf(followed: FollowedTable, rows: string, side: string): string {
  const { subject, counts } = followed;
  const columns = followed.columns.map((column) => followed.asText === true ? `${column}::text as ${column}` : column);
  const all = columnsOf(followed);
  return `select present.*${side}
        from (values (${all.map(() => "null::text").join(", ")})) as absent (${all.join(", ")})
        cross join lateral (
          select ${subject}::text as subject, ${columns.join(", ")} from ${rows}${counts === null ? "" : ` where ${counts.sql}`}
        ) as present
        where present.subject is not null`;
}

/** Arguments: kind, subject, other columns. Slow and generous, compared with the others. */
const REPLICA = `
declare
  before jsonb := case when tg_op <> 'INSERT' then to_jsonb(old) end;
  after jsonb := case when tg_op <> 'DELETE' then to_jsonb(new) end;
begin
  if exists (select from unnest(tg_argv[1:]) as name where before -> name is distinct from after -> name) then
    insert into @schema@.${CHANGES_TABLE} (kind, subjects)
    select tg_argv[0], array_agg(distinct subject)
    from (values (before ->> tg_argv[1]), (after ->> tg_argv[1])) as named (subject)
    where subject is not null having count(*) > 0;
    ${NOTIFY}
  end if;
  return null;
end`;

/*  The mark is a transaction before which all were over when it was set; rows of those go once the mark is old enough. A restored dump
 *  may bring a mark of another server: one from the future is set anew, and rows keep their time whatever the mark says.
 */
const PRUNE = `
declare
  mark bigint;
  newest bigint := txid_snapshot_xmax(txid_current_snapshot());
  pruned bigint;
begin
  if current_setting('transaction_isolation') = 'serializable' then
    return;
  end if;
  select mark_txid into mark from @schema@.${FEED_TABLE}
  where marked_at < clock_timestamp() - interval '${KEEP}' or mark_txid > newest
  for update skip locked;
  if not found then
    return;
  end if;
  if mark <= newest then
    update @schema@.${FEED_TABLE} set pruned_txid = mark where pruned_txid <> mark;
    delete from @schema@.${CHANGES_TABLE} where (txid, seq) in (
      select txid, seq from @schema@.${CHANGES_TABLE}
      where txid < mark and at < clock_timestamp() - interval '${KEEP}' order by txid, seq limit ${MOST_PRUNED_ROWS}
    );
    get diagnostics pruned = row_count;
    if pruned = ${MOST_PRUNED_ROWS} then
      return;
    end if;
  end if;
  update @schema@.${FEED_TABLE}
  set mark_txid = txid_snapshot_xmin(txid_current_snapshot()), marked_at = clock_timestamp(), pruned_txid = least(pruned_txid, newest);
exception when others then
  null; -- the next one will do it
end`;
