/*  The SQL of the platform's tables. Casts to text make `inet` and `text`, `integer` and `smallint` columns look the same, and leave
 *  judging to `compile`. Rows are told apart by the names of their columns, since several statements travel in one message.
 */
import type { DatabaseRow } from "./database-client.ts";
import { type Block, BREAK } from "./route-reading.ts";
import type { RegionRow } from "./source.ts";

/**
 * Routes as blocks, one per VM: with a million domains on 250 VMs the server needs half the time of the plain rows, and we a tenth.
 * A VM whose region has no row is still ours if the id is, hence the outer join. Column `block`.
 */
export function blocksWhere(condition: string): string {
  return `select blocks.names as block, blocks.nameless, vms.private_ip::text as private_ip, vms.port::text as port,
      vms.region_id::text as region_id, regions.public_ipv4::text as public_ipv4
    from (
      select deployments.vm_id, string_agg(${NAME}, E'\\n') as names, count(*) - count(domains.name) as nameless
      from domains join deployments on deployments.id = domains.deployment_id
      where domains.verified_at is not null and deployments.status = 'ready' and ${condition}
      group by deployments.vm_id
    ) as blocks
    join vms on vms.id = blocks.vm_id
    left join regions on regions.id = vms.region_id
    where vms.status = 'running'`;
}

/** A name that holds what ends names in a block must not pass for two: with a slash instead it is no host name. */
const NAME = "replace(domains.name::text, E'\\n', '/')";

/** Column `region`. */
export const REGIONS_QUERY = "select id::text as region, public_ipv4::text as public_ipv4 from regions order by id";

/** The names, the first to be verified first; spellings that the column's type takes for one (`citext`) are several. Column `claimant`. */
export function claimsQuery(names: readonly string[]): string {
  return `select domains.name::text collate "C" as claimant from domains where ${isAmong(names)} and domains.verified_at is not null
    group by domains.name::text collate "C" order by min(domains.verified_at), domains.name::text collate "C"`;
}

/** A condition on domains. */
export function isAmong(names: readonly string[]): string {
  return names.length === 0 ? "false" : `domains.name in (${names.map(literal).join(", ")})`;
}

/** Whatever standard_conforming_strings says. */
export function literal(text: string): string {
  return `E'${text.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`;
}

export function blockOf(row: DatabaseRow): Block {
  const vm = {
    privateIp: text(row["private_ip"]),
    port: text(row["port"]),
    regionId: text(row["region_id"]),
    publicIpv4: text(row["public_ipv4"]),
  };
  return { vm, names: text(row["block"]), nameless: Number(row["nameless"]) };
}

export function regionOf(row: DatabaseRow): RegionRow {
  return { id: String(row["region"]).toLowerCase(), publicIpv4: text(row["public_ipv4"])?.split("/")[0] ?? null };
}

/** As blocks spell it. */
export function blockName(name: string): string {
  return name.includes(BREAK) ? name.replaceAll(BREAK, "/") : name;
}

function text(value: unknown): string | null {
  return typeof value === "string" ? value : null;
}
