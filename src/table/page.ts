/*  A page: the routes whose hashes begin alike, immutable, packed into a few objects per bucket.
 *
 *      page     2^bits buckets, by the first bits of the tag (16 bits of a host's hash)
 *      bucket   names     records one after the other, ordered by tag, then length, then name:
 *
 *                             | tag, 2 bytes | length, 1 byte | name, ASCII |
 *
 *               services  of the first record, the second...
 *
 *  Records are in one order over all buckets of a page, so a bucket is split by a cut. How many there are follows from the number of
 *  routes alone: pages with the same routes have equal bytes, whatever their past.
 */
import type { Service } from "./services.ts";

export type Names = Uint8Array<ArrayBuffer>;
export type BucketServices = readonly Service[];

/** What comes before the name. */
export const RECORD_HEAD = 3;
/** As much as the length can say: 253 of a name, two of `*.`. */
export const MAX_HOST_LENGTH = 255;
export const TAG_BITS = 16;
/** On average; never less than half of it when there is more than one bucket. */
const MOST_PER_BUCKET = 24;

export class Page {
  static readonly empty: Page = new Page(0, 0, 0, [new Uint8Array(0)], [[]]);

  constructor(
    readonly bits: number,
    readonly size: number,
    /** How many of the hosts are wildcards. */
    readonly wildcards: number,
    /** By bucket. */
    readonly names: readonly Names[],
    readonly services: readonly BucketServices[],
  ) {}

  find(tag: number, host: string): Service | undefined {
    const place = tag >>> TAG_BITS - this.bits;
    const index = indexIn(this.names[place]!, tag, host);
    return index < 0 ? undefined : this.services[place]![index];
  }
}

/** Which record of the bucket is the host's; -1 when none is. */
export function indexIn(names: Names, tag: number, host: string): number {
  const end = names.length;
  const length = host.length;
  for (let at = 0, index = 0; at < end; index++) {
    const each = names[at]! << 8 | names[at + 1]!;
    if (each > tag) return -1;
    const eachLength = names[at + 2]!;
    if (each === tag && eachLength === length && isNamed(names, at + RECORD_HEAD, host)) return index;
    at += RECORD_HEAD + eachLength;
  }
  return -1;
}

function isNamed(names: Names, start: number, host: string): boolean {
  for (let i = 0; i < host.length; i++) if (names[start + i] !== host.charCodeAt(i)) return false;
  return true;
}

export function tagAt(names: Names, at: number): number {
  return names[at]! << 8 | names[at + 1]!;
}

export function recordEnd(names: Names, at: number): number {
  return at + RECORD_HEAD + names[at + 2]!;
}

/** `*.` */
export function isWildcardAt(names: Names, at: number): boolean {
  return names[at + RECORD_HEAD] === 0x2a && names[at + RECORD_HEAD + 1] === 0x2e;
}

/** By tag, length and name: negative, 0 or positive. */
export function compareRecords(a: Names, atA: number, b: Names, atB: number): number {
  const end = recordEnd(a, atA);
  for (let i = atA, j = atB; i < end; i++, j++) {
    const difference = a[i]! - b[j]!;
    if (difference !== 0) return difference;
  }
  return 0;
}

const decoding = Buffer.allocUnsafeSlow(MAX_HOST_LENGTH);

export function hostAt(names: Names, at: number): string {
  const length = names[at + 2]!;
  for (let i = 0, from = at + RECORD_HEAD; i < length; i++) decoding[i] = names[from + i]!;
  return decoding.toString("latin1", 0, length);
}

/** How many bits of the tag tell the buckets of so many routes apart. */
export function bitsFor(size: number): number {
  const bits = size <= MOST_PER_BUCKET ? 0 : 32 - Math.clz32(Math.ceil(size / MOST_PER_BUCKET) - 1);
  return Math.min(bits, TAG_BITS);
}

/** All buckets as one. */
export function inOne(names: readonly Names[], services: readonly BucketServices[]): [Names, BucketServices] {
  if (names.length === 1) return [names[0]!, services[0]!];
  let length = 0;
  for (const each of names) length += each.length;
  const all = new Uint8Array(length);
  let end = 0;
  for (const each of names) {
    all.set(each, end);
    end += each.length;
  }
  return [all, services.flat()];
}

/** The page, made of pieces of `like` as far as they are equal. */
export function sharing(page: Page, like: Page): Page {
  if (page === like) return like;
  if (page.bits !== like.bits) return page;
  const names = page.names.slice();
  const services = page.services.slice();
  let differing = 0;
  for (let place = 0; place < names.length; place++) {
    const sameNames = equalNames(names[place]!, like.names[place]!);
    const sameServices = equalServices(services[place]!, like.services[place]!);
    if (sameNames) names[place] = like.names[place]!;
    if (sameServices) services[place] = like.services[place]!;
    if (!sameNames || !sameServices) differing++;
  }
  return differing === 0 ? like : new Page(page.bits, page.size, page.wildcards, names, services);
}

function equalNames(a: Names, b: Names): boolean {
  if (a === b) return true;
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

function equalServices(a: BucketServices, b: BucketServices): boolean {
  if (a === b) return true;
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}
