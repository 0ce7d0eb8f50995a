/*  What the scripts that put the feed into a database and take it out have in common.
 *
 *  Each is one transaction that any client can run (`--print`), does only what is to be done, and ends with rows that say what it did.
 *  All decisions are taken in the database, so that what is printed is what runs.
 *
 *  A lock that waits makes every later writer wait behind it, and two that wait for each other are a deadlock of which the platform may
 *  be the victim. Therefore all locks are taken at once, wait less than deadlock_timeout (1 s), are given up together, and tried again.
 */
import { FEED_TABLE, FEED_VERSION } from "./change-feed.ts";

const LOCK_ATTEMPTS = 12;

export interface FeedScript {
  readonly name: "migrate" | "remove";
  readonly purpose: string;
  readonly variables: readonly string[];
  readonly steps: readonly string[];
}

export function feedScript({ name, purpose, variables, steps }: FeedScript): string {
  return `-- ${purpose}.
-- One transaction, safe to repeat. With psql: -v ON_ERROR_STOP=1, and the search_path that the proxy has.
begin isolation level read committed;
set local statement_timeout = 0;
do $edgeproxy$
declare
  steps text[] := '{}'; -- what was done
  place text; -- the schema of everything, quoted
  version integer; -- of the feed that is there
  busy oid[] := '{}'; -- tables that must be locked
  names text; -- theirs
  foreign_owners text;
  holders text;
  each record;
  ${variables.join("\n  ")}
begin${steps.join("")}
  perform set_config('edgeproxy.steps', array_to_string(steps, E'\\n'), true);
end
$edgeproxy$;
select unnest(string_to_array(current_setting('edgeproxy.steps'), E'\\n')) as edgeproxy_${name};
commit;
`;
}

/** Sets `place` and `version`; fails where no feed can be; then no other migration runs. */
export const FIND_PLACE = `
  if pg_is_in_recovery() then
    raise exception 'this server is a hot standby: the feed is put into the primary, and reaches its standbys by itself';
  elsif current_setting('transaction_read_only') = 'on' then
    raise exception 'this user''s transactions are read only (default_transaction_read_only): the feed needs another user';
  elsif current_setting('server_version_num')::integer < 110000 then
    raise exception 'PostgreSQL % is too old: the feed needs 11 or newer', current_setting('server_version');
  end if;
  select quote_ident(nspname) into place
  from unnest(array['domains', 'deployments', 'vms', 'regions']) with ordinality as wanted (name, rank)
  join pg_class on pg_class.oid = to_regclass(wanted.name) join pg_namespace on pg_namespace.oid = relnamespace
  order by rank limit 1;
  place := coalesce(place, quote_ident(current_schema()));
  if place is null then
    raise exception 'no schema of the search path "%" exists, or this user may use none of them', current_setting('search_path');
  end if;
  -- One migration at a time.
  perform set_config('lock_timeout', '30s', true);
  perform pg_advisory_xact_lock(hashtext('edgeproxy migrate'));
  perform set_config('lock_timeout', '400ms', true);
  if to_regclass(place || '.${FEED_TABLE}') is not null then
    execute 'select version from ' || place || '.${FEED_TABLE}' into version;
    if version > ${FEED_VERSION} then
      raise exception 'the feed in schema % is version %, made by a newer edgeproxy; this one knows ${FEED_VERSION}', place, version;
    end if;
  end if;
`;

/** Locks the tables of `busy`, which must be ours. */
export function lockTables(mode: string): string {
  return `
  select string_agg(distinct pg_class.oid::regclass::text, ', '),
    string_agg(distinct format('%s of %s', pg_class.oid::regclass, pg_get_userbyid(relowner)), ', ')
      filter (where not pg_has_role(relowner, 'usage'))
  into names, foreign_owners from pg_class where oid = any (busy);
  if foreign_owners is not null then
    raise exception 'user % must own the tables for triggers and indexes on them: %', current_user, foreign_owners;
  end if;
  if names is not null then
    for attempt in 1..${LOCK_ATTEMPTS} loop
      begin
        execute 'lock table ' || names || ' in ${mode} mode';
        exit;
      exception when lock_not_available then
        if attempt = ${LOCK_ATTEMPTS} then
          select string_agg(coalesce(format('%s (pid %s, transaction open for %s)', coalesce(usename, backend_type), pid,
            date_trunc('second', clock_timestamp() - xact_start)), 'a prepared transaction'), ', ' order by xact_start nulls first)
          into holders from (
            select distinct pid, usename, backend_type, xact_start from pg_locks left join pg_stat_activity using (pid)
            where relation = any (busy) and granted and mode not in ('AccessShareLock', 'RowShareLock')
            order by xact_start nulls first limit 3
          ) as oldest;
          raise exception 'cannot lock %, held by %: nothing was changed; end that transaction or try again later',
            names, coalesce(holders, 'somebody');
        end if;
        perform pg_sleep(0.5);
      end;
    end loop;
  end if;
`;
}
