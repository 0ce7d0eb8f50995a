/*  Whether notifications can be relied on. A pooler in transaction mode takes a LISTEN and never passes a notification on, so it shows
 *  only in time:
 *
 *             some readings in a row found what nobody had announced
 *   reliable --------------------------------------------------------> unreliable
 *      ^------------------------ a notification ---------------------------'
 */

/** A reading now and then is ahead of the notification of what it finds. */
const MOST_MISSES = 3;

export class Announcements {
  #heard = false;
  #misses = 0;

  get reliable(): boolean {
    return this.#misses < MOST_MISSES;
  }

  /** A notification. */
  heard(): void {
    this.#heard = true;
    this.#misses = 0;
  }

  /** A reading found a change. */
  found(): void {
    if (!this.#heard) this.#misses++;
    this.#heard = false;
  }

  /** A session begins. */
  reset(): void {
    this.#heard = false;
    this.#misses = 0;
  }
}
