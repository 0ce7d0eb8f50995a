/** The platform's tables as contract section 4 names them, for databases that do not have them yet. */

export type AddressType = "inet" | "text";

/** The table behind `create table NAME`, in an order in which references find what they refer to. */
export function tableDefinitions(addresses: AddressType): readonly (readonly [table: string, definition: string])[] {
  return [
    [
      "regions",
      `(
      id uuid primary key default gen_random_uuid(),
      public_ipv4 ${addresses}
    )`,
    ],
    [
      "vms",
      `(
      id uuid primary key default gen_random_uuid(),
      private_ip ${addresses},
      port integer,
      region_id uuid not null references regions (id),
      status text not null
    )`,
    ],
    [
      "deployments",
      `(
      id uuid primary key default gen_random_uuid(),
      vm_id uuid not null references vms (id),
      status text not null
    )`,
    ],
    [
      "domains",
      `(
      id uuid primary key default gen_random_uuid(),
      name text not null,
      deployment_id uuid not null references deployments (id),
      verified_at timestamptz
    )`,
    ],
  ];
}

/** What may be said of a domain beyond its VMs: `policy-table` reads it. */
export const POLICY_TABLE_DEFINITION = `(
      domain text primary key,
      policy jsonb not null
    )`;

/** By which we know it as ours; quoted. */
export const POLICY_COMMENT =
  "'What edgeproxy is to do with requests of a domain beyond leading them to its VMs; made by edgeproxy migrate.'";

/** Statements that create the four tables in the current schema. */
export function createTables(addresses: AddressType): string {
  return tableDefinitions(addresses).map(([table, definition]) => `create table ${table} ${definition};`).join("\n");
}
