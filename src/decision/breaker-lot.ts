/*  Nothing is under way where a breaker is open and fails fast, so whoever goes by that would find such an endpoint the best of all, and
 *  nearly every request would be refused. So it gets its share by lot, and the others share the rest by what is under way.
 */
import type { ServiceEndpoint } from "../table/policy.ts";

/** Of the endpoints those among which to choose: either those that are shut, or the others. `random`: in [0, 1). */
export function byLot(
  endpoints: readonly ServiceEndpoint[],
  shut: ReadonlySet<string>,
  random: () => number,
): readonly ServiceEndpoint[] {
  const others = endpoints.filter(({ key }) => !shut.has(key));
  if (others.length === 0 || others.length === endpoints.length) return endpoints;
  let left = random() * endpoints.reduce((sum, { weight }) => sum + weight, 0);
  const drawn = endpoints.find(({ weight }) => (left -= weight) < 0);
  return drawn !== undefined && shut.has(drawn.key) ? endpoints.filter(({ key }) => shut.has(key)) : others;
}
