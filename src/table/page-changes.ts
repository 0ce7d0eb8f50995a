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

/** Told of each route that differs: its record, on the side where there is one, and where it led and leads. */
type Visit = (names: Names, at: number, before: Service | undefined, after: Service | undefined) => void;

export function pageChanges(before: Page, after: Page): RouteChange[] {
  const found: RouteChange[] = [];
  visitChanges(before, after, (names, at, was, is) => found.push(new LazyChange(names, at, was, is)));
  return found;
}

/** As `pageChanges`, without an object for each. */
export function visitChanges(before: Page, after: Page, visit: Visit): void {
  if (before.size === 0 || after.size === 0) {
    eachRecord(before, (names, at, service) => visit(names, at, service, undefined));
    return eachRecord(after, (names, at, service) => visit(names, at, undefined, service));
  }
  if (before.bits !== after.bits) {
    const [namesBefore, servicesBefore] = inOne(before.names, before.services);
    const [namesAfter, servicesAfter] = inOne(after.names, after.services);
    compareBuckets(namesBefore, servicesBefore, namesAfter, servicesAfter, visit);
    return;
  }
  for (let place = 0; place < before.names.length; place++) {
    const servicesBefore = before.services[place]!;
    const servicesAfter = after.services[place]!;
    const namesBefore = before.names[place]!;
    const namesAfter = after.names[place]!;
    if (servicesBefore === servicesAfter && namesBefore === namesAfter) continue;
    compareBuckets(namesBefore, servicesBefore, namesAfter, servicesAfter, visit);
  }
}

function eachRecord({ names, services }: Page, visit: (names: Names, at: number, service: Service) => void): void {
  for (let place = 0; place < names.length; place++) {
    const bucket = names[place]!;
    for (let at = 0, index = 0; at < bucket.length; at = recordEnd(bucket, at), index++) {
      visit(bucket, at, services[place]![index]!);
    }
  }
}

/** Both are in the same order. */
function compareBuckets(
  namesBefore: Names,
  servicesBefore: BucketServices,
  namesAfter: Names,
  servicesAfter: BucketServices,
  visit: Visit,
): void {
  let at = 0, index = 0;
  for (let atAfter = 0, indexAfter = 0; atAfter < namesAfter.length; atAfter = recordEnd(namesAfter, atAfter), indexAfter++) {
    let order = 1;
    while (at < namesBefore.length && (order = compareRecords(namesBefore, at, namesAfter, atAfter)) < 0) {
      visit(namesBefore, at, servicesBefore[index++], undefined);
      at = recordEnd(namesBefore, at);
    }
    const after = servicesAfter[indexAfter];
    if (order !== 0) {
      visit(namesAfter, atAfter, undefined, after);
      continue;
    }
    const before = servicesBefore[index++];
    if (before !== after) visit(namesAfter, atAfter, before, after);
    at = recordEnd(namesBefore, at);
  }
  for (; at < namesBefore.length; at = recordEnd(namesBefore, at)) visit(namesBefore, at, servicesBefore[index++], undefined);
}
