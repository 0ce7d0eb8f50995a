/** Written services and routes become records: references followed, shares counted, names made; what cannot be is a problem. */
import { readFileSync, statSync } from "node:fs";
import { isIP } from "node:net";
import { endpointKey } from "../table/record.ts";
import { ownCookie, serviceKey } from "../table/policies.ts";
import {
  type FieldEdits,
  OWN_VMS,
  type PolicyRoute,
  type RouteMatch,
  type ServiceEndpoint,
  type ServicePolicy,
  type ServiceRecord,
  type SplitTarget,
  type TlsPolicy,
} from "../table/policy.ts";
import { nearestOf } from "./nearest-name.ts";
import type { PolicyProblems } from "./policy-problems.ts";
import type { WrittenTreatment } from "./policy-schema-routes.ts";
import type { WrittenService } from "./policy-schema-services.ts";
import type { EndpointAddress } from "./policy-values.ts";
import type { ValuePath } from "./placed-value.ts";

/** What a policy is read with. */
export interface PolicySurroundings {
  /** Our own: that of endpoints which name none. */
  readonly regionId: string;
  /** For `tls.caFile`; throws. Absent: the machine's files. */
  readonly readFile?: (path: string) => string;
  /** On which this proxy listens: no endpoint that a row may name. */
  readonly ownPorts?: readonly number[];
}

/** The full name of a service that a route may lead to; null: there is none of that name. */
export interface ServiceNames {
  full(name: string): string | null;
  /** For "did you mean". */
  readonly all: readonly string[];
}

const TIMEOUTS_OF_SETTINGS = { connectMs: null, responseMs: null, idleMs: null };
const NO_EDITS: FieldEdits = { set: [], add: [], remove: [] };
/** Shares of a split together: steps of 0.01 %. */
const WHOLE_SHARE = 10_000;

export function serviceRecord(
  name: string,
  written: WrittenService,
  path: ValuePath,
  { regionId, readFile = readText }: PolicySurroundings,
  names: ServiceNames,
  problems: PolicyProblems,
): ServiceRecord {
  const known = new Map<string, number>();
  const endpoints = written.endpoints.map(({ url, weight, region = regionId }, index): ServiceEndpoint => {
    const kind = region === regionId ? "vm" : "region";
    const key = serviceKey(endpointKey(kind, url.address, url.port), name);
    const first = known.get(key);
    if (first !== undefined) problems.add([...path, "endpoints", index], `is the same endpoint as endpoints[${first}]`);
    else known.set(key, index);
    return { ...namedAddress(url), key, kind, port: url.port, region, service: name, weight };
  });
  const tls = tlsPolicy(written.tls, path, tlsWanted(written, path, problems), readFile, problems);
  const maintenance = written.maintenance === undefined ? null : { ...written.maintenance };
  if (maintenance !== null) {
    maintenance.service = reference(maintenance.service, [...path, "maintenance", "service"], names, problems);
    if (maintenance.service === name) problems.add([...path, "maintenance", "service"], "must be another service");
  }
  return {
    name,
    endpoints,
    policy: {
      ...endpointPolicy(name, written),
      timeouts: written.timeouts ?? TIMEOUTS_OF_SETTINGS,
      tls,
      maintenance,
      drain: written.drain ?? null,
    },
  };
}

/** The part that can also be said of a domain's own VMs. */
export function endpointPolicy(
  name: string,
  written: Omit<WrittenService, "endpoints" | "timeouts" | "tls" | "maintenance" | "drain">,
): ServicePolicy {
  return {
    balance: written.balance,
    hashKey: written.hashKey,
    sticky: written.sticky === undefined ? null : { ...written.sticky, cookie: written.sticky.cookie ?? ownCookie(name) },
    health: written.health ?? null,
    ejection: written.ejection ?? null,
    retry: written.retry ?? null,
    breaker: written.breaker ?? null,
    limits: written.limits ?? null,
    timeouts: TIMEOUTS_OF_SETTINGS,
    tls: null,
    maintenance: null,
    drain: null,
  };
}

const MOST_CA_BYTES = 1_048_576;

/** A device or a pipe would keep us for ever. */
function readText(path: string): string {
  const found = statSync(path);
  if (!found.isFile() || found.size > MOST_CA_BYTES) throw new Error("is no file of at most 1 MiB");
  return readFileSync(path, "utf8");
}

/** The name stays with the endpoint, also when it has been resolved: certificates are for names. */
export function namedAddress({ address }: EndpointAddress): { readonly address: string; readonly name?: string } {
  return isIP(address) === 0 ? { address, name: address } : { address };
}

function tlsWanted({ endpoints }: WrittenService, path: ValuePath, problems: PolicyProblems): boolean {
  const secure = endpoints[0]?.url.secure === true;
  const other = endpoints.findIndex(({ url }) => url.secure !== secure);
  if (other >= 0) problems.add([...path, "endpoints", other, "url"], "http:// and https:// cannot be mixed in one service");
  return secure;
}

export const USUAL_TLS: TlsPolicy = { verify: true, serverName: null, ca: null };

