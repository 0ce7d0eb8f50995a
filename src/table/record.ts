/** What a source of routes gives: validated rows, grouped into one record per host. Plain JSON, so that it can cross processes. */

/** An endpoint is a VM of this region (probed, spoken to directly) or another region's edge (never probed). */
export type EndpointKind = "vm" | "region";

/** One address that serves a route. */
export interface EndpointRecord {
  /** Identity over table changes: `vm/10.0.0.5:8080` or `region/203.0.113.7:80`. */
  readonly key: string;
  readonly kind: EndpointKind;
  /** IPv4 or IPv6 literal without brackets. */
  readonly address: string;
  /** The host name that this is an address of, as somebody has written it. */
  readonly name?: string;
  /** 1 to 65535. */
  readonly port: number;
  /** Lower-case UUID of the region where the VMs behind this endpoint run. */
  readonly region: string;
}

/** One host with all endpoints that serve it, in a stable order; never empty. */
export interface RouteRecord {
  /** Normalised: `app.example.com` or `*.example.com`. */
  readonly host: string;
  readonly endpoints: readonly EndpointRecord[];
}

export function endpointKey(kind: EndpointKind, address: string, port: number): string {
  return `${kind}/${address.includes(":") ? `[${address}]` : address}:${port}`;
}
