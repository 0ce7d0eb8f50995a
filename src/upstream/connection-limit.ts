/*  How many connections to endpoints a worker may have, over all of them: what the file limit leaves.
 *
 *  Connections that rest between two exchanges are worth keeping only while there is room: when a new one is to be opened at
 *  the limit, the one that has rested longest closes for it, whichever endpoint it leads to. Without this, a few busy VMs would
 *  fill the file limit with idle connections and the next VM would be answered 502.
 */

/** A connection without an exchange. */
export interface Resting {
  close(): void;
}

export class ConnectionLimit {
  readonly max: number;
  /** Connections open or being opened. */
  count = 0;
  /** In the order in which they came to rest. */
  readonly resting: Set<Resting> = new Set();

  constructor(max: number) {
    this.max = max;
  }

  /** Whether one more may be opened; closes a resting one if need be. */
  makeRoom(): boolean {
    if (this.count < this.max) return true;
    const [oldest] = this.resting;
    if (oldest === undefined) return false;
    oldest.close();
    return true;
  }
}
