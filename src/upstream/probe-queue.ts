/** Whose turn it is to be probed: those that requests wait for before the others, each in order, and only so many at a time. */
export class ProbeQueue<Waiting> {
  readonly #concurrency: number;
  readonly #urgent: Set<Waiting> = new Set();
  readonly #background: Set<Waiting> = new Set();
  #running = 0;

  constructor(concurrency: number) {
    this.#concurrency = concurrency;
  }

  /** A second urgent wish keeps its place. */
  add(waiting: Waiting, urgent: boolean): void {
    if (!urgent) this.#background.add(waiting);
    else {
      this.#background.delete(waiting);
      this.#urgent.add(waiting);
    }
  }

  remove(waiting: Waiting): void {
    this.#background.delete(waiting);
    this.#urgent.delete(waiting);
  }

  /** The next one, which runs from now on; undefined: nobody waits, or as many run as may. */
  start(): Waiting | undefined {
    if (this.#running >= this.#concurrency) return undefined;
    const [next] = this.#urgent.size > 0 ? this.#urgent : this.#background;
    if (next === undefined) return undefined;
    this.remove(next);
    this.#running++;
    return next;
  }

  /** One no longer runs. */
  ended(): void {
    this.#running--;
  }
}
