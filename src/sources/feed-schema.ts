/*  The SQL of `edgeproxy migrate`: puts the change feed into a database.
 *
 *  - Everything goes into the schema where `domains` is found on the search path.
 *  - CREATE TRIGGER and CREATE INDEX keep writers of a table out until the transaction ends, so they come last, and only where missing.
 *  - Tables, columns and rows of the platform are never touched. Indexes that we make are written down, to be removed with the rest.
 *  - A later version goes into the same tables: it finds `version` in edgeproxy_feed, changes what must change, and replaces functions.
 */
import { CHANGES_TABLE, FEED_TABLE, FEED_TRIGGERS, FEED_VERSION, POLICY_TABLE } from "./change-feed.ts";
import { columnsOf, feedFunctions, FOLLOWED_TABLES, replicaArguments, TRIGGER_CLAUSES } from "./feed-triggers.ts";
import { feedScript, FIND_PLACE, lockTables } from "./feed-script.ts";
import { POLICY_COMMENT, POLICY_TABLE_DEFINITION, tableDefinitions } from "./platform-tables.ts";

/** How changed things lead to domains (`changesSince`), and domains to their VMs. */
const NEEDED_INDEXES: readonly (readonly [table: string, column: string])[] = [
  ["domains", "name"],
  ["domains", "deployment_id"],
  ["deployments", "id"],
  ["deployments", "vm_id"],
  ["vms", "id"],
];

/** Is there a valid index that finds rows by this column, whatever the rest of it? `relation` and `name` are expressions. */
function indexExists(relation: string, name: string): string {
  return `exists (
      select from pg_index join pg_class on pg_class.oid = indexrelid join pg_am on pg_am.oid = relam
      join pg_attribute on attrelid = indrelid and attnum = indkey[0]
      where indrelid = ${relation} and attname = ${name} and indisvalid and indpred is null and amname in ('btree', 'hash')
    )`;
}

const WANTED_INDEXES = `(values ${
  NEEDED_INDEXES.map(([table, column]) => `('${table}', '${column}')`).join(", ")
}) as wanted (relation, name)`;
const INDEX_MISSING = `not ${indexExists("to_regclass(wanted.relation)", "wanted.name")}`;

/** Rows relation, name. */
export const MISSING_INDEXES_QUERY = `select relation, name from ${WANTED_INDEXES} where ${INDEX_MISSING}`;

export function migrateScript(): string {
  return feedScript({
    name: "migrate",
    purpose: "Puts the change feed of edgeproxy into the database, and creates tables of the platform that are absent",
    variables: [
      "untriggered oid[]; -- tables without our triggers",
      "problems text[] := '{}';",
      "new_policies boolean := false; -- the table of policies is ours",
      "body text;",
      "definer constant text := ' language plpgsql security definer set search_path = pg_catalog, pg_temp as ';",
    ],
    steps: [
      FIND_PLACE,
      CREATE_TABLES,
      CHECK_TABLES,
      MAY_CREATE,
      CREATE_LOG,
      CREATE_POLICIES,
      CREATE_FUNCTIONS,
      FIND_WORK,
      lockTables("share row exclusive"),
      CREATE_INDEXES,
      CREATE_TRIGGERS,
      GRANT,
      HAND_OVER,
      TIDY,
    ],
  });
}

const CREATE_TABLES = tableDefinitions("inet").map(([table, definition]) => `
  if to_regclass('${table}') is null then
    body := $body$${definition}$body$;
    if to_regproc('gen_random_uuid') is null then -- before PostgreSQL 13
      body := replace(body, ' default gen_random_uuid()', '');
    end if;
    execute 'create table ' || place || '.${table} ' || body;
    steps := steps || 'created table ${table}'::text;
  else
    steps := steps || 'table ${table} is there'::text;
  end if;`).join("");

const CREATE_POLICIES = `
  if to_regclass('${POLICY_TABLE}') is null then
    execute 'create table ' || place || $body$.${POLICY_TABLE} ${POLICY_TABLE_DEFINITION}$body$;
    execute 'comment on table ' || place || $body$.${POLICY_TABLE} is ${POLICY_COMMENT}$body$;
    new_policies := true;
    steps := steps || 'created table ${POLICY_TABLE}'::text;
  else
    steps := steps || 'table ${POLICY_TABLE} is there'::text;
  end if;
`;

