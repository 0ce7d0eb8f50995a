/*  Rows of the platform's tables become routes.
 *
 *    row in our region      ->  vm endpoint      http://{private_ip}:{port}
 *    row in another region  ->  region endpoint  http://{public_ipv4}:{region port}, one per address and host
 *
 *  Rows arrive in any order, and two spellings of one domain (`App.example.com`, `app.example.com.`) are one host, so rows
 *  are grouped in a map and endpoints of a host are put in a fixed order: a table that did not change compiles to the same
 *  records. Endpoints are shared between hosts; a million domains on a thousand VMs hold a thousand endpoints.
 *  A row that cannot be used is skipped and reported: one customer's typo must not stop everybody's refresh.
 */
import { isIP } from "node:net";
import { normaliseDomain } from "./host-name.ts";
import { endpointKey, type EndpointKind, type EndpointRecord, type RouteRecord } from "./record.ts";

/** One row as the database says it, everything as text. */
export interface RouteRow {
  readonly name: string | null;
  readonly privateIp: string | null;
  readonly port: string | null;
  readonly regionId: string | null;
  readonly publicIpv4: string | null;
}

/** A row that was skipped. */
export interface BadRow {
  readonly domain: string;
  readonly reason: string;
}

export interface CompiledRoutes {
  readonly routes: readonly RouteRecord[];
  /** The first of them; `badRowCount` counts all. */
  readonly badRows: readonly BadRow[];
  readonly badRowCount: number;
}

/** Where this proxy runs. */
export interface Here {
  /** Lower case. */
  readonly regionId: string;
  /** Port of the other regions' load balancers. */
  readonly regionPort: number;
}

/** Enough to act on; a broken import must not fill memory and log. */
const MOST_BAD_ROWS = 1000;

/** Takes rows one by one, so that a source need not hold them all. */
export class RouteCompiler {
  readonly #here: Here;
  readonly #hosts = new Map<string, EndpointRecord[]>();
  readonly #endpoints = new Map<string, EndpointRecord>();
  readonly #badRows: BadRow[] = [];
  #badRowCount = 0;

  constructor(here: Here) {
    this.#here = here;
  }

  add(row: RouteRow): void {
    const host = row.name === null ? null : normaliseDomain(row.name);
    if (host === null) return this.#refuse(row, row.name === null ? "has no name" : "is not a host name");
    const endpoint = this.#endpoint(row);
    if (typeof endpoint === "string") return this.#refuse(row, endpoint);
    const endpoints = this.#hosts.get(host);
    if (endpoints === undefined) this.#hosts.set(host, [endpoint]);
    else if (!endpoints.some((other) => other.key === endpoint.key)) endpoints.push(endpoint);
  }

  finish(): CompiledRoutes {
    const routes: RouteRecord[] = [];
    for (const [host, endpoints] of this.#hosts) {
      if (endpoints.length > 1) endpoints.sort(inFixedOrder);
      routes.push({ host, endpoints });
    }
    return { routes, badRows: this.#badRows, badRowCount: this.#badRowCount };
  }

  /** The reason when there is none. */
  #endpoint(row: RouteRow): EndpointRecord | string {
    const region = row.regionId?.toLowerCase() ?? "";
    if (region === "") return "its VM has no region";
    if (region !== this.#here.regionId) {
      const address = parseAddress(row.publicIpv4);
      if (address === null) return unusable(`its region ${region} is not ours and`, "public address", row.publicIpv4);
      return this.#shared("region", address, this.#here.regionPort, region);
    }
    const address = parseAddress(row.privateIp);
    if (address === null) return unusable("its VM", "private address", row.privateIp);
    const port = parsePort(row.port);
    if (port === null) return unusable("its VM", "port", row.port);
    return this.#shared("vm", address, port, region);
  }

  #shared(kind: EndpointKind, address: string, port: number, region: string): EndpointRecord {
    const key = endpointKey(kind, address, port);
    const identity = kind === "vm" ? key : `${key} ${region}`;
    let endpoint = this.#endpoints.get(identity);
    if (endpoint === undefined) {
      endpoint = { key, kind, address, port, region };
      this.#endpoints.set(identity, endpoint);
    }
    return endpoint;
  }

  #refuse(row: RouteRow, reason: string): void {
    this.#badRowCount++;
    if (this.#badRows.length < MOST_BAD_ROWS) this.#badRows.push({ domain: row.name ?? "", reason });
  }
}

export function compileRows(rows: Iterable<RouteRow>, here: Here): CompiledRoutes {
  const compiler = new RouteCompiler(here);
  for (const row of rows) compiler.add(row);
  return compiler.finish();
}

/** By region, then address and port; plain comparison, the same on every machine. */
function inFixedOrder(a: EndpointRecord, b: EndpointRecord): number {
  if (a.region !== b.region) return a.region < b.region ? -1 : 1;
  return a.key < b.key ? -1 : a.key > b.key ? 1 : 0;
}

function unusable(whose: string, what: string, value: string | null): string {
  return value === null || value.trim() === "" ? `${whose} has no ${what}` : `${whose} has an unusable ${what} "${value}"`;
}

/** `10.0.0.5`, or `10.0.0.5/32` as `inet` reads when cast to text. */
function parseAddress(text: string | null): string | null {
  if (text === null) return null;
  const slash = text.indexOf("/");
  const address = (slash < 0 ? text : text.slice(0, slash)).trim().toLowerCase();
  return isIP(address) !== 0 && !address.includes("%") ? address : null;
}

function parsePort(text: string | null): number | null {
  const port = text !== null && /^\d{1,5}$/.test(text.trim()) ? Number(text) : 0;
  return port >= 1 && port <= 65_535 ? port : null;
}
