/** What all workers have counted of targets of routes: as of hosts, with the columns that policies have besides. */
import { HostTraffic } from "../observation/host-traffic.ts";
import { OTHERS, TARGET_COLUMNS, targetKey, targetOf } from "../observation/target-figures.ts";
import type { FilePolicies, PolicyRoute } from "../table/policy.ts";
import { orderNameOf } from "../table/policy-order.ts";
import type { PolicySnapshot } from "./policy-transfer.ts";

export function targetTraffic(snapshot: () => PolicySnapshot, nowMs: () => number): HostTraffic {
  const ofFile: WeakMap<FilePolicies, ReadonlySet<string>> = new WeakMap();
  return new HostTraffic({
    revision: () => snapshot().revision,
    hasRoute: (key) => {
      const { policies: { file, domains } } = snapshot();
      let known = ofFile.get(file);
      if (known === undefined) ofFile.set(file, known = new Set(file.routes.flatMap(keysOf)));
      if (known.has(key)) return true;
      const { route } = targetOf(key);
      if (route === "") return domains.size > 0;
      const own = domains.get(route.slice(0, Math.max(0, route.indexOf("/"))));
      return own !== undefined && own.routes.some((each) => keysOf(each).includes(key));
    },
    nowMs,
    columns: TARGET_COLUMNS,
    others: OTHERS,
  });
}

function keysOf(each: PolicyRoute): string[] {
  const route = orderNameOf(each);
  return each.split.length === 0
    ? [targetKey({ route, service: "" })]
    : each.split.map(({ service }) => targetKey({ route, service }));
}
