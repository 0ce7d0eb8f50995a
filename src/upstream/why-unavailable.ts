/** Why none of a service's endpoints can take a request, in words: for whoever reads of the refusal. */
import type { EndpointRecord } from "../table/record.ts";
import type { Endpoints, EndpointState } from "./endpoint-state.ts";

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
function whyNot({ cordoned, record, verdict, unhealthyReason }: EndpointState): string {
  if (cordoned) return "cordoned";
  if (record.kind === "region" || verdict === "healthy") return "";
  return verdict === "unhealthy" ? unhealthyReason || "unhealthy" : "no verdict of a probe in time";
}
