/*  Memory of cells: rows of numbers that are found by name, in an ArrayBuffer that several processes may share.
 *
 *      header   layout, seed of the hash, seats: one for each process that writes
 *      lasting  65,536 rows: what services and endpoints have, as many as are configured
 *      passing 131,072 rows: what clients have, as many as ever come; the row used longest ago gives way
 *
 *      row      fingerprint of its name, when it was last asked for, numbers: one cache line, two of passing ones
 *
 *  A lasting row that nobody has asked for in an hour may become another name's, and one of zeros after ten seconds: it says nothing. Names for
 *  which there is no place at all have numbers of their own in each process.
 *
 *  A name has 64 places where its row may be; of passing ones 32, 8 in each of four groups, or with 100,000 clients a quarter of them would
 *  push each other out from groups that are too small, while others have room. There are no locks: a process that dies holds none. Two
 *  that claim the same row at the same moment both write their fingerprint, and the loser claims another one when it asks next. A
 *  fingerprint has 53 bits and its seed is secret, so two names are hardly ever taken for one another, and nobody can choose names that
 *  push out a certain one.
 */

/** Numbers per name. */
export const CELLS = 6;
export const PASSING_CELLS = 14;

const ROW = 2 + CELLS;
const PASSING_ROW = 2 + PASSING_CELLS;
/** In numbers of 8 bytes. */
const HEADER = 512;

/** Of a fingerprint's 53 bits each choice goes by others. */
const CHOICE = 2 ** 13;

/** Where a name's row may be: in any of `places` next to each other, of each of so many groups as there are `choices`. */
interface Rows {
  /** Of the first one. */
  readonly at: number;
  readonly rows: number;
  readonly length: number;
  readonly places: number;
  readonly choices: number;
  readonly groups: number;
}

const LASTING: Rows = rowsOf({ at: HEADER, rows: 1 << 16, length: ROW, places: 64, choices: 1 });
const PASSING: Rows = rowsOf({ at: endOf(LASTING), rows: 1 << 17, length: PASSING_ROW, places: 8, choices: 4 });
export const MEMORY_BYTES = 8 * endOf(PASSING);

function rowsOf(rows: Omit<Rows, "groups">): Rows {
  return { ...rows, groups: rows.rows / rows.places };
}

function endOf({ at, rows, length }: Rows): number {
  return at + rows * length;
}

/** Of the header. Whoever changes what is where changes the number. */
const LAYOUT = 0xed9e_0003;
const LAYOUT_AT = 0, SEED_AT = 1, SEATINGS_AT = 2, SEATS_AT = 8;
const SEATS = 128;
/** A seat is a token and a pid of 4 bytes each, then when its process last said that it lives. */
const SEAT = 2;
/** A process that says nothing for so long is gone, or as good as. */
const SEAT_SILENT_MS = 10_000;
/** Nobody keeps numbers that mean something after so long. */
const STALE_MS = 3_600_000;
/** Nobody has a row at hand for so long without asking for it again: zeros may become another name's. */
const BLANK_MS = 10_000;

export type Region = "lasting" | "passing";

export class CellMemory {
  readonly #numbers: Float64Array;
  readonly #integers: Int32Array;
  readonly #seed: number;

  /** `memory` of MEMORY_BYTES, formatted or zeroed; throws if it has another layout. */
  constructor(memory: ArrayBuffer, random: () => number = Math.random) {
    this.#numbers = new Float64Array(memory);
    this.#integers = new Int32Array(memory);
    if (this.#numbers[LAYOUT_AT] === 0) {
      this.#numbers[SEED_AT] = Math.floor(random() * 2 ** 32);
      this.#numbers[LAYOUT_AT] = LAYOUT;
    }
    const layout = this.#numbers[LAYOUT_AT];
    if (layout !== LAYOUT) throw new Error(`Cannot use memory of layout ${layout}, where ${LAYOUT} is meant`);
    this.#seed = this.#numbers[SEED_AT]!;
  }

