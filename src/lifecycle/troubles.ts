/*  Which guards of a worker keep requests away now: breakers that are not closed, endpoints that are ejected. Guards say so when somebody
 *  meets them like that, so nobody has to look at all of them, who may be 100,000.
 */
import type { Trouble, TroubleKind } from "../observation/policed-figures.ts";

/** Of those that are told. */
const MOST = 1000;

/** null: none. */
interface Troubled {
  readonly service: string;
  readonly trouble: () => TroubleKind | null;
}

export class Troubles {
  /** By name; a breaker and an ejection may have the same. */
  readonly #breakers: Map<string, Troubled> = new Map();
  readonly #ejections: Map<string, Troubled> = new Map();

  breaker(name: string, troubled: Troubled): void {
    this.#breakers.set(name, troubled);
  }

  ejection(name: string, troubled: Troubled): void {
    this.#ejections.set(name, troubled);
  }

  /** Nobody speaks to these endpoints any more. */
  forget(name: string): void {
    this.#breakers.delete(name);
    this.#ejections.delete(name);
  }

  /** Other policies are in force, and all guards are made anew. */
  clear(): void {
    this.#breakers.clear();
    this.#ejections.clear();
  }

  /** As of now; what is over is forgotten. */
  list(): Trouble[] {
    return [...listOf(this.#breakers), ...listOf(this.#ejections)];
  }
}

function listOf(all: Map<string, Troubled>): Trouble[] {
  const list: Trouble[] = [];
  for (const [name, { service, trouble }] of all) {
    const kind = trouble();
    if (kind === null) all.delete(name);
    else if (list.push({ name, service, kind }) >= MOST) break;
  }
  return list;
}