/** Of no effect while no endpoint is spoken to with TLS: then its file need not be there. null: no TLS. */
function tlsPolicy(
  written: WrittenService["tls"],
  path: ValuePath,
  used: boolean,
  readFile: (path: string) => string,
  problems: PolicyProblems,
): TlsPolicy | null {
  if (!used) {
    if (written !== undefined) problems.note([...path, "tls"], "has no effect: no endpoint begins with https://");
    return null;
  }
  if (written === undefined) return USUAL_TLS;
  let ca: string | null = null;
  if (written.caFile !== undefined) {
    try {
      ca = readFile(written.caFile);
      if (!ca.includes("-----BEGIN CERTIFICATE-----")) problems.add([...path, "tls", "caFile"], "holds no certificate (PEM)");
    } catch (error) {
      problems.add([...path, "tls", "caFile"], `cannot be read: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  return { verify: written.verify, serverName: written.serverName ?? null, ca };
}

/** What a route is and where it applies. */
export interface RouteFrame {
  readonly id: string;
  readonly origin: string;
  readonly hosts: readonly string[];
  readonly match: RouteMatch;
  readonly priority: number;
  /** Where it leads when it does not say; null: it has to. */
  readonly ownTarget: string | null;
}

export function routeRecord(
  frame: RouteFrame,
  written: WrittenTreatment,
  path: ValuePath,
  names: ServiceNames,
  problems: PolicyProblems,
): PolicyRoute {
  const { ownTarget, ...identity } = frame;
  const split = splitOf(written, ownTarget, path, names, problems);
  const maintenance = written.maintenance === undefined ? null : { ...written.maintenance };
  if (maintenance !== null) {
    maintenance.service = reference(maintenance.service, [...path, "maintenance", "service"], names, problems);
  }
  if (written.splitKey !== undefined && written.split === undefined && written.drain === undefined) {
    problems.note([...path, "splitKey"], "has no effect without a split, but while the route drains");
  }
  return {
    ...identity,
    split,
    splitKey: written.splitKey ?? null,
    redirect: written.redirect ?? null,
    respond: written.respond ?? null,
    rewrite: rewriteOf(written, frame.match),
    requestFields: written.headers?.request ?? NO_EDITS,
    responseFields: written.headers?.response ?? NO_EDITS,
    rateLimit: written.rateLimit ?? null,
    maxBodyBytes: written.maxBodySize ?? null,
    timeouts: written.timeouts ?? TIMEOUTS_OF_SETTINGS,
    maintenance,
    drain: written.drain ?? null,
    errors: written.errors ?? [],
  };
}

/** `replacePrefix` alone replaces what the route matches by. */
function rewriteOf({ rewrite }: WrittenTreatment, { path }: RouteMatch): PolicyRoute["rewrite"] {
  if (rewrite === undefined) return null;
  if (rewrite.replacePrefix === null || rewrite.stripPrefix !== null) return rewrite;
  return { ...rewrite, stripPrefix: path.value === "/" ? "" : path.value };
}

const TARGETS = ["service", "split", "redirect", "respond"] as const;

function splitOf(
  written: WrittenTreatment,
  ownTarget: string | null,
  path: ValuePath,
  names: ServiceNames,
  problems: PolicyProblems,
): readonly SplitTarget[] {
  const said = TARGETS.filter((key) => written[key] !== undefined);
  if (said.length > 1) {
    problems.add([...path, said[1]!], `a route leads to one of ${TARGETS.join(", ")}, and this one has ${said[0]} already`);
  }
  // Maintenance alone is an answer, as long as it is in force.
  if (said.length === 0 && ownTarget === null && written.maintenance?.enabled !== true) {
    problems.add(path, `leads nowhere: it needs one of ${TARGETS.join(", ")}`);
  }
  if (written.split !== undefined) return sharesOf(written.split, [...path, "split"], names, problems);
  if (written.service !== undefined) {
    return [{ service: reference(written.service, [...path, "service"], names, problems), share: WHOLE_SHARE }];
  }
  return said.length === 0 && ownTarget !== null ? [{ service: ownTarget, share: WHOLE_SHARE }] : [];
}

function sharesOf(
  written: NonNullable<WrittenTreatment["split"]>,
  path: ValuePath,
  names: ServiceNames,
  problems: PolicyProblems,
): readonly SplitTarget[] {
  const shares = largestRemainder(written.map(({ weight }) => weight), WHOLE_SHARE);
  if (shares === null) problems.add(path, "has no weight above 0");
  const seen = new Set<string>();
  return written.map(({ service, weight }, index) => {
    if (seen.has(service)) problems.add([...path, index, "service"], `${service} is in this split already`);
    seen.add(service);
    const share = shares?.[index] ?? 0;
    if (share === 0 && weight > 0) problems.note([...path, index, "weight"], "is less than 0.01 % of all: nothing goes there");
    return { service: reference(service, [...path, index, "service"], names, problems), share };
  });
}

/** Whole shares of `total` in proportion to the weights: what rounding down leaves over goes to the largest remainders. */
export function largestRemainder(weights: readonly number[], total: number): number[] | null {
  const sum = weights.reduce((all, weight) => all + weight, 0);
  if (sum <= 0) return null;
  const exact = weights.map((weight) => weight / sum * total);
  const shares = exact.map(Math.floor);
  const left = total - shares.reduce((all, share) => all + share, 0);
  const order = exact.map((value, index) => ({ index, rest: value - Math.floor(value) })).sort((a, b) =>
    b.rest - a.rest || a.index - b.index
  );
  for (const { index } of order.slice(0, left)) shares[index]!++;
  return shares;
}

/** The full name of a service; one that there is not is a problem. */
export function reference<Name extends string | null>(
  name: Name,
  path: ValuePath,
  names: ServiceNames,
  problems: PolicyProblems,
): Name {
  if (name === null || name === OWN_VMS) return name;
  const full = names.full(name);
  if (full !== null) return full as Name;
  const nearest = nearestOf(name, names.all);
  problems.add(path, `there is no service ${JSON.stringify(name)}${nearest === null ? "" : `, did you mean ${nearest}?`}`);
  return name;
}
