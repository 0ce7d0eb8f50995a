/** What differs between two pages at the same place of two tables. */
import {
  type BucketServices,
  compareRecords,
  hostAt,
  inOne,
  MAX_HOST_LENGTH,
  type Names,
  type Page,
  RECORD_HEAD,
  recordEnd,
} from "./page.ts";
import type { RouteChange } from "./routes.ts";
import type { Service } from "./services.ts";

/** Whoever only counts services needs no name. */
class LazyChange implements RouteChange {
  readonly #names: Names;
  readonly #at: number;

  constructor(names: Names, at: number, readonly before: Service | undefined, readonly after: Service | undefined) {
    this.#names = names;
    this.#at = at;
  }

  get host(): string {
    return hostAt(this.#names, this.#at);
  }

  /** Copies the host; answers where it ends. */
  copyHost(target: Uint8Array, end: number): number {
    const names = this.#names;
    for (let at = this.#at + RECORD_HEAD, last = recordEnd(names, this.#at); at < last; at++) target[end++] = names[at]!;
    return end;
  }
}

const joining = Buffer.allocUnsafeSlow(65_536);

/** The hosts with a line feed behind each, made without a string per host: 0.07 us each instead of 0.15. */
export function joinHosts(changes: readonly RouteChange[]): string {
  let text = "", end = 0;
  for (const change of changes) {
    if (end + MAX_HOST_LENGTH + 1 > joining.length) {
      text += joining.toString("latin1", 0, end);
      end = 0;
    }
    end = change instanceof LazyChange ? change.copyHost(joining, end) : end + joining.write(change.host, end, "latin1");
    joining[end++] = 0x0a;
  }
  return text + joining.toString("latin1", 0, end);
}

export function pageChanges(before: Page, after: Page): RouteChange[] {
  const changes: RouteChange[] = [];
  if (before.bits !== after.bits) {
    const [namesBefore, servicesBefore] = inOne(before.names, before.services);
    const [namesAfter, servicesAfter] = inOne(after.names, after.services);
    collect(namesBefore, servicesBefore, namesAfter, servicesAfter, changes);
    return changes;
  }
  for (let place = 0; place < before.names.length; place++) {
    const servicesBefore = before.services[place]!;
    const servicesAfter = after.services[place]!;
    const namesBefore = before.names[place]!;
    const namesAfter = after.names[place]!;
    if (servicesBefore === servicesAfter && namesBefore === namesAfter) continue;
    collect(namesBefore, servicesBefore, namesAfter, servicesAfter, changes);
  }
  return changes;
}

/** Both are in the same order. */
function collect(
  namesBefore: Names,
  servicesBefore: BucketServices,
  namesAfter: Names,
  servicesAfter: BucketServices,
  changes: RouteChange[],
): void {
  let at = 0, index = 0;
  for (let atAfter = 0, indexAfter = 0; atAfter < namesAfter.length; atAfter = recordEnd(namesAfter, atAfter), indexAfter++) {
    let order = 1;
    while (at < namesBefore.length && (order = compareRecords(namesBefore, at, namesAfter, atAfter)) < 0) {
      changes.push(new LazyChange(namesBefore, at, servicesBefore[index++], undefined));
      at = recordEnd(namesBefore, at);
    }
    const after = servicesAfter[indexAfter];
    if (order !== 0) {
      changes.push(new LazyChange(namesAfter, atAfter, undefined, after));
      continue;
    }
    const before = servicesBefore[index++];
    if (before !== after) changes.push(new LazyChange(namesAfter, atAfter, before, after));
    at = recordEnd(namesBefore, at);
  }
  for (; at < namesBefore.length; at = recordEnd(namesBefore, at)) {
    changes.push(new LazyChange(namesBefore, at, servicesBefore[index++], undefined));
  }
}
