/*  Which endpoints operators have cordoned: set, cleared, expired; kept in the state folder, where there is one.
 *
 *  A cordon ends by the wall clock, so that one of an hour is over an hour later whatever restarted meanwhile. Each worker knows the ends,
 *  too (`Endpoints` of worker.ts): one that nobody supervises any more must not refuse for a day what was meant for an hour.
 */
import type { Cordon } from "../observation/cordon.ts";
import type { Log } from "../observation/log.ts";
import type { CancelTimer, Timers } from "../runtime/timers.ts";
import { type CordonFile, MOST_CORDONS } from "./cordon-file.ts";

export interface CordonsOptions {
  /** null: they are not kept. */
  readonly file: Pick<CordonFile, "read" | "write" | "path"> | null;
  readonly log: Log;
  readonly timers: Timers;
  /** Since 1970, by the wall clock. */
  readonly wallMs?: () => number;
  /** `list` has changed. */
  readonly changed: () => void;
  readonly expired: (cordon: Cordon) => void;
}

/** The wall clock may be set: how often is looked at it. */
const LOOK_MS = 30_000;

export class Cordons {
  readonly #options: CordonsOptions;
  readonly #wallMs: () => number;
  readonly #cordons: Map<string, Cordon> = new Map();
  #cancelLook: CancelTimer = () => {};
  #saved: Promise<void> = Promise.resolve();
  #retired = false;

  constructor(options: CordonsOptions) {
    this.#options = options;
    this.#wallMs = options.wallMs ?? Date.now;
  }

  /** Those of before, as far as they have not ended. A file that is no good is left out, and said so. */
  async load(): Promise<void> {
    const { file, log } = this.#options;
    if (file === null) return;
    try {
      const nowMs = this.#wallMs();
      const kept = (await file.read()).filter(({ untilAtMs }) => untilAtMs > nowMs);
      this.#cordons.clear();
      for (const cordon of kept) this.#cordons.set(cordon.key, cordon);
      if (kept.length > 0) log.info("cordons restored", { endpoints: kept.map(({ key }) => key) });
    } catch (error) {
      log.warn("cannot read the cordons, serving without", { path: file.path, error: (error as Error).message });
    }
    this.#hasChanged();
  }

  list(): readonly Cordon[] {
    return [...this.#cordons.values()];
  }

  find(key: string): Cordon | undefined {
    return this.#cordons.get(key);
  }

  /** Anew where there is one already; null: there are too many. Resolves when it is on disk. */
  async set(key: string, wish: { readonly forMs: number; readonly reason: string; readonly by: string }): Promise<Cordon | null> {
    if (!this.#cordons.has(key) && this.#cordons.size >= MOST_CORDONS) return null;
    const nowMs = this.#wallMs();
    const { reason, by } = wish;
    const sinceAtMs = this.#cordons.get(key)?.sinceAtMs ?? nowMs;
    const cordon: Cordon = { key, sinceAtMs, untilAtMs: nowMs + wish.forMs, reason, by };
    this.#cordons.set(key, cordon);
    this.#options.log.info("endpoint cordoned", { endpoint: key, until: new Date(cordon.untilAtMs).toISOString(), reason, by });
    this.#hasChanged();
    await this.#save();
    return cordon;
  }

  /** Whether there was one. */
  async clear(key: string): Promise<boolean> {
    if (!this.#cordons.delete(key)) return false;
    this.#options.log.info("endpoint uncordoned", { endpoint: key });
    this.#hasChanged();
    await this.#save();
    return true;
  }

  /** A successor has them now. */
  retire(): void {
    this.#retired = true;
    this.#cancelLook();
  }

  #hasChanged(): void {
    this.#options.changed();
    this.#look();
  }

  /** Ends what is over, and looks again at the next end. */
  #look(): void {
    this.#cancelLook();
    if (this.#retired || this.#cordons.size === 0) return;
    const nowMs = this.#wallMs();
    const over = this.list().filter(({ untilAtMs }) => untilAtMs <= nowMs);
    for (const cordon of over) {
      this.#cordons.delete(cordon.key);
      this.#options.log.info("cordon expired", { endpoint: cordon.key, reason: cordon.reason });
      this.#options.expired(cordon);
    }
    // Not kept on disk: `load` leaves out what is over, and a successor that waits for its turn would write over what we have changed since
    if (over.length > 0) return this.#hasChanged();
    const nextAtMs = Math.min(...this.list().map(({ untilAtMs }) => untilAtMs));
    this.#cancelLook = this.#options.timers.after(Math.min(LOOK_MS, nextAtMs - nowMs), () => this.#look());
  }

  /** One writing at a time, each with what there is then. */
  #save(): Promise<void> {
    return this.#saved = this.#saved.then(async () => {
      const { file, log } = this.#options;
      if (file === null || this.#retired) return;
      try {
        await file.write(this.list());
      } catch (error) {
        log.warn("cannot keep the cordons, a restart would forget them", { path: file.path, error: (error as Error).message });
      }
    });
  }
}
