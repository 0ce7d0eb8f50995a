/** The rows of the demo. */
import { POLICY_TABLE } from "../sources/change-feed.ts";
import { POLICY_TABLE_DEFINITION } from "../sources/platform-tables.ts";

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

/** Statements that say more of a domain than its VMs. */
export function insertPolicy(domain: string, policy: object): string {
  const table = `create table ${POLICY_TABLE} ${POLICY_TABLE_DEFINITION};`;
  return `${table}\ninsert into ${POLICY_TABLE} (domain, policy) values (${literal(domain)}, ${literal(JSON.stringify(policy))});`;
}

function literal(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}
