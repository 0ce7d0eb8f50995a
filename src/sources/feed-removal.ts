/** The SQL of `edgeproxy migrate --remove`: takes the change feed out of a database, and nothing else. */
import { CHANGES_TABLE, FEED_TABLE, POLICY_TABLE } from "./change-feed.ts";
import { POLICY_COMMENT } from "./platform-tables.ts";
import { feedScript, FIND_PLACE, lockTables } from "./feed-script.ts";

export function removeScript(): string {
  return feedScript({
    name: "remove",
    purpose: "Takes the change feed of edgeproxy out of the database; tables of the platform stay as they are",
    variables: ["made text[] := '{}'; -- indexes that came with the feed", "unused boolean; -- the table of policies"],
    steps: [FIND_PLACE, FIND_TRIGGERS, lockTables("access exclusive"), REMOVE],
  });
}

const OUR_TRIGGERS = `pg_trigger join pg_proc on pg_proc.oid = tgfoid
    where pronamespace = place::regnamespace and starts_with(proname, 'edgeproxy_feed_')`;

const FIND_TRIGGERS = `
  if to_regclass(place || '.${FEED_TABLE}') is not null then
    execute 'select indexes from ' || place || '.${FEED_TABLE}' into made;
  end if;
  busy := array(
    select distinct tgrelid from ${OUR_TRIGGERS}
    union select indrelid from pg_index join unnest(made) as called on indexrelid = to_regclass(called)
  );
`;

const REMOVE = `
  for each in select tgrelid::regclass::text as relation, tgname from ${OUR_TRIGGERS} loop
    execute format('drop trigger %I on %s', each.tgname, each.relation);
  end loop;
  steps := steps || array(select 'removed triggers on ' || relation::regclass::text from unnest(busy) as relation order by 1);
  for each in select called from unnest(made) as called where to_regclass(called) is not null loop
    execute 'drop index ' || each.called;
    steps := steps || ('removed index ' || each.called);
  end loop;
  for each in
    select oid::regprocedure::text as called from pg_proc where pronamespace = place::regnamespace and starts_with(proname, 'edgeproxy_feed_')
  loop
    execute 'drop function ' || each.called;
    steps := steps || ('removed function ' || each.called);
  end loop;
  if to_regclass('${POLICY_TABLE}') = any (busy) and obj_description(to_regclass('${POLICY_TABLE}')) = ${POLICY_COMMENT} then
    execute 'select not exists (select from ${POLICY_TABLE})' into unused; -- ours, unless somebody has written to it
    if unused then
      drop table ${POLICY_TABLE};
      steps := steps || 'removed table ${POLICY_TABLE}'::text;
    end if;
  end if;
  for each in select unnest(array['${CHANGES_TABLE}', '${FEED_TABLE}']) as called loop
    if to_regclass(place || '.' || each.called) is not null then
      execute 'drop table ' || place || '.' || each.called;
      steps := steps || ('removed table ' || each.called);
    end if;
  end loop;
  if cardinality(steps) = 0 then
    steps := array['there is no feed in schema ' || place];
  end if;
`;
