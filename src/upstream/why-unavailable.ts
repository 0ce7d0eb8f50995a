/** Why none of a service's endpoints can take a request, in words: for whoever reads of the refusal. */
import type { EndpointRecord } from "../table/record.ts";
import type { Endpoints, EndpointState } from "./endpoint-state.ts";
import type { Hindrance } from "./endpoint-watch.ts";

/** Of those that keep requests away. */
const HINDRANCE_TEXTS: Readonly<Record<Hindrance, string>> = {
  ejected: "ejected for what live traffic met there",
  trial: "ejected for what live traffic met there",
  open: "its breaker is open",
  full: "carries as many requests as it may",
  busy: "",
};

/** The others are only counted. */
const NAMED = 2;

/** Of the VMs, or only of what is cordoned: `vm/10.0.0.5:80: status 500; vm/10.0.0.6:80: connection refused; 3 more`. */
export function whyUnavailable(records: readonly EndpointRecord[], onlyCordoned: boolean, endpoints: Endpoints): string {
  let text = "";
  let count = 0;
  for (const record of records) {
    const state = endpoints.of(record);
    const why = onlyCordoned && !state.cordoned ? "" : whyNot(state);
    if (why === "") continue;
    if (++count <= NAMED) text += `${count === 1 ? "" : "; "}${record.key}: ${why}`;
  }
  return count > NAMED ? `${text}; ${count - NAMED} more` : text;
}

/** Empty: it can, or is a region, of which failures tell. */
function whyNot({ cordoned, isProbed, verdict, unhealthyReason, watch }: EndpointState): string {
  if (cordoned) return "cordoned";
  if (!isProbed || verdict === "healthy") return watch === null ? "" : HINDRANCE_TEXTS[watch.look() ?? "busy"];
  return verdict === "unhealthy" ? unhealthyReason || "unhealthy" : "no verdict of a probe in time";
}
