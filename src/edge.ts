/*  The data plane's Hono app: the life of one request, phase by phase.
 *
 *      head read -> match -> decide -> forward, or fall back --------------------------> answered by the endpoint
 *                              ^  |       \-- failed --> consequence --> decide anew, or try again, or refuse
 *                              |  |-> probe first (wait for the verdict), then decide
 *                              |  |-> table first (wait for a new one), then decide
 *                              |  |-> queue (wait for a place), then decide
 *                              |  |-> respond: the answer of its route
 *                              |  '-> refuse: an own answer
 *                              '--------'
 *
 *  Each phase is one call; what it does stands in `forwarding/passage.ts`. Middleware put in front (`createEdge(parts, app)`) runs
 *  before the first decision. The handler answers through the exchange, so a forwarded request never becomes a Fetch API Response.
 */
import { Hono } from "hono";
import type { Decision } from "./decision/decision.ts";
import { type EdgeEnv, edgePath, EdgeRouter, onWire } from "./downstream/hono-request.ts";
import type { Attempt } from "./forwarding/attempt.ts";
import type { Consequence } from "./forwarding/failure.ts";
import { Passage, type PassageEnvironment, type Phases } from "./forwarding/passage.ts";
import type { ProxyError } from "./observation/proxy-error.ts";

const PHASES: Phases = { route, carryOut, overcome };

/** `app`: with users' middleware already in it. */
export function createEdge(parts: PassageEnvironment, app: Hono<EdgeEnv> = plainApp()): Hono<EdgeEnv> {
  app.all("*", (c) => {
    route(new Passage(c.env.exchange, parts, PHASES));
    return onWire(c.env);
  });
  return app;
}

/** Without Hono's own answer to handlers that throw: the adapter gives the contract's, and tells of the fault. */
function plainApp(): Hono<EdgeEnv> {
  return new Hono<EdgeEnv>({ getPath: edgePath, router: new EdgeRouter() }).onError((error) => {
    throw error;
  });
}

/** From the head on, or anew after a wait or a failure. */
function route(passage: Passage): void {
  if (passage.exchange.ended) return; // the client has gone while middleware took its time
  if (!passage.match()) return;
  const decision = passage.decide();
  if (decision.kind === "refuse" && passage.startOver()) return route(passage);
  carryOut(passage, decision);
}

function carryOut(passage: Passage, decision: Decision): void {
  passage.fallenBack = decision.kind === "fall-back";
  switch (decision.kind) {
    case "forward":
      return passage.forward(decision.endpoint);
    case "fall-back":
      return passage.fallBack(decision.endpoint, decision.probe);
    case "probe-first":
      return passage.probeFirst(decision.endpoints, decision.patient);
    case "table-first":
      return passage.tableFirst();
    case "respond":
      return passage.respond(decision);
    case "queue":
      return passage.awaitPlace(decision.endpoints[0]!);
    case "refuse":
      return passage.refuseAsDecided(decision.code);
  }
}

/** An attempt has failed. */
function overcome(passage: Passage, { endpoint }: Attempt, error: ProxyError, next: Consequence): void {
  switch (next) {
    case "break-off":
      return passage.breakOff(error);
    case "new-connection":
      return passage.forwardAnew(endpoint);
    case "probe-again":
      return passage.probeAgain(endpoint);
    case "decide-anew":
      passage.recordUnreachable(endpoint, error);
      return route(passage);
    case "refuse":
      return passage.refuse(error.code);
  }
}
