/** Runs of one job, one at a time: who asks during a run shares the next one with all who do. */
export class OneAtATime {
  readonly #job: () => Promise<void>;
  #running: Promise<void> | null = null;
  #next: Promise<void> | null = null;

  /** The job must not reject. */
  constructor(job: () => Promise<void>) {
    this.#job = job;
  }

  /** The run of the moment; null: there is none. */
  get running(): Promise<void> | null {
    return this.#running;
  }

  /** Resolves after a run that began after this call. */
  run(): Promise<void> {
    if (this.#running === null) return this.#begin();
    this.#next ??= this.#running.then(() => {
      this.#next = null;
      return this.#begin();
    });
    return this.#next;
  }

  #begin(): Promise<void> {
    this.#running = this.#job().then(() => {
      this.#running = null;
    });
    return this.#running;
  }
}
