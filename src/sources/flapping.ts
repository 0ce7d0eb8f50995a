/*  Hosts that change faster than anybody can mean: a deployment that restarts in a loop, two scripts that both want a domain.
 *
 *                more than 250 changes within a window                       calm for an interval
 *   (unknown) ----------------------------------------> flapping ---------------------------------> (unknown)
 *                                                         |  ^
 *                                                         '--'  once per interval its change of the moment is taken
 *
 *  Counted are changes that readings show; what flips back between two readings costs nobody anything. The window is the update interval,
 *  10 s at least and a minute at most. Only hosts that have changed within a window are known, and no more than 10,000 of them: a change
 *  of everything at once costs a look at a map each.
 */
import type { RouteChange, Routes } from "../table/routes.ts";
import type { Service } from "../table/services.ts";

/** Above what a platform does that moves a busy domain from VM to VM: a host that is held leads to a VM that may have ended. */
const MOST_CHANGES = 250;
const SHORTEST_WINDOW_MS = 10_000;
/** Of interval and window, however rarely routes are refreshed: who is held leads to the past. */
const LONGEST_MS = 60_000;
const MOST_HOSTS = 10_000;

export interface FlappingHost {
  readonly host: string;
  /** Changes seen since it was last calm. */
  readonly changes: number;
  readonly sinceAtMs: number;
  /** How often a change of it is taken. */
  readonly intervalMs: number;
}

/** What differs since the last time. */
export interface FlappingNews {
  readonly begun: readonly FlappingHost[];
  readonly ended: readonly FlappingHost[];
}

interface Flapper extends FlappingHost {
  changes: number;
  /** What the source last said of it. */
  said: Service | undefined;
  saidAtMs: number;
  takenAtMs: number;
}

export class Flapping {
  readonly intervalMs: number;
  readonly windowMs: number;
  /** Moments of changes of hosts that may become flapping, those that changed longest ago first. */
  readonly #recent: Map<string, number[]> = new Map();
  readonly #flappers: Map<string, Flapper> = new Map();
  #begun: FlappingHost[] = [];

  constructor(intervalMs: number) {
    this.intervalMs = Math.min(intervalMs, LONGEST_MS);
    this.windowMs = Math.max(this.intervalMs, SHORTEST_WINDOW_MS);
  }

  /** Whether this change is to be taken now. To be asked of every change that would be. */
  admits({ host, after }: RouteChange, nowMs: number): boolean {
    const flapper = this.#flappers.get(host);
    if (flapper === undefined) return this.#count(host, after, nowMs);
    if (nowMs - flapper.takenAtMs < this.intervalMs) return false;
    flapper.takenAtMs = nowMs;
    return true;
  }

  /** To be told after each reading what it says, so that what is calm is known to be. */
  settle(reading: Routes, nowMs: number): FlappingNews {
    const ended: FlappingHost[] = [];
    for (const flapper of this.#flappers.values()) {
      const says = reading.get(flapper.host);
      if (says !== flapper.said) {
        flapper.said = says;
        flapper.saidAtMs = nowMs;
        flapper.changes++;
      } else if (nowMs - flapper.saidAtMs >= this.intervalMs) {
        this.#flappers.delete(flapper.host);
        ended.push(flapper);
      }
    }
    for (const [host, moments] of this.#recent) {
      if (nowMs - moments.at(-1)! <= this.windowMs) break;
      this.#recent.delete(host);
    }
    const begun = this.#begun;
    this.#begun = [];
    return { begun, ended };
  }

  list(): readonly FlappingHost[] {
    return [...this.#flappers.values()];
  }

  #count(host: string, after: Service | undefined, nowMs: number): boolean {
    const known = this.#recent.get(host);
    if (known === undefined && this.#recent.size >= MOST_HOSTS) return true;
    const moments = (known ?? []).filter((atMs) => nowMs - atMs <= this.windowMs);
    moments.push(nowMs);
    this.#recent.delete(host);
    if (moments.length <= MOST_CHANGES) {
      this.#recent.set(host, moments);
      return true;
    }
    const { intervalMs } = this;
    const flapper = {
      host,
      changes: moments.length,
      sinceAtMs: nowMs,
      intervalMs,
      said: after,
      saidAtMs: nowMs,
      takenAtMs: moments.at(-2)!,
    };
    this.#flappers.set(host, flapper);
    this.#begun.push(flapper);
    return false;
  }
}
