/*  Which endpoints operators have cordoned: set, cleared, expired; kept in the state folder, where there is one.
 *
 *  A cordon ends by the wall clock, so that one of an hour is over an hour later whatever restarted meanwhile. Each worker knows the ends,
 *  too (`Endpoints` of worker.ts): one that nobody supervises any more must not refuse for a day what was meant for an hour.
 */
import type { Cordon } from "../observation/cordon.ts";
import type { Log } from "../observation/log.ts";
import type { CancelTimer, Timers } from "../runtime/timers.ts";
import { MOST_CORDONS } from "./cordon-file.ts";
import type { KeptOrders } from "./kept-orders.ts";

export interface CordonsOptions {
  readonly kept: KeptOrders<Cordon>;
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
  #retired = false;

  constructor(options: CordonsOptions) {
    this.#options = options;
    this.#wallMs = options.wallMs ?? Date.now;
  }

  /** Those of before, as far as they have not ended. */
  async load(): Promise<void> {
    const before = await this.#options.kept.read();
    if (before === null) return;
    const nowMs = this.#wallMs();
    const lasting = before.filter(({ untilAtMs }) => untilAtMs > nowMs);
    this.#cordons.clear();
    for (const cordon of lasting) this.#cordons.set(cordon.key, cordon);
    if (lasting.length > 0) this.#options.log.info("cordons restored", { endpoints: lasting.map(({ key }) => key) });
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
    await this.#saved();
    return cordon;
  }

  /** Whether there was one. */
  async clear(key: string): Promise<boolean> {
    if (!this.#cordons.delete(key)) return false;
    this.#options.log.info("endpoint uncordoned", { endpoint: key });
    await this.#saved();
    return true;
  }

  /** A successor has them now. */
  retire(): void {
    this.#retired = true;
    this.#options.kept.retire();
    this.#cancelLook();
  }

  #saved(): Promise<void> {
    this.#hasChanged();
    return this.#options.kept.write(() => this.list());
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
}