const FOLLOWED = FOLLOWED_TABLES.map((followed) =>
  `('${followed.table}', array[${columnsOf(followed).map((column) => `'${column}'`).join(", ")}])`
).join(", ");

const CHECK_TABLES = `
  for each in
    select name, relkind, relpersistence, exists (select from pg_inherits where pg_class.oid in (inhrelid, inhparent)) as inherits, array(
      select wanted from unnest(columns) with ordinality as listed (wanted, rank) where not exists (
        select from pg_attribute where attrelid = pg_class.oid and attname = wanted and attnum > 0 and not attisdropped
      ) order by rank
    ) as absent
    from (values ${FOLLOWED}) as followed (name, columns) join pg_class on pg_class.oid = to_regclass(name)
  loop
    if each.relkind <> 'r' then
      problems := problems || format('%s is a %s: the feed needs a plain table, since only its triggers see every write', each.name,
        case each.relkind when 'v' then 'view' when 'm' then 'materialized view' when 'p' then 'partitioned table'
          when 'f' then 'foreign table' else 'relation of another kind' end);
    elsif each.inherits then
      problems := problems || format('%s inherits, or is inherited from: its triggers do not see what is written through the other table',
        each.name);
    elsif each.relpersistence = 't' then
      problems := problems || format('%s is a temporary table', each.name);
    elsif cardinality(each.absent) > 0 then
      problems := problems || format('%s has no column %s', each.name, array_to_string(each.absent, ', '));
    end if;
  end loop;
  if cardinality(problems) > 0 then
    raise exception '%', array_to_string(problems, '; ');
  end if;
`;

const MAY_CREATE = `
  if to_regclass(place || '.${FEED_TABLE}') is null or to_regclass('${POLICY_TABLE}') is null then
    if to_regclass(place || '.${FEED_TABLE}') is null and to_regclass(place || '.${CHANGES_TABLE}') is not null then
      raise exception 'there is a table %.${CHANGES_TABLE}, but no ${FEED_TABLE}: take it out first (edgeproxy migrate --remove)', place;
    elsif not has_schema_privilege(current_user, place::regnamespace, 'create') then
      raise exception 'user % needs CREATE on schema %', current_user, place;
    end if;
    -- A subscriber without the new tables would stop: not by surprise.
    execute 'select string_agg(quote_ident(pubname), '', '') from pg_publication where puballtables'
      || case when to_regclass('pg_catalog.pg_publication_namespace') is null then '' else -- before PostgreSQL 15
        ' or oid in (select pnpubid from pg_publication_namespace where pnnspid = $1::regnamespace)' end
    into names using place;
    if names is not null and coalesce(current_setting('edgeproxy.publish', true), '') <> 'on' then
      raise exception 'publication % includes every new table, so also the log: a PostgreSQL that subscribes to it stops until it has '
        'tables ${CHANGES_TABLE}, ${FEED_TABLE} and ${POLICY_TABLE}. If none does: alter database % set edgeproxy.publish = on',
        names, quote_ident(current_database());
    end if;
  end if;
`;

