/*  What stands at the door of an endpoint under a policy: its guards, each for one reason (breaker, limits, ejection). A guard says
 *  whether it would let a request in, and is told of what becomes of those that it has let in.
 *
 *      look ............ nothing is taken: for decisions and for onlookers
 *      enter -> visit    takes a place, or a trial; another request may have been faster since the look
 *               visit: answered? -> ended                                    `ended` comes once, and gives the place back
 *
 *  Endpoints without a policy have no watch, and pay for none.
 */
import type { AnswerCode } from "../observation/proxy-error.ts";

/**
 * Why a guard lets nobody in, worst first. `trial`: it is ejected, but may be tried where nothing else can take the request. `busy`: it
 * lets in, but others come first.
 */
export const HINDRANCES = ["ejected", "open", "full", "trial", "busy"] as const;
export type Hindrance = (typeof HINDRANCES)[number];

/** One attempt that has been let in. */
export interface Visit {
  /** The head of the final answer is there. */
  answered(status: number): void;
  /**
   * `failure`: by what the attempt has failed, or `stream_timeout` if it has stood still for too long; null: it has not, or was given up (the
   * client has left, its answer was not wanted).
   */
  ended(failure: AnswerCode | null): void;
}

export interface Guard {
  /** null: nothing hinders. */
  look(): Hindrance | null;
  /** null: nobody is let in. */
  enter(): Visit | null;
  /** How long ago it has begun to let in again; absent, Infinity: it has always. */
  readonly returnedForMs?: number;
}

export class EndpointWatch {
  readonly guards: readonly Guard[];

  constructor(guards: readonly Guard[]) {
    this.guards = guards;
  }

  /** The worst of what hinders. */
  look(): Hindrance | null {
    let worst: Hindrance | null = null;
    for (const guard of this.guards) {
      const found = guard.look();
      if (found !== null && (worst === null || HINDRANCES.indexOf(found) < HINDRANCES.indexOf(worst))) worst = found;
    }
    return worst;
  }

  /** How long ago the last of them has begun to let in again. */
  get returnedForMs(): number {
    let least = Infinity;
    for (const { returnedForMs = Infinity } of this.guards) least = Math.min(least, returnedForMs);
    return least;
  }

  /** By all guards, or by none. */
  enter(): Visit | null {
    const visits: Visit[] = [];
    for (const guard of this.guards) {
      const visit = guard.enter();
      if (visit === null) {
        for (const each of visits) each.ended(null);
        return null;
      }
      visits.push(visit);
    }
    return visits.length === 1 ? visits[0]! : new Visits(visits);
  }
}

class Visits implements Visit {
  readonly #visits: readonly Visit[];

  constructor(visits: readonly Visit[]) {
    this.#visits = visits;
  }

  answered(status: number): void {
    for (const visit of this.#visits) visit.answered(status);
  }

  ended(failure: AnswerCode | null): void {
    for (const visit of this.#visits) visit.ended(failure);
  }
}

/** Whether an answer with this status says that the endpoint is in trouble: not of what nobody has built (501) or speaks (505). */
export function speaksOfTrouble(status: number): boolean {
  return status >= 500 && status !== 501 && status !== 505;
}

/** Whether the failure is the endpoint's doing: not of our own want of connections. */
export function endpointsFault(failure: AnswerCode): boolean {
  return failure === "connect_failed" || failure === "connect_timeout" || failure === "upstream_reset" ||
    failure === "upstream_protocol" || failure === "response_timeout" || failure === "stream_timeout";
}

/** An answer that stands still may be a stream that has nothing to say, as well as an endpoint that hangs: neither good nor bad. */
export function isStalledStream(failure: AnswerCode, answered: boolean): boolean {
  return failure === "stream_timeout" && answered;
}
