/*  The control plane of policies: what the routes file and the domains say, in force in every worker.
 *
 *    routes file ----------.
 *                           >--> names of endpoints resolved --> in force: revision by revision, to the workers (`PoliciesInForce`)
 *    policies of domains --'          ^--- every 30 s
 */
import { isDeepStrictEqual } from "node:util";
import type { EventLog } from "../observation/event-log.ts";
import type { Log } from "../observation/log.ts";
import type { Timers } from "../runtime/timers.ts";
import { ConfigFile, type FirstFile } from "../sources/config-file.ts";
import type { GoodFile } from "../sources/file-reading.ts";
import type { LastGoodPolicies } from "../sources/last-good-policies.ts";
import { LAST_GOOD } from "../sources/first-table.ts";
import type { PolicyRows, PolicyTable } from "../sources/policy-table.ts";
import type { DomainPolicies, ReadPolicies } from "../sources/refresh.ts";
import type { PolicyStatus } from "../sources/policy-status.ts";
import { hostChanges, HostMap } from "../table/host-map.ts";
import type { Policies } from "../table/policies.ts";
import { type DomainPolicy, type FilePolicies, NO_FILE, type ServiceRecord } from "../table/policy.ts";
import { EndpointNames, namesOf } from "./endpoint-names.ts";
import { PoliciesInForce } from "./policies-in-force.ts";
import type { PolicySnapshot } from "./policy-transfer.ts";
import { ownPorts, type Settings } from "./settings.ts";

export interface PolicyPlaneOptions {
  readonly settings: Pick<Settings, "configFile" | "databaseUrl" | "regionId" | "httpAddr" | "adminAddr">;
  /** As it was at the start; null: there is none. */
  readonly file: FirstFile | null;
  /** null: none is kept. */
  readonly lastGood: LastGoodPolicies | null;
  /** The one that the source fills: so what was in force before this process stays where the database's cannot be read. */
  readonly table: PolicyTable;
  readonly log: Log;
  readonly events: EventLog;
  readonly timers: Timers;
  /** All addresses of a name; rejects when it has none. */
  readonly lookup: (name: string) => Promise<readonly string[]>;
  /** There is a new revision. */
  changed(after: Policies): void;
  /** Resolves when a revision is in force in every worker that answers. */
  applied(revision: number): Promise<unknown>;
}

const NONE: HostMap<DomainPolicy> = HostMap.none;
const NO_ROWS: PolicyRows = new Map();

/** As it was written. */
interface Said {
  readonly file: FilePolicies;
  readonly domains: HostMap<DomainPolicy>;
}

export class PolicyPlane implements DomainPolicies {
  readonly #options: PolicyPlaneOptions;
  readonly #inForce: PoliciesInForce;
  readonly #file: ConfigFile | null;
  readonly #names: EndpointNames;
  /** What names made of what was said. */
  readonly #resolutions: WeakMap<object, FilePolicies | DomainPolicy> = new WeakMap();
  /** Domains of which a service has endpoints with names: of tens of thousands almost none has. By host. */
  readonly #named: Map<string, DomainPolicy> = new Map();
  #said: Said = { file: NO_FILE, domains: NONE };

