/** Breakers as operators see them. */
import type { Breaker } from "./breaker.ts";

export interface BreakerView {
  /** Of the endpoint, or of the service where there is one for all. */
  readonly name: string;
  readonly service: string;
  readonly state: Breaker["state"];
  /** Until trials begin; 0 where it is not open. */
  readonly openForMs: number;
  /** How often it has opened. */
  readonly opened: number;
  /** In a row. */
  readonly failures: number;
  /** Of a half-open one: trials under way. */
  readonly trials: number;
}

const WORST_LAST: readonly Breaker["state"][] = ["closed", "half-open", "open"];

/** By name; what workers that count alone say differently, as the worst of them says. */
export function mergedBreakers(lists: readonly (readonly BreakerView[])[]): Map<string, BreakerView> {
  const merged = new Map<string, BreakerView>();
  for (const breaker of lists.flat()) {
    const other = merged.get(breaker.name);
    const worse = other === undefined || WORST_LAST.indexOf(breaker.state) > WORST_LAST.indexOf(other.state);
    if (worse) merged.set(breaker.name, breaker);
  }
  return merged;
}
