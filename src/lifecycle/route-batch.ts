/*  Changes of routes as messages carry them. A service is named once per transfer, however many of a million domains lead there, and
 *  hosts are one text, so that neither side makes a string of each.
 */
import type { EndpointRecord } from "../table/record.ts";
import { joinHosts } from "../table/page-changes.ts";
import type { RouteChange, RoutesDraft } from "../table/routes.ts";
import type { Service, Services } from "../table/services.ts";

export interface RouteBatch {
  /** How many changes. */
  readonly size: number;
  /** The endpoints of services that no batch of the transfer has named before. */
  readonly services: readonly (readonly EndpointRecord[])[];
  /** With a line feed behind each. */
  readonly hosts: string;
  /** To which service each of the hosts leads: its place among all that the transfer has named. */
  readonly places: readonly number[];
  /** Hosts that lead nowhere any more, likewise. */
  readonly removals: string;
}

/** Makes the batches of one transfer. */
export class BatchWriter {
  readonly #places: Map<Service, number> = new Map();

  write(changes: readonly RouteChange[]): RouteBatch {
    const services: (readonly EndpointRecord[])[] = [];
    const hosts: RouteChange[] = [], removals: RouteChange[] = [], places: number[] = [];
    for (const change of changes) {
      const { after } = change;
      if (after === undefined) {
        removals.push(change);
        continue;
      }
      let place = this.#places.get(after);
      if (place === undefined) {
        place = this.#places.size;
        this.#places.set(after, place);
        services.push(after.endpoints);
      }
      hosts.push(change);
      places.push(place);
    }
    return { size: changes.length, services, hosts: joinHosts(hosts), places, removals: joinHosts(removals) };
  }
}

/** Works the batches of one transfer into a draft, as many changes at a time as there is time for. */
export class BatchReader {
  readonly #draft: RoutesDraft;
  readonly #services: Services;
  readonly #named: (readonly EndpointRecord[])[] = [];
  readonly #known: Service[] = [];
  #batch: RouteBatch | null = null;
  #hostsAt = 0;
  #removalsAt = 0;
  /** Of the hosts of the batch. */
  #done = 0;

  constructor(draft: RoutesDraft, services: Services) {
    this.#draft = draft;
    this.#services = services;
  }

  begin(batch: RouteBatch): void {
    this.#batch = batch;
    this.#hostsAt = this.#removalsAt = this.#done = 0;
    for (const endpoints of batch.services) this.#named.push(endpoints);
  }

  /** Whether the batch is through. */
  read(most: number): boolean {
    const batch = this.#batch;
    if (batch === null) return true;
    const { hosts, places, removals } = batch;
    let left = most;
    for (; left > 0 && this.#removalsAt < removals.length; left--) {
      const end = removals.indexOf("\n", this.#removalsAt);
      this.#draft.remove(removals, this.#removalsAt, end);
      this.#removalsAt = end + 1;
    }
    for (; left > 0 && this.#done < places.length; left--) {
      const end = hosts.indexOf("\n", this.#hostsAt);
      this.#draft.put(hosts, this.#serviceAt(places[this.#done++]!), this.#hostsAt, end);
      this.#hostsAt = end + 1;
    }
    if (this.#removalsAt < removals.length || this.#done < places.length) return false;
    this.#batch = null;
    return true;
  }

  #serviceAt(place: number): Service {
    return this.#known[place] ??= this.#services.of(this.#named[place]!);
  }
}
