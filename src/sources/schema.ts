/** The platform's tables as the proxy needs them (contract, section 4), and what a database has of them. */
import type { DatabaseClient } from "./database-client.ts";

/** Only columns that are read; the platform's tables have more. */
export const TABLES: Readonly<Record<string, readonly string[]>> = {
  regions: ["id", "public_ipv4"],
  vms: ["id", "private_ip", "port", "region_id", "status"],
  deployments: ["id", "vm_id", "status"],
  domains: ["name", "deployment_id", "verified_at"],
};

/** Empty lists: the table is as it should be. */
export interface TableFinding {
  readonly table: string;
  /** Found on the search path, in a schema that the user may use. */
  readonly exists: boolean;
  readonly missingColumns: readonly string[];
  /** Columns without SELECT for this user. */
  readonly unreadableColumns: readonly string[];
}

/** Names come from TABLES, so quoting is no question. Views count as tables. */
const EXPECTED = Object.entries(TABLES).flatMap(([table, columns]) => columns.map((column) => `('${table}', '${column}')`)).join(
  ", ",
);

const COLUMNS_QUERY = `
  select expected.relation as relation, expected.name as name, to_regclass(expected.relation) is not null as relation_exists,
    present.attname is not null as column_exists,
    coalesce(has_column_privilege(to_regclass(expected.relation), present.attnum, 'select'), false) as readable
  from (values ${EXPECTED}) as expected (relation, name)
  left join pg_catalog.pg_attribute as present
    on present.attrelid = to_regclass(expected.relation) and present.attname = expected.name
      and present.attnum > 0 and not present.attisdropped`;

export async function inspectTables(client: DatabaseClient, signal: AbortSignal): Promise<TableFinding[]> {
  const findings = new Map(
    Object.keys(TABLES).map((table) => [table, { exists: false, missing: [] as string[], unreadable: [] as string[] }]),
  );
  await client.query(COLUMNS_QUERY, (row) => {
    const finding = findings.get(String(row["relation"]));
    if (finding === undefined) return;
    finding.exists = row["relation_exists"] === true;
    if (row["column_exists"] !== true) finding.missing.push(String(row["name"]));
    else if (row["readable"] !== true) finding.unreadable.push(String(row["name"]));
  }, signal);
  return [...findings].map(([table, { exists, missing, unreadable }]) => ({
    table,
    exists,
    missingColumns: missing,
    unreadableColumns: unreadable,
  }));
}
