/*  Routes from the platform's tables (contract, section 4), read whole in one transaction and one round trip.
 *
 *  Poolers in transaction mode keep one transaction on one server connection, but nothing between transactions: therefore
 *  `set local`, and no prepared statement. `repeatable read`: routes and regions are of one moment. `read only`: an account
 *  that could write by mistake does not, and hot standbys are content.
 *  Casts to text make `inet` and `text`, `integer` and `smallint` columns look the same, and leave judging to `compile`.
 *  Two limits: the server ends a statement after `statementTimeoutMs`; we give up after `readTimeoutMs`, because a network that
 *  swallows packets says nothing. Both are generous for a million rows and short enough for an outage to be noticed.
 */
import { type Here, RouteCompiler, type RouteRow } from "../table/compile.ts";
import { ConnectionLost, type DatabaseClient, type DatabaseRow, openDatabase } from "./database-client.ts";
import { Routes, RoutesDraft } from "../table/routes.ts";
import { Services } from "../table/services.ts";
import { type DatabaseTarget, parseDatabaseUrl } from "./database-url.ts";
import type { Exclusion, Following, RegionRow, Source, SourceReading } from "./source.ts";

const STATEMENT_TIMEOUT_MS = 15_000;
const READ_TIMEOUT_MS = 30_000;

/** A VM whose region has no row is still ours if the id is, hence the one outer join. */
const ROUTES_QUERY = `
  select domains.name::text as name, vms.private_ip::text as private_ip, vms.port::text as port,
    vms.region_id::text as region_id, regions.public_ipv4::text as public_ipv4
  from domains
  join deployments on deployments.id = domains.deployment_id
  join vms on vms.id = deployments.vm_id
  left join regions on regions.id = vms.region_id
  where domains.verified_at is not null and deployments.status = 'ready' and vms.status = 'running'
  order by domains.name, vms.region_id, vms.private_ip, vms.port`;
const REGIONS_QUERY = "select id::text as region, public_ipv4::text as public_ipv4 from regions order by id";

export interface PostgresOptions {
  /** A URL that `parseDatabaseUrl` accepts. */
  readonly url: string;
  readonly here: Here;
  readonly statementTimeoutMs?: number;
  readonly readTimeoutMs?: number;
}

export class PostgresSource implements Source {
  readonly name = "postgres";
  readonly following: Following = "tables";
  readonly server: string | null = null;
  readonly pollMs: number | null = null;
  readonly compare = null;
  onChange: () => void = () => {};
  readonly #services: Services = new Services();
  readonly #target: DatabaseTarget;
  readonly #here: Here;
  readonly #query: string;
  readonly #readTimeoutMs: number;
  readonly #closing = new AbortController();
  #client: DatabaseClient | null = null;
  #routes: Routes = Routes.none;

  constructor(options: PostgresOptions) {
    const target = parseDatabaseUrl(options.url);
    if ("problem" in target) throw new Error(`Cannot use the database URL: it ${target.problem}`);
    this.#target = target;
    this.#here = options.here;
    this.#query = transaction(options.statementTimeoutMs ?? STATEMENT_TIMEOUT_MS);
    this.#readTimeoutMs = options.readTimeoutMs ?? READ_TIMEOUT_MS;
  }

  async read(_how: { readonly whole: boolean }, signal: AbortSignal): Promise<SourceReading> {
    const timeout = new AbortController();
    const expire = () => timeout.abort(new Error(`No answer from the database within ${this.#readTimeoutMs} ms`));
    const timer = setTimeout(expire, this.#readTimeoutMs);
    try {
      return await this.#read(AbortSignal.any([signal, this.#closing.signal, timeout.signal]));
    } finally {
      clearTimeout(timer);
    }
  }

  async close(): Promise<void> {
    this.#closing.abort(new Error("The source is closed"));
    await this.#client?.close();
  }

  /** Pools and firewalls end idle sessions as they like: that is no outage, so an old session may fail once. */
  async #read(signal: AbortSignal): Promise<SourceReading> {
    if (this.#client !== null && !this.#client.closed) {
      try {
        return await this.#readFrom(this.#client, signal);
      } catch (error) {
        if (!(error instanceof ConnectionLost)) throw error;
      }
    }
    this.#client = await openDatabase(this.#target, signal);
    return await this.#readFrom(this.#client, signal);
  }

  /** A failure closes the client. */
  async #readFrom(client: DatabaseClient, signal: AbortSignal): Promise<SourceReading> {
    const compiler = new RouteCompiler(this.#here);
    const regions: RegionRow[] = [];
    await client.query(this.#query, (row) => {
      if ("region" in row) regions.push({ id: String(row["region"]).toLowerCase(), publicIpv4: address(row) });
      else compiler.add(routeRow(row));
    }, signal);
    const { routes, badRows, badRowCount } = compiler.finish();
    const draft = new RoutesDraft();
    for (const { host, endpoints } of routes) draft.put(host, this.#services.of(endpoints));
    this.#routes = draft.finish(this.#routes);
    const excluded = badRows.map(({ domain, reason }): Exclusion => ({ domain, host: null, code: "bad_row", reason }));
    return { routes: this.#routes, excluded, excludedCount: badRowCount, regions, whole: true };
  }
}

function transaction(statementTimeoutMs: number): string {
  return [
    "begin isolation level repeatable read read only",
    `set local statement_timeout = ${statementTimeoutMs}`,
    ROUTES_QUERY,
    REGIONS_QUERY,
    "commit",
  ].join(";\n");
}

function routeRow(row: DatabaseRow): RouteRow {
  return {
    name: text(row["name"]),
    privateIp: text(row["private_ip"]),
    port: text(row["port"]),
    regionId: text(row["region_id"]),
    publicIpv4: text(row["public_ipv4"]),
  };
}

function address(row: DatabaseRow): string | null {
  return text(row["public_ipv4"])?.split("/")[0] ?? null;
}

function text(value: unknown): string | null {
  return typeof value === "string" ? value : null;
}
