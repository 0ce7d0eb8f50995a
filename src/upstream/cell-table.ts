/** Numbers that all workers see and change, by name: counts of rate limits, breakers and requests under way. */

/** Zero when they are first asked for, and again when nobody has asked for a while. */
export type Cells = Float64Array;

/** Numbers per name. */
export const CELLS = 6;

export class CellTable {
  readonly #cells: Map<string, Cells> = new Map();

  /** Kept by no one: ask again each time. A write is seen by the others at once; two at the same moment may lose one. */
  of(name: string): Cells {
    let cells = this.#cells.get(name);
    if (cells === undefined) this.#cells.set(name, cells = new Float64Array(CELLS));
    return cells;
  }

  /** A clock that is the same in all workers. */
  nowMs(): number {
    return performance.timeOrigin + performance.now();
  }
}