  /** The numbers of a name, zero at first; null: no place left, which happens to lasting ones only. */
  find(name: string, region: Region, nowMs: number): Float64Array | null {
    const print = fingerprint(name, this.#seed);
    const row = this.#rowOf(print, region, nowMs);
    return row < 0 ? null : this.#numbers.subarray(row + 2, row + (region === "passing" ? PASSING_ROW : ROW));
  }

  /** Whether `cells`, found a moment ago, are still those of the name; if so, they are in use. */
  keep(cells: Float64Array, print: number, nowMs: number): boolean {
    const row = cells.byteOffset / 8 - 2;
    if (this.#numbers[row] !== print) return false;
    this.#numbers[row + 1] = nowMs;
    return true;
  }

  fingerprint(name: string): number {
    return fingerprint(name, this.#seed);
  }

  #rowOf(print: number, region: Region, nowMs: number): number {
    const numbers = this.#numbers;
    const passing = region === "passing";
    const { at, places, length, groups, choices } = passing ? PASSING : LASTING;
    let free = -1, oldestAtMs = passing ? Infinity : nowMs - STALE_MS;
    for (let choice = 0, hash = print; choice < choices; choice++, hash = Math.floor(hash / CHOICE)) {
      const first = at + (hash % groups) * places * length;
      for (let row = first; row < first + places * length; row += length) {
        const other = numbers[row];
        if (other === print) {
          numbers[row + 1] = nowMs;
          return row;
        }
        const usedAtMs = other === 0 ? -Infinity : numbers[row + 1]!;
        if (usedAtMs >= oldestAtMs) continue;
        oldestAtMs = usedAtMs;
        free = row;
      }
    }
    if (free < 0) free = this.#blankRow(at + (print % groups) * places * length, nowMs);
    if (free < 0) return free;
    numbers[free] = 0;
    numbers.fill(0, free + 2, free + length);
    numbers[free + 1] = nowMs;
    numbers[free] = print;
    return free;
  }

  /** One that says what no row says: of workers that have ended, mostly, each of which has had rows of its own. */
  #blankRow(first: number, nowMs: number): number {
    for (let row = first; row < first + LASTING.places * ROW; row += ROW) {
      if (this.#numbers[row + 1]! > nowMs - BLANK_MS) continue;
      if (this.#numbers.subarray(row + 2, row + ROW).every((number) => number === 0)) return row;
    }
    return -1;
  }

  /** Takes a free seat, or says again that its process lives; false: all are taken. */
  sit(token: number, pid: number, nowMs: number): boolean {
    for (const wanted of [token, 0]) {
      for (let seat = SEATS_AT; seat < SEATS_AT + SEATS * SEAT; seat += SEAT) {
        const held = Atomics.load(this.#integers, 2 * seat);
        const given = wanted === 0 && held !== 0 && !this.#lives(seat, nowMs) ? held : wanted;
        if (held !== given || Atomics.compareExchange(this.#integers, 2 * seat, given, token) !== given) continue;
        this.#integers[2 * seat + 1] = pid;
        this.#numbers[seat + 1] = nowMs;
        if (given !== token) Atomics.add(this.#integers, 2 * SEATINGS_AT, 1);
        return true;
      }
    }
    return false;
  }

  /** The process has ended: what it has counted counts no more. */
  vacate(pid: number): void {
    for (let seat = SEATS_AT; seat < SEATS_AT + SEATS * SEAT; seat += SEAT) {
      if (this.#integers[2 * seat + 1] !== pid) continue;
      this.#integers[2 * seat + 1] = 0;
      Atomics.store(this.#integers, 2 * seat, 0);
      Atomics.add(this.#integers, 2 * SEATINGS_AT, 1);
    }
  }

  /** How often a seat was taken or left: another number, and those who are seated may be others. Who dies leaves none. */
  get seatings(): number {
    return Atomics.load(this.#integers, 2 * SEATINGS_AT);
  }

  /** Tokens of the processes that live. */
  seated(nowMs: number): number[] {
    const tokens: number[] = [];
    for (let seat = SEATS_AT; seat < SEATS_AT + SEATS * SEAT; seat += SEAT) {
      const token = this.#integers[2 * seat]!;
      if (token !== 0 && this.#lives(seat, nowMs)) tokens.push(token);
    }
    return tokens;
  }

  #lives(seat: number, nowMs: number): boolean {
    return this.#numbers[seat + 1]! > nowMs - SEAT_SILENT_MS;
  }
}

/** 1 to 2^53. */
function fingerprint(name: string, seed: number): number {
  let high = 0xdeadbeef ^ seed, low = 0x41c6ce57 ^ Math.imul(seed, 0x9e3779b1);
  for (let i = 0; i < name.length; i++) {
    const unit = name.charCodeAt(i);
    high = Math.imul(high ^ unit, 0x9e3779b1);
    low = Math.imul(low ^ unit, 0x5f356495);
    high = (high << 13) | (high >>> 19);
    low ^= low >>> 15;
  }
  high = Math.imul(high ^ (high >>> 16), 0x85ebca6b) ^ Math.imul(low ^ (low >>> 13), 0xc2b2ae35);
  low = Math.imul(low ^ (low >>> 16), 0x85ebca6b) ^ Math.imul(high ^ (high >>> 13), 0xc2b2ae35);
  return 4294967296 * (2097151 & low) + (high >>> 0) + 1;
}
