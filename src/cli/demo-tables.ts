/** The platform's tables as contract section 4 names them, and the rows of the demo. */

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

export interface SampleRegion {
  readonly id: string;
  readonly publicIpv4: string;
}

/** A domain and the VM behind it; two of one domain are two endpoints of one route. */
export interface SampleRoute {
  readonly domain: string;
  readonly privateIp: string;
  readonly port: number;
  readonly region: string;
}

/** Statements that insert the regions, and for each route a running VM, a ready deployment and a verified domain. */
export function insertSample(regions: readonly SampleRegion[], routes: readonly SampleRoute[]): string {
  const statements = regions.map(({ id, publicIpv4 }) => {
    return `insert into regions (id, public_ipv4) values (${literal(id)}, ${literal(publicIpv4)});`;
  });
  for (const route of routes) {
    statements.push(`
      with vm as (
        insert into vms (private_ip, port, region_id, status)
        values (${literal(route.privateIp)}, ${route.port}, ${literal(route.region)}, 'running') returning id
      ), deployment as (
        insert into deployments (vm_id, status) select id, 'ready' from vm returning id
      )
      insert into domains (name, deployment_id, verified_at) select ${literal(route.domain)}, id, now() from deployment;`);
  }
  return statements.join("\n");
}

function literal(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}
