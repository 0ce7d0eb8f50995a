/*  Values by name of a host: a map that does not change, and shares with the ones made of it what is the same in both.
 *
 *      HostMap     shards, by the first bits of a name's hash (host-hash); each is a map of some dozens of names
 *
 *  Another map is made by `with`, which copies the shards that change. So a change of one among 100,000 names costs some microseconds, and so
 *  does finding what differs between two maps of one descent (`hostChanges`): shards that are the same object are not looked into.
 */
import { hashHost } from "./host-hash.ts";

/** Of one host; absent on one side: it is new, or gone. */
export interface HostChange<Value> {
  readonly host: string;
  readonly before: Value | undefined;
  readonly after: Value | undefined;
}

type Shard<Value> = Map<string, Value>;

/** Names per shard, on average: above the first the shards are made anew, with as many as the second. */
const MOST_PER_SHARD = 128;
const WANTED_PER_SHARD = 32;
/** To copy the list of them shall not take longer than a shard. */
const MOST_BITS = 14;

export class HostMap<Value> implements ReadonlyMap<string, Value> {
  // deno-lint-ignore no-explicit-any -- of whatever: it is empty
  static readonly none: HostMap<any> = new HostMap<any>([new Map()], 0, 0);
  /** As many as two to the power of `#bits`. */
  readonly #shards: readonly Shard<Value>[];
  readonly #bits: number;
  readonly size: number;

  private constructor(shards: readonly Shard<Value>[], bits: number, size: number) {
    this.#shards = shards;
    this.#bits = bits;
    this.size = size;
  }

  /** The same object if it is one. */
  static of<Value>(entries: Iterable<readonly [string, Value]>): HostMap<Value> {
    return entries instanceof HostMap ? entries : (HostMap.none as HostMap<Value>).with(entries, []);
  }

  get(host: string): Value | undefined {
    return this.#shards[this.#placeOf(host)]!.get(host);
  }

  has(host: string): boolean {
    return this.#shards[this.#placeOf(host)]!.has(host);
  }

  /** This map if it would be the same. What is in both is put. */
  with(puts: Iterable<readonly [string, Value]>, removals: Iterable<string>): HostMap<Value> {
    const shards = this.#shards.slice();
    const own: boolean[] = [];
    let size = this.size;
    const shardToChange = (place: number): Shard<Value> => {
      if (own[place] === true) return shards[place]!;
      own[place] = true;
      return shards[place] = new Map(shards[place]!);
    };
    for (const host of removals) {
      const place = this.#placeOf(host);
      if (!shards[place]!.has(host)) continue;
      shardToChange(place).delete(host);
      size--;
    }
    for (const [host, value] of puts) {
      const place = this.#placeOf(host);
      const known = shards[place]!.get(host);
      if (known === value && (value !== undefined || shards[place]!.has(host))) continue;
      const before = shards[place]!.size;
      size += shardToChange(place).set(host, value).size - before;
    }
    if (own.length === 0) return this;
    const bits = bitsFor(size, this.#bits);
    return bits === this.#bits ? new HostMap(shards, bits, size) : new HostMap(dealtOut(shards, bits), bits, size);
  }

  *entries(): MapIterator<[string, Value]> {
    for (const shard of this.#shards) yield* shard.entries();
  }

  *keys(): MapIterator<string> {
    for (const shard of this.#shards) yield* shard.keys();
  }

  *values(): MapIterator<Value> {
    for (const shard of this.#shards) yield* shard.values();
  }

  [Symbol.iterator](): MapIterator<[string, Value]> {
    return this.entries();
  }

  forEach(visit: (value: Value, host: string, map: ReadonlyMap<string, Value>) => void): void {
    for (const shard of this.#shards) shard.forEach((value, host) => visit(value, host, this));
  }

  /** Pairs of maps that hold the same names, where they may differ. */
  *differingFrom(before: HostMap<Value>): IterableIterator<readonly [ReadonlyMap<string, Value>, ReadonlyMap<string, Value>]> {
    if (this.#bits !== before.#bits) return yield [before, this];
    for (const [place, shard] of this.#shards.entries()) {
      const other = before.#shards[place]!;
      if (other !== shard) yield [other, shard];
    }
  }

  #placeOf(host: string): number {
    return this.#bits === 0 ? 0 : placeOf(host, this.#bits);
  }
}

/** What differs, host by host: a value is the same as long as it is the same object. In no particular order. */
export function* hostChanges<Value>(
  before: ReadonlyMap<string, Value>,
  after: ReadonlyMap<string, Value>,
): IterableIterator<HostChange<Value>> {
  if (before === after) return;
  if (!(before instanceof HostMap && after instanceof HostMap)) return yield* changesBetween(before, after);
  for (const [was, is] of after.differingFrom(before)) yield* changesBetween(was, is);
}

function* changesBetween<Value>(
  before: ReadonlyMap<string, Value>,
  after: ReadonlyMap<string, Value>,
): IterableIterator<HostChange<Value>> {
  for (const [host, value] of after) {
    const known = before.get(host);
    if (known !== value) yield { host, before: known, after: value };
  }
  for (const [host, value] of before) if (!after.has(host)) yield { host, before: value, after: undefined };
}

function placeOf(host: string, bits: number): number {
  return hashHost(host, 0, host.length) >>> 32 - bits;
}

/** Shards are not made fewer: what has shrunk may grow again. */
function bitsFor(size: number, bits: number): number {
  if (size <= MOST_PER_SHARD << bits || bits >= MOST_BITS) return bits;
  return Math.min(MOST_BITS, Math.ceil(Math.log2(size / WANTED_PER_SHARD)));
}

function dealtOut<Value>(shards: readonly Shard<Value>[], bits: number): Shard<Value>[] {
  const dealt = Array.from({ length: 1 << bits }, (): Shard<Value> => new Map());
  for (const shard of shards) for (const [host, value] of shard) dealt[placeOf(host, bits)]!.set(host, value);
  return dealt;
}
