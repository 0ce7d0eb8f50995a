/*  Host names of endpoints, as the machine's resolver knows them: all their addresses, asked for again every 30 s.
 *
 *            learn: its first answer, or 2 s               30 s: asked again
 *   unknown -------------------------------> known, failed <----------------> known, failed
 *      forgotten when no policy names it any more
 *
 *  A failure keeps the addresses of before; a name that has never had an address is no endpoint, and is reported.
 */
import { isIP } from "node:net";
import type { Log } from "../observation/log.ts";
import type { CancelTimer, Timers } from "../runtime/timers.ts";
import type { NameStatus } from "../sources/policy-status.ts";
import { isReserved } from "../sources/reserved-addresses.ts";
import { serviceKey } from "../table/policies.ts";
import type { ServiceEndpoint, ServiceRecord } from "../table/policy.ts";
import { endpointKey } from "../table/record.ts";

export interface EndpointNamesOptions {
  /** All addresses of a name; rejects when it has none. */
  lookup(name: string): Promise<readonly string[]>;
  readonly log: Log;
  readonly timers: Timers;
  /** On which this proxy listens. */
  readonly ownPorts: readonly number[];
  /** Some have other addresses now. */
  changed(): void;
}

interface Known {
  addresses: readonly string[];
  /** null: the last question was answered. */
  error: string | null;
  askedAtMs: number;
}

const AGAIN_MS = 30_000;
const PATIENCE_MS = 2000;
/** Then it counts as a failure. */
const LOOKUP_MS = 10_000;
/** Questions at a time: each may keep a thread for seconds. */
const AT_ONCE = 4;

export class EndpointNames {
  readonly #options: EndpointNamesOptions;
  readonly #known: Map<string, Known> = new Map();
  /** null: all are being asked for, or there are none. */
  #cancel: CancelTimer | null = null;
  #asking = false;
  #closed = false;

  constructor(options: EndpointNamesOptions) {
    this.#options = options;
  }

  /** By name. */
  list(): NameStatus[] {
    const list = [...this.#known].map(([name, { addresses, error }]) => ({ name, addresses, error }));
    return list.sort((a, b) => a.name < b.name ? -1 : 1);
  }

  /** From now on exactly these; resolves when new ones have been asked for, or have taken too long. */
  async learn(names: ReadonlySet<string>): Promise<void> {
    for (const name of this.#known.keys()) if (!names.has(name)) this.#known.delete(name);
    const fresh = [...names].filter((name) => !this.#known.has(name));
    for (const name of fresh) this.#known.set(name, { addresses: [], error: "not resolved yet", askedAtMs: -Infinity });
    if (fresh.length === 0) return;
    const asked = this.#ask(fresh).then((changed) => {
      if (changed && late) this.#options.changed();
    });
    let late = false;
    await Promise.race([asked, new Promise<void>((resolve) => this.#options.timers.after(PATIENCE_MS, resolve))]);
    late = true;
    this.#schedule();
  }

  /** The service with an endpoint for each address of its names; the same object if there is no name. */
  resolved(service: ServiceRecord): ServiceRecord {
    if (service.endpoints === null || service.endpoints.every(({ address }) => isIP(address) !== 0)) return service;
    const endpoints = new Map<string, ServiceEndpoint>();
    for (const endpoint of service.endpoints) {
      for (const each of this.#resolvedEndpoint(endpoint)) if (!endpoints.has(each.key)) endpoints.set(each.key, each);
    }
    return { ...service, endpoints: [...endpoints.values()] };
  }

  close(): void {
    this.#closed = true;
    this.#cancel?.();
  }

  #resolvedEndpoint(endpoint: ServiceEndpoint): readonly ServiceEndpoint[] {
    if (isIP(endpoint.address) !== 0) return [endpoint];
    const { kind, port, service } = endpoint;
    const known = this.#known.get(endpoint.address)?.addresses ?? [];
    const addresses = isOfDomain(service) ? known.filter((address) => !isReserved(address, port, this.#options.ownPorts)) : known;
    return addresses.map((address) => ({ ...endpoint, address, key: serviceKey(endpointKey(kind, address, port), service) }));
  }

  /** Not put off by names that come meanwhile. */
  #schedule(): void {
    if (this.#closed || this.#asking || this.#cancel !== null || this.#known.size === 0) return;
    this.#cancel = this.#options.timers.after(AGAIN_MS, () => void this.#askAgain());
  }

  /** Those that fail may take their time to: they keep no others from being in force. */
  async #askAgain(): Promise<void> {
    this.#cancel = null;
    this.#asking = true;
    const failing = new Set([...this.#known].filter(([, { error }]) => error !== null).map(([name]) => name));
    const others = [...this.#known.keys()].filter((name) => !failing.has(name));
    for (const names of [others, [...failing]]) if (await this.#ask(names) && !this.#closed) this.#options.changed();
    this.#asking = false;
    this.#schedule();
  }

  /** Whether any of them has other addresses now. */
  async #ask(names: readonly string[]): Promise<boolean> {
    const left = [...names];
    let changed = false;
    const worker = async (): Promise<void> => {
      for (let name = left.shift(); name !== undefined && !this.#closed; name = left.shift()) {
        if (await this.#askOne(name)) changed = true;
      }
    };
    await Promise.all(Array.from({ length: Math.min(AT_ONCE, left.length) }, worker));
    return changed;
  }

  async #askOne(name: string): Promise<boolean> {
    const { lookup, log, timers } = this.#options;
    let cancel: CancelTimer = () => {};
    const late = new Promise<Error>((resolve) => {
      cancel = timers.after(LOOKUP_MS, () => resolve(new Error(`the resolver does not answer within ${LOOKUP_MS / 1000} s`)));
    });
    const answer = await Promise.race([lookup(name).catch((error: Error) => error), late]).finally(cancel);
    const known = this.#known.get(name);
    if (known === undefined || this.#closed) return false;
    known.askedAtMs = timers.nowMs();
    if (answer instanceof Error || answer.length === 0) {
      const error = answer instanceof Error ? answer.message : "it has no address";
      if (known.error !== error) log.warn("cannot resolve the name of an endpoint", { name, error, addresses: known.addresses });
      known.error = error;
      return false;
    }
    const addresses = [...new Set(answer)].sort();
    const before = known.addresses;
    if (known.error !== null && before.length > 0) log.info("the name of an endpoint is resolved again", { name, addresses });
    known.error = null;
    known.addresses = addresses;
    return before.join() !== addresses.join();
  }
}

/** Its DNS may answer whatever its owner likes, and another thing after a while. */
function isOfDomain(service: string): boolean {
  return service.includes("/");
}

/** The names among the addresses of endpoints. */
export function namesOf(services: Iterable<ServiceRecord>): Set<string> {
  const names = new Set<string>();
  for (const { endpoints } of services) {
    for (const { address } of endpoints ?? []) if (isIP(address) === 0) names.add(address);
  }
  return names;
}
