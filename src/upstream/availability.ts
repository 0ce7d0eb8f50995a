/** The one verdict on an endpoint: may a request be sent there now. */

import type { Hindrance } from "./endpoint-watch.ts";

/** The verdict of probes on a VM endpoint. */
export type HealthVerdict = "unprobed" | "healthy" | "unhealthy";

/**
 * `unprobed`: ask for a probe and wait. `overdue`: so it was a while ago, and there is no verdict yet. `failing`: a region that has just
 * refused a connection, the last one to try. `draining`: an operator has cordoned it, whatever its health.
 *
 * By the watch of a policy: `ejected` for what live traffic saw, or to be tried again (`trial`); its breaker is `open`; it is `full`, carrying as many requests as it may;
 * it is `busy`, carrying so many that others come first.
 */
export type Availability = "unprobed" | "overdue" | "available" | "unhealthy" | "failing" | "draining" | Hindrance;