const CREATE_LOG = `
  if to_regclass(place || '.${FEED_TABLE}') is null then
    execute 'create table ' || place || $body$.${CHANGES_TABLE} (
      seq bigserial,
      txid bigint not null default txid_current(),
      at timestamptz not null default clock_timestamp(),
      kind text not null,
      subjects text[] not null,
      primary key (txid, seq)
    )$body$;
    execute 'comment on table ' || place || $body$.${CHANGES_TABLE} is
      'What triggers of edgeproxy saw change in domains, deployments, vms and regions. Take it out with edgeproxy migrate --remove.'$body$;
    execute 'create table ' || place || $body$.${FEED_TABLE} (
      version integer not null default ${FEED_VERSION},
      mark_txid bigint not null,
      marked_at timestamptz not null,
      pruned_txid bigint not null default 0,
      indexes text[] not null default '{}',
      one_row boolean primary key default true check (one_row)
    )$body$;
    execute 'comment on table ' || place || $body$.${FEED_TABLE} is
      'About ${CHANGES_TABLE}: version of its triggers, pruning of old rows, indexes that came with it.'$body$;
    steps := steps || 'created table ${CHANGES_TABLE}'::text || 'created table ${FEED_TABLE}'::text;
  end if;
  if version is null then
    execute 'insert into ' || place || '.${FEED_TABLE} (mark_txid, marked_at)
      values (txid_snapshot_xmin(txid_current_snapshot()), clock_timestamp())';
    steps := steps || 'created feed version ${FEED_VERSION}'::text;
  else
    steps := steps || 'feed version ${FEED_VERSION} is there'::text;
  end if;
`;

const FUNCTIONS = feedFunctions().map(({ name, returns, body }) => `('${name}', '${returns}', $body$${body}$body$)`).join(",\n");

const CREATE_FUNCTIONS = `
  for each in
    select * from (values ${FUNCTIONS}) as wanted (name, returns, body)
  loop
    body := replace(each.body, '@schema@', place);
    if not exists (
      select from pg_proc where pronamespace = place::regnamespace and proname = each.name and prosrc = body
        and prosecdef and proconfig = array['search_path=pg_catalog, pg_temp']
    ) then
      execute 'create or replace function ' || place || '.' || each.name || '() returns ' || each.returns || definer || quote_literal(body);
      execute 'revoke all on function ' || place || '.' || each.name || '() from public';
      steps := steps || ('created function ' || each.name);
    end if;
  end loop;
`;

const FOLLOWED_ARGUMENTS = FOLLOWED_TABLES.map((followed) => `('${followed.table}', '${replicaArguments(followed).join(", ")}')`)
  .join(", ");
const TRIGGERS = FEED_TRIGGERS.map(({ name, enabled }) => {
  const { events, clause } = TRIGGER_CLAUSES[name];
  return `('${name}', '${enabled[0]}', '${events}', '${clause}')`;
}).join(",\n        ");

/** Columns relation, name, enabled (as in pg_trigger), procedure, and definition from `after` on. */
const WANTED_TRIGGERS = `(
      select relation, name, enabled, procedure, format('after %s on %s %s execute function %s.%s(%s)', events, to_regclass(relation),
        clause, place, procedure, case when clause = 'for each row' then arguments end) as definition
      from (values ${FOLLOWED_ARGUMENTS}) as followed (relation, arguments)
      cross join (values
        ${TRIGGERS}
      ) as kinds (name, enabled, events, clause)
      cross join lateral (
        select case when clause = 'for each row' then 'edgeproxy_feed_replica' else 'edgeproxy_feed_' || relation end as procedure
      ) as called
    ) as wanted`;
const FIND_WORK = `
  untriggered := array(
    select distinct to_regclass(relation)::oid from ${WANTED_TRIGGERS}
    where not exists (
      select from pg_trigger where tgrelid = to_regclass(relation) and tgname = name and tgenabled::text = enabled
        and tgfoid = to_regproc(place || '.' || procedure)
    )
  );
  busy := untriggered || array(select to_regclass(relation)::oid from ${WANTED_INDEXES} where ${INDEX_MISSING});
`;

const CREATE_INDEXES = `
  for each in
    select relation, name, 'edgeproxy_' || relation || '_' || name as called from ${WANTED_INDEXES} where ${INDEX_MISSING}
  loop
    execute format('create index %I on %s (%I)', each.called, to_regclass(each.relation), each.name);
    execute 'update ' || place || '.${FEED_TABLE} set indexes = indexes || $1' using (
      select format('%I.%I', nspname, each.called) from pg_class join pg_namespace on pg_namespace.oid = relnamespace
      where pg_class.oid = to_regclass(each.relation)
    );
    steps := steps || format('created index on %s (%s)', each.relation, each.name);
  end loop;
`;

