/*  Whether a request body keeps up a minimum pace, so that a client cannot hold an exchange and its VM for ever with a byte now
 *  and then.
 *
 *  A bucket of time. It begins with the grace; every byte adds what the byte may take, up to a most; the time in which bytes
 *  were awaited runs out of it. A body whose bucket is empty is too slow. Time in which nobody awaited anything costs nothing:
 *  it is not the client that is slow then. The most is what a fast body may take for a pause.
 *
 *             run             everything has come
 *   halted ---------> running --------------------> (of no interest; `begin` for the next body)
 *      ^------ halt -----'
 */
export interface PaceLimit {
  /** 0: any pace will do. */
  readonly bytesPerSecond: number;
  /** Credit of a body that begins. */
  readonly graceMs: number;
  /** Credit that a fast body can gain. */
  readonly mostMs: number;
}

export class BodyPace {
  readonly #limit: PaceLimit;
  #creditMs = 0;
  #countedBytes = 0;
  #running = false;
  #sinceAtMs = 0;

  constructor(limit: PaceLimit) {
    this.#limit = limit;
  }

  /** A body begins of which nobody has asked for anything yet. */
  begin(): void {
    this.#creditMs = this.#limit.graceMs;
    this.#countedBytes = 0;
    this.#running = false;
  }

  /** From now on its bytes are awaited. */
  run(nowMs: number): void {
    if (this.#running) return;
    this.#running = true;
    this.#sinceAtMs = nowMs;
  }

  /** Nobody can take more of it for now. */
  halt(nowMs: number): void {
    if (!this.#running) return;
    this.#running = false;
    this.#creditMs -= nowMs - this.#sinceAtMs;
  }

  /** When it is too slow unless more comes, `receivedBytes` having come in all; Infinity while nobody waits. */
  tooSlowAtMs(nowMs: number, receivedBytes: number): number {
    const { bytesPerSecond, mostMs } = this.#limit;
    if (bytesPerSecond === 0 || !this.#running) return Infinity;
    const earnedMs = (receivedBytes - this.#countedBytes) * 1000 / bytesPerSecond;
    this.#creditMs = Math.min(mostMs, this.#creditMs + earnedMs - (nowMs - this.#sinceAtMs));
    this.#countedBytes = receivedBytes;
    this.#sinceAtMs = nowMs;
    return nowMs + this.#creditMs;
  }
}
