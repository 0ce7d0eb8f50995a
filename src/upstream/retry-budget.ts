/*  How many retries a service may get: a share of its requests in the last ten seconds, so that an outage is not met with a multiple of
 *  the usual traffic. Services with few requests may have ten all the same; with a share of 0 there is none.
 *
 *  Counted in a ring of slots of two seconds, in a row of cells that all workers write: the budget is one for all of them, and so are the
 *  ten. Two that write at the same moment may lose one of their counts, which is nothing beside a share. The row is one of the passing
 *  ones: domains with policies may be a hundred thousand, and one that nobody has asked for a while begins anew, as it would anyway.
 */
import type { Cells, CellTable } from "./cell-table.ts";

const SLOT_MS = 2000;
const SLOTS = 5;
/** Within the ten seconds. */
const FLOOR = 10;
/** Of a row: the number of the slot under way, since the clock began; then the requests of each slot, and the retries of each. */
const SLOT_AT = 0, REQUESTS_AT = 1, RETRIES_AT = REQUESTS_AT + SLOTS;

export class RetryBudget {
  readonly #table: CellTable;
  readonly #name: string;
  readonly #print: number;
  #cells: Cells;

  constructor(table: CellTable, service: string) {
    this.#table = table;
    this.#name = `retries/${service}`;
    this.#print = table.printOf(this.#name);
    this.#cells = table.passing(this.#name);
  }

  /** A request is sent for the first time. */
  deposit(): void {
    const cells = this.#turned();
    cells[REQUESTS_AT + cells[SLOT_AT]! % SLOTS]!++;
  }

  /** Whether one more retry may be made; if so it is taken. */
  withdraw(share: number): boolean {
    const cells = this.#turned();
    const most = share === 0 ? 0 : Math.max(FLOOR, share * sumFrom(cells, REQUESTS_AT));
    if (sumFrom(cells, RETRIES_AT) >= most) return false;
    cells[RETRIES_AT + cells[SLOT_AT]! % SLOTS]!++;
    return true;
  }

  /** With the slot of now. */
  #turned(): Cells {
    const nowMs = this.#table.nowMs();
    if (!this.#table.keeps(this.#cells, this.#print, nowMs)) this.#cells = this.#table.passing(this.#name);
    const cells = this.#cells;
    const slot = Math.floor(nowMs / SLOT_MS), before = cells[SLOT_AT]!;
    if (slot <= before) return cells; // also where another worker's clock is a moment ahead
    for (let passed = Math.max(before + 1, slot - SLOTS + 1); passed <= slot; passed++) {
      cells[REQUESTS_AT + passed % SLOTS] = 0;
      cells[RETRIES_AT + passed % SLOTS] = 0;
    }
    cells[SLOT_AT] = slot;
    return cells;
  }
}

function sumFrom(cells: Cells, start: number): number {
  let total = 0;
  for (let i = start; i < start + SLOTS; i++) total += cells[i]!;
  return total;
}

/** Services whose budget is at hand; others are made anew. */
const MOST_KNOWN = 4096;

/** Of a worker, by the name of the service: a reload changes the share, not what has been used of it. */
export class RetryBudgets {
  readonly #table: CellTable;
  readonly #budgets: Map<string, RetryBudget> = new Map();

  constructor(table: CellTable) {
    this.#table = table;
  }

  of(service: string): RetryBudget {
    let budget = this.#budgets.get(service);
    if (budget !== undefined) return budget;
    if (this.#budgets.size >= MOST_KNOWN) this.#budgets.clear();
    this.#budgets.set(service, budget = new RetryBudget(this.#table, service));
    return budget;
  }
}