/** DROP TRIGGER takes a stronger lock, so only for one that is there and wrong. */
const CREATE_TRIGGERS = `
  for each in select * from ${WANTED_TRIGGERS} where to_regclass(relation) = any (untriggered) loop
    if exists (
      select from pg_trigger where tgrelid = to_regclass(each.relation) and tgname = each.name
        and tgfoid is distinct from to_regproc(place || '.' || each.procedure)::oid
    ) then
      execute format('drop trigger %I on %s', each.name, to_regclass(each.relation));
    end if;
    if not exists (select from pg_trigger where tgrelid = to_regclass(each.relation) and tgname = each.name) then
      execute format('create trigger %I %s', each.name, each.definition);
    end if;
    execute format('alter table %s enable %s trigger %I', to_regclass(each.relation),
      case each.enabled when 'R' then 'replica' when 'A' then 'always' else '' end, each.name);
  end loop;
  steps := steps || array(
    select case when to_regclass(relation) = any (untriggered) then 'created triggers on ' else 'triggers are there on ' end || relation
    from unnest(array['domains', 'deployments', 'vms', 'regions', '${POLICY_TABLE}']) as relation
  );
`;

/** Who may read the domains; ends in the midst of its condition. */
const READERS = `select distinct case grantee when 0 then 'public' else quote_ident(pg_get_userbyid(grantee)) end as reader
    from (
      select (aclexplode(coalesce(relacl, acldefault('r', relowner)))).* from pg_class where oid = to_regclass('domains')
      union all
      select (aclexplode(attacl)).* from pg_attribute where attrelid = to_regclass('domains') and attname = 'name'
    ) as readers
    where privilege_type = 'SELECT'`;

const GRANT = `
  for each in
    ${READERS} and exists (
      select from pg_class where oid in (to_regclass(place || '.${CHANGES_TABLE}'), to_regclass(place || '.${FEED_TABLE}'))
        and not exists (
          select from aclexplode(coalesce(relacl, acldefault('r', relowner))) as present
          where present.grantee = readers.grantee and present.privilege_type = 'SELECT'
        )
    )
  loop
    execute format('grant select on %s.${CHANGES_TABLE}, %s.${FEED_TABLE} to %s', place, place, each.reader);
    steps := steps || ('granted SELECT on the feed to ' || each.reader);
  end loop;
  for each in
    ${READERS} and new_policies and pg_get_userbyid(grantee) <> current_user
  loop
    execute format('grant select on %s.${POLICY_TABLE} to %s', place, each.reader);
    steps := steps || ('granted SELECT on ${POLICY_TABLE} to ' || each.reader);
  end loop;
`;

/** The functions run as their owner, who had better not be a superuser: behind the type of a column may be code of the table's owner. */
const HAND_OVER = `
  select pg_get_userbyid(relowner) into names from pg_class where oid = to_regclass('domains');
  if (select rolsuper from pg_roles where rolname = current_user) and has_schema_privilege(names, place::regnamespace, 'usage') then
    for each in
      select 'table ' || oid::regclass as called, relowner as owner from pg_class
      where oid in (to_regclass(place || '.${CHANGES_TABLE}'), to_regclass(place || '.${FEED_TABLE}'),
        case when new_policies then to_regclass(place || '.${POLICY_TABLE}') end)
      union all
      select 'function ' || oid::regprocedure, proowner from pg_proc
      where pronamespace = place::regnamespace and starts_with(proname, 'edgeproxy_feed_')
    loop
      continue when pg_get_userbyid(each.owner) = names;
      execute format('alter %s owner to %I', each.called, names);
      steps := steps || format('%s belongs to %s now, as domains does', each.called, names);
    end loop;
  end if;
`;

/** Rows of a restored dump, from a server whose transactions had higher numbers, would never be pruned. */
const TIDY = `
  if (select pg_has_role(relowner, 'usage') from pg_class where oid = to_regclass(place || '.${CHANGES_TABLE}')) then
    execute 'delete from ' || place || '.${CHANGES_TABLE} where txid >= txid_snapshot_xmax(txid_current_snapshot())';
    execute 'select ' || place || '.edgeproxy_feed_prune()';
  end if;
`;
