/*  What operators have decided, over restarts: read when a generation begins to decide, written after each change. That it cannot be read or
 *  written is said in the log, and keeps nobody from serving: an order holds from the moment at which it was given.
 */
import type { Log } from "../observation/log.ts";
import type { KeptFile } from "./kept-file.ts";

export class KeptOrders<Order> {
  /** null: they are not kept. */
  readonly #file: Pick<KeptFile<Order>, "path" | "read" | "write"> | null;
  /** `cordons`, for people. */
  readonly #name: string;
  readonly #log: Log;
  #saved: Promise<void> = Promise.resolve();
  #retired = false;

  constructor(file: Pick<KeptFile<Order>, "path" | "read" | "write"> | null, name: string, log: Log) {
    this.#file = file;
    this.#name = name;
    this.#log = log;
  }

  /** Those of before; null: they are not kept, or the file is no good. */
  async read(): Promise<readonly Order[] | null> {
    const file = this.#file;
    if (file === null) return null;
    try {
      return await file.read();
    } catch (error) {
      this.#log.warn(`cannot read the ${this.#name}, serving without`, { path: file.path, error: (error as Error).message });
      return null;
    }
  }

  /** One writing at a time, each with what there is then. Resolves when it is on disk. */
  write(list: () => readonly Order[]): Promise<void> {
    return this.#saved = this.#saved.then(async () => {
      const file = this.#file;
      if (file === null || this.#retired) return;
      try {
        await file.write(list());
      } catch (error) {
        const message = `cannot keep the ${this.#name}, a restart would forget them`;
        this.#log.warn(message, { path: file.path, error: (error as Error).message });
      }
    });
  }

  /** A successor has them now: nothing is written any more. */
  retire(): void {
    this.#retired = true;
  }
}
