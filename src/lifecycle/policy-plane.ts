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
import type { PolicyRow, PolicyTable } from "../sources/policy-table.ts";
import type { DomainPolicies, ReadPolicies } from "../sources/refresh.ts";
import type { PolicyStatus } from "../sources/policy-status.ts";
import type { Policies } from "../table/policies.ts";
import { type DomainPolicy, type FilePolicies, NO_FILE, type ServiceRecord } from "../table/policy.ts";
import { EndpointNames, namesOf } from "./endpoint-names.ts";
import { PoliciesInForce } from "./policies-in-force.ts";
import { domainChanges, type PolicySnapshot } from "./policy-transfer.ts";
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

const NONE: ReadonlyMap<string, DomainPolicy> = new Map();

/** As it was written. */
interface Said {
  readonly file: FilePolicies;
  readonly domains: ReadonlyMap<string, DomainPolicy>;
}

export class PolicyPlane implements DomainPolicies {
  readonly #options: PolicyPlaneOptions;
  readonly #inForce: PoliciesInForce;
  readonly #file: ConfigFile | null;
  readonly #names: EndpointNames;
  /** What names made of what was said. */
  readonly #resolutions: WeakMap<object, FilePolicies | DomainPolicy> = new WeakMap();
  /** What the source last said of domains. */
  #taken: ReadonlyMap<string, DomainPolicy> = NONE;
  #said: Said = { file: NO_FILE, domains: new Map() };

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

  get domains(): ReadonlyMap<string, DomainPolicy> {
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
    if (settings.databaseUrl !== "" && saved?.rows?.length) await this.#takeSaved(saved.rows);
    if (file !== null) await this.#takeFile(file.good, "start");
    this.#file?.start();
  }

  /** What the source says of domains. `whole`: those that it does not name have none any more. */
  async takeDomains({ policies = NONE, policyRows = [] }: ReadPolicies, whole: boolean, reason: string): Promise<void> {
    const { domains } = this.#said;
    if (whole && this.#options.settings.databaseUrl !== "") this.#options.lastGood?.keep({ rows: policyRows });
    if (domains === policies || !whole && policies.size === 0) return;
    // Those that are named are in force already: if there are no others, nothing is left to do
    if (whole && this.#taken === policies && domains.size === policies.size) this.#said = { ...this.#said, domains: policies };
    else {await this.#take(
        { domains: whole || namesAll(domains, policies) ? policies : new Map([...domains, ...policies]) },
        reason,
      );}
    this.#taken = policies;
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
  async #takeSaved(rows: readonly PolicyRow[]): Promise<void> {
    const { table } = this.#options;
    await table.take({ kind: "all", digest: "", rows });
    await this.#take({ domains: table.policies }, LAST_GOOD);
  }

  async #takeFile({ policies, text }: GoodFile, reason: string): Promise<void> {
    const { lastGood, settings: { configFile: path } } = this.#options;
    await this.#take({ file: policies }, reason);
    lastGood?.keep({ file: { path, text } });
  }

  async #take(change: Partial<Said>, reason: string): Promise<void> {
    this.#said = { ...this.#said, ...change };
    await this.#names.learn(namesOf(servicesOf(this.#said)));
    this.#apply(reason);
  }

  /** What is said, with every name resolved, comes into force as far as it is not. */
  #apply(reason: string): void {
    const { file, domains } = this.#said;
    const { policies: inForce } = this.snapshot;
    const resolvedFile = this.#resolved(file);
    const { upserts, removals } = domainChanges(inForce.domains, domains, (policy) => this.#resolved(policy));
    this.#inForce.take({ ...resolvedFile !== inForce.file && { file: resolvedFile }, upserts, removals }, reason);
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

/** Of tens of thousands of domains almost none names any. */
function* servicesOf({ file, domains }: Said): Iterable<ServiceRecord> {
  yield* file.services;
  for (const { services } of domains.values()) if (services.length > 0) yield* services;
}

/** Whether the second says something of every host that the first does. */
function namesAll(first: ReadonlyMap<string, DomainPolicy>, second: ReadonlyMap<string, DomainPolicy>): boolean {
  if (second.size < first.size) return false;
  for (const host of first.keys()) if (!second.has(host)) return false;
  return true;
}
