/*  A rate limit: `requests` within any window, a client may use all of them at once, and `burst` more that were saved up while it sent less.
 *
 *      now - window                                   now
 *           |  [### bucket ###]   [#]      [###]       |      used = requests in these; of one that is half out, half
 *
 *  Up to eight buckets of requests that came together keep the first and the last moment and their number, so that a client who sends
 *  everything at once has everything back exactly one window later, and one who sends evenly gets it back as evenly; fixed windows let twice
 *  as many through around their edges, the usual two-window estimate is unfair to both. When buckets run out, the two that are closest
 *  become one. The savings grow by what the window leaves unused, and never while it is full: in the long run `requests` per window pass.
 *
 *  It is kept in a row of numbers that all workers share (cell-memory.ts). Moments in it are in parts of the window, modulo 2^32.
 *  A worker reckons on a copy and writes it back if nobody has written meanwhile, else it begins again: when two simply changed the row
 *  they let 9 % too many through, and when they locked it, whoever lost the processor with the lock in its hands still did such harm. What
 *  is left is the time of one copy: whoever is killed within it does not keep the others waiting, after some µs they go on.
 */
import type { RateLimitPolicy } from "../table/policy.ts";
import type { LimitVerdict } from "./policy-hooks.ts";

/** Of the row: last request (ms, 8 bytes); in numbers of 4 bytes, savings spent, version (odd: being written), and the buckets. */
const AT = 0, SPENT = 2, VERSION = 3, BUCKETS_AT = 4;
/** Of a bucket, in numbers of 4 bytes. */
const FIRST = 0, LAST = 1, COUNT = 2, BUCKET = 3;
const BUCKETS = 8;
/** Numbers that a row needs. */
export const LIMIT_NUMBERS = (BUCKETS_AT + BUCKETS * BUCKET) / 2;
/** Of the window. */
const PARTS = 1 << 16;
/** Requests that are no further apart are one bucket. */
const TOGETHER = PARTS / 32;
/** Looks at a row that another worker writes; some 20 µs. */
const SPINS = 1000;
/** To write a row before anybody else; then a request may be lost from the count. */
const TRIES = 100;
/** What is saved does not add up to whole numbers. */
const EPSILON = 1e-3;

/** Of the row in work. */
const NUMBERS = new Float64Array(LIMIT_NUMBERS);
const WORDS = new Int32Array(NUMBERS.buffer);
const SAVINGS = new Float32Array(NUMBERS.buffer, 4 * SPENT, 1);
const BUCKET_WORDS = new Uint32Array(NUMBERS.buffer, 4 * BUCKETS_AT, BUCKETS * BUCKET);

/** The words of a row: LIMIT_NUMBERS, zeros for a client that is new. */
export function limitWords(row: Float64Array): Int32Array {
  return new Int32Array(row.buffer, row.byteOffset, 2 * LIMIT_NUMBERS);
}

/** Takes a place for one request, if there is one. */
export function takePlace(words: Int32Array, policy: RateLimitPolicy, nowMs: number): LimitVerdict {
  for (let tries = 1;; tries++) {
    const version = settledVersion(words);
    copyWords(words, WORDS);
    const verdict = new Limit(policy, nowMs).take();
    const writing = (version | 1) + 2 | 0;
    if (Atomics.compareExchange(words, VERSION, version, writing) !== version && tries < TRIES) continue;
    WORDS[VERSION] = writing;
    copyWords(WORDS, words);
    Atomics.store(words, VERSION, writing + 1 | 0);
    return verdict;
  }
}

/** What `takePlace` would answer. */
export function seePlace(words: Int32Array, policy: RateLimitPolicy, nowMs: number): LimitVerdict {
  copyWords(words, WORDS);
  return new Limit(policy, nowMs).take();
}

/** A loop: for so few `set` takes longer. Not as numbers of 8 bytes, of which some patterns would not stay what they are. */
function copyWords(from: Int32Array, to: Int32Array): void {
  for (let i = 0; i < 2 * LIMIT_NUMBERS; i++) to[i] = from[i]!;
}

/** Of a row that nobody writes, which is an even one. */
function settledVersion(words: Int32Array): number {
  let version = Atomics.load(words, VERSION);
  for (let spins = 0; spins < SPINS && (version & 1) === 1; spins++) version = Atomics.load(words, VERSION);
  return version;
}

class Limit {
  readonly #policy: RateLimitPolicy;
  readonly #nowMs: number;
  readonly #now: number;
  #count: number;

