/** The platform's tables as contract section 4 names them: the least an edgeproxy database has. */

/** Statements that create the four tables in the current schema; addresses may be either type. */
export function createTables(addressType: "inet" | "text"): string {
  return `
    create table regions (
      id uuid primary key default gen_random_uuid(),
      public_ipv4 ${addressType}
    );
    create table vms (
      id uuid primary key default gen_random_uuid(),
      private_ip ${addressType},
      port integer,
      region_id uuid not null references regions (id),
      status text not null
    );
    create table deployments (
      id uuid primary key default gen_random_uuid(),
      vm_id uuid not null references vms (id),
      status text not null
    );
    create table domains (
      id uuid primary key default gen_random_uuid(),
      name text not null,
      deployment_id uuid not null references deployments (id),
      verified_at timestamptz
    );`;
}
