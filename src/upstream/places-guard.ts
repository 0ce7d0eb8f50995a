/** Limits at the door of an endpoint: how many requests it carries at a time, counted over all workers. */
import type { ConcurrencyPolicy } from "../table/policy.ts";
import type { Guard, Hindrance, Visit } from "./endpoint-watch.ts";
import type { JointCount } from "./joint-count.ts";

export class PlacesGuard implements Guard {
  readonly #count: JointCount;
  readonly #limits: ConcurrencyPolicy;
  readonly #freed: () => void;

  /** `count`: of the endpoint, the same for as long as it is known. `freed`: a request has given its place back. */
  constructor(count: JointCount, limits: ConcurrencyPolicy, freed: () => void) {
    this.#count = count;
    this.#limits = limits;
    this.#freed = freed;
  }

  look(): Hindrance | null {
    const { soft, hard } = this.#limits;
    const { count } = this.#count;
    if (hard > 0 && count >= hard) return "full";
    return soft > 0 && count >= soft ? "busy" : null;
  }

  enter(): Visit | null {
    return this.#count.take(this.#limits.hard) ? new Place(this.#count, this.#freed) : null;
  }
}

class Place implements Visit {
  readonly #count: JointCount;
  readonly #freed: () => void;

  constructor(count: JointCount, freed: () => void) {
    this.#count = count;
    this.#freed = freed;
  }

  answered(): void {}

  ended(): void {
    this.#count.release();
    this.#freed();
  }
}