  constructor(options: PolicyPlaneOptions) {
    const { settings, file, log, events, changed, lookup, timers } = options;
    this.#options = options;
    this.#inForce = new PoliciesInForce({
      log,
      changed: (_before, after) => {
        changed(after);
        this.#tell();
      },
    });
    this.#names = new EndpointNames({ lookup, log, timers, ownPorts: ownPorts(settings), changed: () => this.#apply("dns") });
    this.#file = file === null ? null : new ConfigFile({
      path: settings.configFile,
      regionId: settings.regionId,
      first: file,
      log,
      timers,
      taken: (good, reason) => this.#takeFile(good, reason),
      tell: (state, problem) => events.publish({ type: "policies", state, ...this.#counts, problem }),
    });
  }

  get snapshot(): PolicySnapshot {
    return this.#inForce.snapshot;
  }

  get domains(): HostMap<DomainPolicy> {
    return this.#said.domains;
  }

  get status(): PolicyStatus {
    const { revision, policies } = this.snapshot;
    return { revision, policies, file: this.#file?.status ?? null, names: this.#names.list() };
  }

  /** Resolves when what the file says is on its way to the workers. */
  async start(): Promise<void> {
    const { file, lastGood, settings } = this.#options;
    const saved = await lastGood?.read();
    if (settings.databaseUrl !== "" && saved?.rows?.size) await this.#takeSaved(saved.rows);
    if (file !== null) await this.#takeFile(file.good, "start");
    this.#file?.start();
  }

  /** What the source says of domains. `whole`: those that it does not name have none any more. */
  async takeDomains({ policies = NONE, policyRows = NO_ROWS }: ReadPolicies, whole: boolean, reason: string): Promise<void> {
    const { domains: before } = this.#said;
    if (whole && this.#options.settings.databaseUrl !== "") this.#options.lastGood?.keep({ rows: policyRows });
    const domains = whole ? HostMap.of(policies) : withNews(before, HostMap.of(policies));
    if (domains !== before) await this.#take({ domains }, reason);
  }

  /** Reads the file; resolves when what it says is in force in every worker that answers. */
  async reload(reason: string): Promise<void> {
    await this.#file?.reload(reason);
    await this.#options.applied(this.snapshot.revision);
  }

  async close(): Promise<void> {
    this.#names.close();
    await this.#options.lastGood?.close();
    await this.#file?.close();
  }

  /** Until the source answers. */
  async #takeSaved(rows: PolicyRows): Promise<void> {
    const { table } = this.#options;
    await table.take({ kind: "all", digest: "", rows: Array.from(rows, ([domain, { text }]) => ({ domain, text })) });
    await this.#take({ domains: table.policies }, LAST_GOOD);
  }

  async #takeFile({ policies, text }: GoodFile, reason: string): Promise<void> {
    const { lastGood, settings: { configFile: path } } = this.#options;
    await this.#take({ file: policies }, reason);
    lastGood?.keep({ file: { path, text } });
  }

  async #take(change: Partial<Said>, reason: string): Promise<void> {
    const { domains: before } = this.#said;
    this.#said = { ...this.#said, ...change };
    for (const { host, after } of hostChanges(before, this.#said.domains)) {
      if (after !== undefined && namesOf(after.services).size > 0) this.#named.set(host, after);
      else this.#named.delete(host);
    }
    await this.#names.learn(namesOf(this.#servicesWithNames()));
    this.#apply(reason);
  }

  /** What is said, with every name resolved, comes into force as far as it is not. */
  #apply(reason: string): void {
    const { file, domains } = this.#said;
    const resolved = Array.from(this.#named, ([host, policy]): [string, DomainPolicy] => [host, this.#resolved(policy)]);
    const resolvedFile = this.#resolved(file);
    this.#inForce.take(resolvedFile, domains.with(resolved, []), reason);
  }

  *#servicesWithNames(): Iterable<ServiceRecord> {
    yield* this.#said.file.services;
    for (const { services } of this.#named.values()) yield* services;
  }

  /** The same object as before as long as it says the same. */
  #resolved<Set extends FilePolicies | DomainPolicy>(set: Set): Set {
    if (set.services.length === 0) return set;
    const services = set.services.map((service) => this.#names.resolved(service));
    if (services.every((service, index) => service === set.services[index])) return set;
    const known = this.#resolutions.get(set) as Set | undefined;
    if (known !== undefined && isDeepStrictEqual(known.services, services)) return known;
    const resolved = { ...set, services };
    this.#resolutions.set(set, resolved);
    return resolved;
  }

  get #counts(): { readonly revision: number; readonly services: number; readonly routes: number; readonly domains: number } {
    const { revision, policies: { file, domains } } = this.snapshot;
    return { revision, services: file.services.length, routes: file.routes.length, domains: domains.size };
  }

  #tell(): void {
    this.#options.events.publish({ type: "policies", state: "changed", ...this.#counts, problem: "" });
  }
}

/** The second, and what only the first has. */
function withNews(before: HostMap<DomainPolicy>, news: HostMap<DomainPolicy>): HostMap<DomainPolicy> {
  const puts: [string, DomainPolicy][] = [];
  let namesAll = true;
  for (const { host, after } of hostChanges(before, news)) {
    if (after === undefined) namesAll = false;
    else puts.push([host, after]);
  }
  return namesAll ? news : before.with(puts, []);
}
