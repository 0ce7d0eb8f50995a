/** What has stood in the way of one request so far. Most meet nothing, and have none of these. */
import type { ProxyError } from "../observation/proxy-error.ts";
import type { EndpointRecord } from "../table/record.ts";

/** How often an endpoint is decided on that then lets nobody in; afterwards each time one less is decided on. */
const MAX_SHUT_OUTS = 4;

export class Setbacks {
  /** Endpoints that decisions to come leave out; null: none. */
  tried: ReadonlySet<string> | null = null;
  /** The endpoint that the request was sent to again after a fresh probe. */
  probedAgain: string | null = null;
  /** Why an endpoint that needs no probe, or has passed it, could not be reached: what a refusal says when nothing is left to try. */
  unreachable: ProxyError | null = null;
  /** Since when it has waited for another table. */
  contradictedAtMs: number | null = null;
  /** It is tried again: also where it was, if there is nothing else. */
  mayReturn = false;
  /** A pooled connection has turned out dead, and others may be: the next attempts go on new ones. */
  staleConnection = false;
  #shutOuts = 0;

  /** Of all decisions to come. */
  leaveOut({ key }: EndpointRecord): void {
    this.tried = this.with(key);
  }

  /** What would be left out if this were, too. */
  with(key: string): ReadonlySet<string> {
    return new Set(this.tried).add(key);
  }

  /** Others have been faster since the decision. */
  shutOut(record: EndpointRecord): void {
    if (++this.#shutOuts > MAX_SHUT_OUTS) this.leaveOut(record);
  }

  /** Nothing is left: whether everything may be tried once more. */
  startOver(): boolean {
    if (!this.mayReturn || this.tried === null) return false;
    this.mayReturn = false;
    this.tried = null;
    return true;
  }
}