  constructor(policy: RateLimitPolicy, nowMs: number) {
    const atMs = NUMBERS[AT]!;
    this.#policy = policy;
    this.#nowMs = Math.max(nowMs, atMs); // workers' clocks are some µs apart
    this.#now = Math.floor(this.#nowMs * PARTS / policy.windowMs) >>> 0;
    if (this.#nowMs - atMs >= 2 * policy.windowMs) BUCKET_WORDS.fill(0);
    this.#count = this.#filled();
  }

  take(): LimitVerdict {
    const { requests, burst } = this.#policy;
    SAVINGS[0] = Math.max(0, SAVINGS[0]! - this.#saved());
    NUMBERS[AT] = this.#nowMs;
    this.#expire();
    const used = this.#used();
    if (used < requests) {
      this.#add();
      return this.#verdict(true, used + 1);
    }
    const allowed = SAVINGS[0] + 1 <= burst + EPSILON;
    if (allowed) SAVINGS[0] += 1;
    return this.#verdict(allowed, used);
  }

  #verdict(allowed: boolean, used: number): LimitVerdict {
    const { requests, burst } = this.#policy;
    const left = requests - used + Math.floor(burst - SAVINGS[0]! + EPSILON);
    const remaining = Math.min(requests, Math.max(0, left));
    const resetMs = this.#count === 0 ? 0 : this.#inMs(PARTS - this.#age(this.#count - 1, LAST));
    return { allowed, limit: requests, remaining, resetMs, retryAfterMs: allowed ? 0 : this.#untilOne(used) };
  }

  #filled(): number {
    let count = 0;
    while (count < BUCKETS && BUCKET_WORDS[count * BUCKET + COUNT] !== 0) count++;
    return count;
  }

  /** Forgets buckets that are out of the window. */
  #expire(): void {
    let gone = 0;
    while (gone < this.#count && this.#age(gone, LAST) >= PARTS) gone++;
    if (gone === 0) return;
    BUCKET_WORDS.copyWithin(0, gone * BUCKET);
    BUCKET_WORDS.fill(0, (BUCKETS - gone) * BUCKET);
    this.#count -= gone;
  }

  #used(): number {
    let used = 0;
    for (let i = 0; i < this.#count; i++) used += this.#usedOf(i);
    return used;
  }

  /** Of a bucket, those within the window `ago`, as if they had come evenly. */
  #usedOf(i: number, ago = 0): number {
    const count = BUCKET_WORDS[i * BUCKET + COUNT]!;
    const first = this.#age(i, FIRST) - ago, last = this.#age(i, LAST) - ago;
    if (first < PARTS) return count;
    if (last >= PARTS) return 0;
    return count - 1 - Math.floor((count - 1) * (first - PARTS) / (first - last));
  }

  /** What the window has left unused since the last request: the room between its limit and what was in it, over time. */
  #saved(): number {
    const { requests, burst, windowMs } = this.#policy;
    if (burst === 0) return 0;
    const since = (this.#nowMs - NUMBERS[AT]!) * PARTS / windowMs;
    let room = since * requests;
    for (let i = 0; i < this.#count; i++) {
      const before = this.#usedOf(i, since), after = this.#usedOf(i);
      // How long ago the first and the last of them left
      const began = Math.min(since, Math.max(0, this.#age(i, FIRST) - PARTS));
      const ended = Math.min(since, Math.max(0, this.#age(i, LAST) - PARTS));
      room -= before * (since - began) + (before + after) / 2 * (began - ended);
    }
    return room / PARTS;
  }

  #add(): void {
    const buckets = BUCKET_WORDS;
    const latest = this.#count - 1;
    if (latest >= 0 && this.#age(latest, FIRST) <= TOGETHER) {
      buckets[latest * BUCKET + LAST] = this.#now;
      buckets[latest * BUCKET + COUNT]! += 1;
      return;
    }
    if (this.#count === BUCKETS) this.#mergeClosest();
    const at = this.#count++ * BUCKET;
    buckets[at + FIRST] = buckets[at + LAST] = this.#now;
    buckets[at + COUNT] = 1;
  }

  #mergeClosest(): void {
    const buckets = BUCKET_WORDS;
    let closest = 0, least = Infinity;
    for (let i = 0; i + 1 < BUCKETS; i++) {
      const span = this.#spread(i);
      if (span >= least) continue;
      closest = i;
      least = span;
    }
    const at = closest * BUCKET, next = at + BUCKET;
    buckets[at + LAST] = buckets[next + LAST]!;
    buckets[at + COUNT]! += buckets[next + COUNT]!;
    buckets.copyWithin(next, next + BUCKET);
    this.#count--;
  }

  /** How wrong it would be to take two buckets for one. */
  #spread(i: number): number {
    const at = i * BUCKET;
    return (BUCKET_WORDS[at + COUNT]! + BUCKET_WORDS[at + BUCKET + COUNT]!) * (this.#age(i, FIRST) - this.#age(i + 1, LAST));
  }

  /** Until the window has place for one more. */
  #untilOne(total: number): number {
    let missing = total + 1 - this.#policy.requests;
    for (let i = 0; i < this.#count; i++) {
      const used = this.#usedOf(i);
      if (missing <= used) return this.#inMs(this.#leavesIn(i, used - missing));
      missing -= used;
    }
    return this.#policy.windowMs; // of a limit of nothing at all
  }

  /** When so many of a bucket are left. */
  #leavesIn(i: number, left: number): number {
    const count = BUCKET_WORDS[i * BUCKET + COUNT]!;
    const first = this.#age(i, FIRST), last = this.#age(i, LAST);
    const age = count === 1 ? first : first - (first - last) * (count - 1 - left) / (count - 1);
    return Math.max(0, PARTS - age);
  }

  #age(i: number, which: number): number {
    return (this.#now - BUCKET_WORDS[i * BUCKET + which]!) >>> 0;
  }

  #inMs(parts: number): number {
    return parts * this.#policy.windowMs / PARTS;
  }
}
