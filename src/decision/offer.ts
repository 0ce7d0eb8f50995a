/** Endpoints by what can be done with them for one request: `Choice` decides among these. */
import type { EndpointRecord } from "../table/record.ts";
import type { Finding, When } from "./trace.ts";

export interface Offer {
  /** VMs here; the busy ones only if there are no others. */
  readonly available: readonly EndpointRecord[];
  readonly unprobed: readonly EndpointRecord[];
  /** Nobody needs to wait for the verdict on any of the unprobed ones: it has been waited for. */
  readonly overdue: boolean;
  /** Those that have just failed or are busy only if there are no others. */
  readonly regions: readonly EndpointRecord[];
  /** Ejected, and due for a trial. */
  readonly onTrial: readonly EndpointRecord[];
  readonly full: readonly EndpointRecord[];
  /** How many are regions which the request comes from. */
  readonly passed: number;
  readonly cordoned: number;
  /** How many have an open breaker. */
  readonly open: number;
}

/** Looks at endpoints for a request. */
export interface Finder {
  find(endpoint: EndpointRecord, when: When): Finding;
  /** Its breaker is open. Whether it may be chosen all the same, since that is to refuse the request. */
  mayBeChosenShut(endpoint: EndpointRecord): boolean;
}

/** Few requests meet any of these; but then it may be all of thousands. */
class Hindered {
  readonly busy: EndpointRecord[] = [];
  readonly onTrial: EndpointRecord[] = [];
  readonly full: EndpointRecord[] = [];
  passed = 0;
  cordoned = 0;

  take(endpoint: EndpointRecord, finding: "busy" | "trial" | "full" | "passed" | "draining"): void {
    switch (finding) {
      case "busy":
        return void this.busy.push(endpoint);
      case "trial":
        return void this.onTrial.push(endpoint);
      case "full":
        return void this.full.push(endpoint);
      case "passed":
        return void this.passed++;
      case "draining":
        return void this.cordoned++;
    }
  }
}

const NONE: readonly EndpointRecord[] = [];
export const NOTHING: Offer = {
  available: NONE,
  unprobed: NONE,
  overdue: true,
  regions: NONE,
  onTrial: NONE,
  full: NONE,
  passed: 0,
  cordoned: 0,
  open: 0,
};

export function offerOf(endpoints: readonly EndpointRecord[], when: When, finder: Finder): Offer {
  const available: EndpointRecord[] = [], unprobed: EndpointRecord[] = [];
  const regions: EndpointRecord[] = [], failing: EndpointRecord[] = [];
  let hindered: Hindered | null = null;
  let open = 0;
  let overdue = true;
  for (const endpoint of endpoints) {
    const finding = finder.find(endpoint, when);
    switch (finding) {
      case "available":
        (endpoint.kind === "vm" ? available : regions).push(endpoint);
        break;
      case "open":
        open++;
        if (finder.mayBeChosenShut(endpoint)) (endpoint.kind === "vm" ? available : regions).push(endpoint);
        break;
      case "failing":
        failing.push(endpoint);
        break;
      case "unprobed":
      case "overdue":
        overdue &&= finding === "overdue";
        unprobed.push(endpoint);
        break;
      case "busy":
        if (endpoint.kind === "vm") (hindered ??= new Hindered()).take(endpoint, finding);
        else failing.push(endpoint);
        break;
      case "trial":
      case "full":
      case "passed":
      case "draining":
        (hindered ??= new Hindered()).take(endpoint, finding);
        break;
      case "tried":
      case "weightless":
      case "ejected":
      case "unhealthy":
    }
  }
  return {
    available: available.length > 0 ? available : hindered?.busy ?? NONE,
    unprobed,
    overdue,
    regions: regions.length > 0 ? regions : failing,
    onTrial: hindered?.onTrial ?? NONE,
    full: hindered?.full ?? NONE,
    passed: hindered?.passed ?? 0,
    cordoned: hindered?.cordoned ?? 0,
    open,
  };
}
