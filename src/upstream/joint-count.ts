/*  A count with a limit that holds over all workers: requests under way at an endpoint, trials of a breaker, requests that wait.
 *
 *  Each process writes its own share, under its seat, and the count is the sum of those that live: a process that is killed takes its share
 *  with it. To take a place: add, then look; if that is too many, give back. Both are atomic, in this order, so two processes that take the
 *  last place at the same moment see each other, and the limit is never exceeded; both may have to give back, and then try again.
 *
 *  What we hold is kept here, too, and written each time: a row that nobody has asked for in an hour may have become another's.
 */
import type { Cells, CellTable } from "./cell-table.ts";

/** How often two that collide try. */
const TRIES = 16;

export class JointCount {
  readonly #table: CellTable;
  readonly #name: string;
  #held = 0;
  /** The living ones, as of the last look. */
  #seats: readonly string[] = [];
  #others: readonly Cells[] = [];

  constructor(table: CellTable, name: string) {
    this.#table = table;
    this.#name = name;
  }

  /** Of all workers. A service may have thousands of endpoints, and each request looks at all of them. */
  get count(): number {
    const seats = this.#table.seats();
    if (seats !== this.#seats) this.#findOthers(seats);
    let sum = this.#held;
    for (const cells of this.#others) sum += Atomics.load(integersOf(cells), cells.byteOffset / 4);
    return sum;
  }

  /** Of this worker. */
  get held(): number {
    return this.#held;
  }

  /** `limit` 0: none. */
  take(limit: number): boolean {
    for (let tries = 0; tries < TRIES; tries++) {
      this.#store(this.#held + 1);
      const { count } = this;
      if (limit === 0 || count <= limit) return true;
      this.#store(this.#held - 1);
      if (this.count >= limit) return false; // not by a collision
    }
    return false;
  }

  release(): void {
    if (this.#held > 0) this.#store(this.#held - 1);
  }

  #store(held: number): void {
    this.#held = held;
    const cells = this.#cells(this.#table.seat);
    Atomics.store(integersOf(cells), cells.byteOffset / 4, held);
  }

  /** Only to read, and only as long as the list of seats is the same one, which is not long. */
  #findOthers(seats: readonly string[]): void {
    this.#seats = seats;
    this.#others = seats.filter((seat) => seat !== this.#table.seat).map((seat) => this.#cells(seat));
    this.#cells(this.#table.seat); // ours stays ours as long as anybody asks
  }

  #cells(seat: string): Cells {
    return this.#table.of(`${this.#name}/${seat}`);
  }
}

/** Those of a worker: one for each name, since it knows how many of it are ours. */
export class JointCounts {
  readonly #table: CellTable;
  readonly #counts: Map<string, JointCount> = new Map();

  constructor(table: CellTable) {
    this.#table = table;
  }

  of(name: string): JointCount {
    let count = this.#counts.get(name);
    if (count === undefined) this.#counts.set(name, count = new JointCount(this.#table, name));
    return count;
  }

  /** Forgets those of which nothing is ours. Who holds one of these must ask for it anew. */
  tidy(): void {
    for (const [name, { held }] of this.#counts) if (held === 0) this.#counts.delete(name);
  }
}

let lastBuffer: unknown;
let lastIntegers: Int32Array = new Int32Array(0);

/** The memory of the cells as integers, which can be changed atomically; almost always the same memory. */
function integersOf({ buffer }: Cells): Int32Array {
  if (buffer !== lastBuffer) {
    lastBuffer = buffer;
    lastIntegers = new Int32Array(buffer);
  }
  return lastIntegers;
}
