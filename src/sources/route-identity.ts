/** How routes of one set are told apart: by their ids, and by what they match. */
import type { PolicyRoute, RouteMatch } from "../table/policy.ts";
import type { PolicyProblems } from "./policy-problems.ts";
import type { ValuePath } from "./placed-value.ts";

/** Of routes that say no id: what they match, told apart by a number. */
export class RouteIds {
  readonly #taken: Set<string> = new Set();
  /** The last number behind a stem: thousands of routes may match the same. */
  readonly #numbers: Map<string, number> = new Map();

  /** All that are written must be told before the first is made. False: it has been taken. */
  take(id: string): boolean {
    if (this.#taken.has(id)) return false;
    this.#taken.add(id);
    return true;
  }

  make(hosts: readonly string[], { path }: RouteMatch): string {
    const stem = `${hosts[0] ?? "*"}${path.value}`.replaceAll(/[^A-Za-z0-9._:/*@+-]/g, "_").slice(0, 100);
    let number = this.#numbers.get(stem) ?? 0;
    let id: string;
    do id = ++number === 1 ? stem : `${stem}-${number}`; while (!this.take(id));
    this.#numbers.set(stem, number);
    return id;
  }
}

/** Of two that match exactly the same, the second gets nothing. */
export function noteConflicts(
  routes: readonly { readonly route: PolicyRoute; readonly path: ValuePath }[],
  problems: PolicyProblems,
): void {
  const first = new Map<string, PolicyRoute>();
  for (const { route, path } of routes) {
    const { match, priority } = route;
    const named = [match.headers, match.cookies, match.query].map((each) => each.map((one) => JSON.stringify(one)).sort());
    const rest = JSON.stringify([priority, match.path, [...match.methods].sort(), named, match.routeKey, match.routeKeyLike]);
    const before = new Set<PolicyRoute>();
    for (const host of route.hosts.length === 0 ? ["*"] : route.hosts) {
      const other = first.get(`${host} ${rest}`);
      if (other === undefined) first.set(`${host} ${rest}`, route);
      else if (!before.has(other)) {
        before.add(other);
        const what = route.hosts.length > 1 ? `for ${host} ` : "";
        problems.note(path, `conflict: ${what}it matches exactly what ${other.origin} (${other.id}) matches, which comes first`);
      }
    }
  }
}
