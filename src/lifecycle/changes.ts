/** Something that changes, and those who wait until it is as they want it. */
import type { Timers } from "../runtime/timers.ts";

export class Changes {
  readonly #timers: Timers;
  #waiting: Set<() => void> = new Set();

  constructor(timers: Timers) {
    this.#timers = timers;
  }

  /** Those who wait look again. */
  tell(): void {
    for (const look of [...this.#waiting]) look();
  }

  /** Resolves once the condition holds, or after `withinMs`; to whether it holds. */
  until(condition: () => boolean, withinMs: number): Promise<boolean> {
    if (condition()) return Promise.resolve(true);
    return new Promise((resolve) => {
      const end = (holds: boolean): void => {
        this.#waiting.delete(look);
        cancel();
        resolve(holds);
      };
      const look = (): void => condition() ? end(true) : undefined;
      const cancel = this.#timers.after(withinMs, () => end(condition()));
      this.#waiting.add(look);
    });
  }
}
