/*  The data plane's Hono app: the life of one request, phase by phase.
 *
 *      head read -> decide -> forward, or fall back --------------------------> answered by the endpoint
 *                     ^  |       \-- failed --> consequence --> decide anew, or try again, or refuse
 *                     |  |-> probe first (wait for the verdict), then decide
 *                     |  |-> table first (wait for a new one), then decide
 *                     |  '-> refuse: an own answer
 *                     '--------'
 *
 *  Middleware put in front (`createEdge(parts, app)`) runs before the first decision. The handler answers through the
 *  exchange, so a forwarded request never becomes a Fetch API Response.
 */
import { Hono } from "hono";
import { endpointsMeant } from "./decision/by-policy.ts";
import { decide, type Surroundings } from "./decision/decide.ts";
import type { Decision } from "./decision/decision.ts";
import { type MatchedRoute, matchRoute } from "./decision/match-route.ts";
import type { LimitVerdict } from "./decision/policy-hooks.ts";
import { limitFields } from "./decision/rate-limits.ts";
import type { Exchange } from "./downstream/exchange.ts";
import { type EdgeEnv, edgePath, EdgeRouter, onWire } from "./downstream/hono-request.ts";
import { Attempt, type AttemptEnvironment, type AttemptOwner } from "./forwarding/attempt.ts";
import { type AttemptPlan, planOf } from "./forwarding/attempt-plan.ts";
import { consequence, isIdempotent, speaksOfHealth } from "./forwarding/failure.ts";
import { afterBackoff, Retries } from "./forwarding/retries.ts";
import { PlaceWait } from "./forwarding/place-wait.ts";
import { schemeOf, viaOf } from "./forwarding/request-fields.ts";
import { ExchangeView } from "./forwarding/request-view.ts";
import type { Log } from "./observation/log.ts";
import type { Metrics } from "./observation/metrics.ts";
import type { AnswerCode, ProxyError } from "./observation/proxy-error.ts";
import { partsOfKey, type PolicyService } from "./table/policies.ts";
import type { EndpointRecord } from "./table/record.ts";
import { type Endpoints, type EndpointState, PROBE_SOON_MS } from "./upstream/endpoint-state.ts";
import type { Visit } from "./upstream/endpoint-watch.ts";
import type { PlaceQueues } from "./upstream/place-queue.ts";
import { VerdictWait } from "./upstream/verdict-wait.ts";
import { whyUnavailable } from "./upstream/why-unavailable.ts";

/** What the phases work with; one object per worker. */
export interface EdgeParts extends AttemptEnvironment {
  readonly surroundings: Surroundings;
  readonly endpoints: Endpoints;
  readonly queues: PlaceQueues;
  readonly metrics: Metrics;
  readonly log: Log;
  /** How long a request waits for the verdict of a probe; then the VM counts as unhealthy for this request. */
  readonly verdictTimeoutMs: number;
  /** Lines for the answer of an endpoint under a policy, so that the client comes back to it; empty: none. */
  stickyField(matched: MatchedRoute, endpoint: EndpointRecord, secure: boolean): string;
  /** Our table contradicts another region's: one of the two is behind. */
  contradicted(): void;
}

/** What a verdict may take besides a probe that its service wants. */
const PROBE_DELAY_MS = 1000;
/** How long a request waits for our table to change when it contradicts another region's. */
const TABLE_PATIENCE_MS = 2000;
const TABLE_LOOK_MS = 50;
/** How often an endpoint is decided on that then lets nobody in; afterwards each time one less is decided on. */
const MAX_SHUT_OUTS = 4;

/** `app`: with users' middleware already in it. */
export function createEdge(parts: EdgeParts, app: Hono<EdgeEnv> = plainApp()): Hono<EdgeEnv> {
  app.all("*", (c) => {
    new Passage(c.env.exchange, parts).route();
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

/** One request on its way: what has been tried, and what comes next. */
class Passage implements AttemptOwner {
  readonly #exchange: Exchange;
  readonly #parts: EdgeParts;
  /** Asked for once; null: no policy applies. */
  #matched: MatchedRoute | null | undefined;
  #plan: AttemptPlan | null = null;
  retries: Retries | null = null;
  /** It is tried again: also where it was, if there is nothing else. */
  #mayReturn = false;
  #tried: Set<string> | null = null;
  #probedAgain: string | null = null;
  #shutOuts = 0;
  /** The answer says what is left of the route's rate limit. */
  #limitTold = false;
  /** The attempt under way goes to where the host led before. */
  #fallenBack = false;
  /** Since when it has waited for another table. */
  #contradictedAtMs: number | null = null;
  /** Why an endpoint that needs no probe, or has passed it, could not be reached: what a refusal says when nothing is left to try. */
  #unreachable: ProxyError | null = null;

  constructor(exchange: Exchange, parts: EdgeParts) {
    this.#exchange = exchange;
    this.#parts = parts;
  }

  /** Decide, and carry the decision out. */
  route(): void {
    const exchange = this.#exchange;
    if (exchange.ended) return; // the client has gone while middleware took its time
    if (this.#matched === undefined && !this.#match()) return;
    const decision = this.#decide(this.#tried);
    if (this.#mayReturn && decision.kind === "refuse" && this.#tried !== null) {
      this.#mayReturn = false;
      this.#tried = null;
      return this.route();
    }
    this.#carryOut(decision);
  }

  /** Whether there is something to decide yet. */
  #match(): boolean {
    const { table } = this.#parts.surroundings;
    this.#matched = null;
    if (table.policies.empty) return true;
    const exchange = this.#exchange;
    if (!table.policies.mayConcern(exchange.host)) return this.#fits();
    const view = new ExchangeView(exchange, this.#parts.identity.isTrusted);
    const matched = matchRoute(view, this.#parts.surroundings);
    if (matched === null) return this.#fits();
    if (typeof matched === "string") return this.#malformed(matched);
    const plan = planOf(matched, view, this.#parts.identity);
    if (typeof plan === "string") return this.#malformed(plan);
    this.#matched = matched;
    this.#plan = plan;
    exchange.record.policy = matched.route.id;
    exchange.record.service = matched.service?.name ?? "";
    exchange.takeTerms(plan);
    const retry = matched.service?.policy.retry ?? null;
    if (retry !== null) this.retries = new Retries(exchange, retry, this.#parts.metrics, this.#parts.surroundings.random);
    return this.#fits();
  }

  /** Of a body whose length may depend on its route. */
  #fits(): boolean {
    const exchange = this.#exchange;
    if (!exchange.bodyTooLong) return true;
    exchange.record.problem = `A request body of ${exchange.requestLength} bytes`;
    this.#refuse("body_too_large");
    return false;
  }

  /** There is nothing to decide. */
  #malformed(problem: string): false {
    this.#exchange.record.problem = problem;
    this.#refuse("bad_request");
    return false;
  }

  #decide(tried: ReadonlySet<string> | null): Decision {
    const exchange = this.#exchange;
    const matched = this.#matched ?? null;
    const asked = { host: matched === null ? exchange.host : matched.host, via: viaOf(exchange), tried, matched };
    const decision = decide(asked, this.#parts.surroundings);
    if (matched !== null && matched.limit !== null && !this.#limitTold) this.#tellLimit(matched.route, matched.limit);
    if (this.#parts.log.enabled("debug")) {
      const { policy, service } = exchange.record;
      const under = policy === "" ? {} : { policy, service };
      this.#parts.log.debug("decision", { request_id: exchange.requestId, host: exchange.host, ...under, ...decision });
    }
    return decision;
  }

  /** Whatever the answer will be. */
  #tellLimit({ rateLimit }: MatchedRoute["route"], verdict: LimitVerdict): void {
    this.#limitTold = true;
    this.#exchange.answerFields += limitFields(verdict, rateLimit!.windowMs);
  }

  #carryOut(decision: Decision): void {
    this.#fallenBack = decision.kind === "fall-back";
    switch (decision.kind) {
      case "forward":
        return this.#forward(this.#parts.endpoints.of(decision.endpoint), false);
      case "fall-back":
        return this.#fallBack(decision.endpoint, decision.probe);
      case "probe-first":
        return this.#probeFirst(decision.endpoints, decision.patient);
      case "table-first":
        return this.#tableFirst();
      case "respond":
        return this.#respond(decision);
      case "queue":
        return this.#awaitPlace(decision.endpoints[0]!);
      case "refuse":
        return this.#refuseAsDecided(decision.code);
    }
  }

  /** As an operator has written it. */
  #respond({ answer, why }: Extract<Decision, { kind: "respond" }>): void {
    const own = this.#plan?.ownAnswer(answer, why) ?? null;
    if (own !== null) return this.#exchange.answer(own);
    this.#exchange.answerFields += this.#plan?.fieldsOf(answer) ?? "";
    this.#refuse("maintenance");
  }

  /** At one of the endpoints that carry as many requests as they may: who has waited longest comes first. */
  #awaitPlace(record: EndpointRecord): void {
    const { queues, metrics } = this.#parts;
    const service = this.#serviceOf(record);
    const limits = service?.policy.limits ?? null;
    if (service === undefined || limits === null) return this.#refuse("queue_full"); // another policy has come into force
    const wait = new PlaceWait(this.#exchange, metrics, {
      offer: () => this.#takePlace(),
      timedOut: () => this.#refuseFull("queue_timeout", service.name),
    });
    const queue = queues.of(service.name);
    if (!wait.begin(queue, limits)) return this.#refuseFull("queue_full", service.name);
    queue.freed(); // one may be free that was left to others who wait
  }

  /** null: there is none, or another was faster. */
  #takePlace(): (() => void) | null {
    const decision = this.#decide(this.#tried);
    if (decision.kind === "queue") return null;
    if (decision.kind !== "forward") return () => this.#carryOut(decision);
    const endpoint = this.#parts.endpoints.of(decision.endpoint);
    const visit = endpoint.watch?.enter() ?? null;
    if (endpoint.watch !== null && visit === null) return null;
    return () => this.#attempt(endpoint, false, visit);
  }

  /** Others wait for a place at its service's endpoints, and have come before. */
  #othersWait(record: EndpointRecord): boolean {
    const service = this.#serviceOf(record);
    const limits = service?.policy.limits ?? null;
    return limits !== null && limits.queue > 0 && this.#parts.queues.of(service!.name).anybody;
  }

  #serviceOf(record: EndpointRecord): PolicyService | undefined {
    const { service } = partsOfKey(record.key);
    return service === null ? undefined : this.#parts.surroundings.table.policies.service(service);
  }

  #forward(endpoint: EndpointState, fresh: boolean): void {
    const { watch } = endpoint;
    if (watch !== null && !fresh && this.#othersWait(endpoint.record)) return this.#awaitPlace(endpoint.record);
    const visit = watch === null ? null : watch.enter();
    if (watch !== null && visit === null) return this.#shutOut(endpoint);
    this.#attempt(endpoint, fresh, visit);
  }

  #attempt(endpoint: EndpointState, fresh: boolean, visit: Visit | null): void {
    new Attempt(this.#exchange, endpoint, this.#parts, this, this.#plan, visit).start(fresh);
  }

  /** Others have been faster since the decision. */
  #shutOut({ record }: EndpointState): void {
    if (++this.#shutOuts > MAX_SHUT_OUTS) this.#leaveOut(record);
    this.route();
  }

  /** A probe of where the host leads now has been waited for; now only requests that have nowhere else to go wait for it. */
  #fallBack(record: EndpointRecord, probe: readonly EndpointRecord[]): void {
    const { endpoints, sweep } = this.#parts;
    for (const each of probe) endpoints.of(each).wish(sweep.nowMs);
    this.#forward(endpoints.of(record), false);
  }

  /** Waits for the first verdict on any of them. */
  #probeFirst(records: readonly EndpointRecord[], patient: boolean): void {
    const { endpoints, verdictTimeoutMs } = this.#parts;
    const states = records.map((record) => endpoints.of(record));
    const longest = states.reduce(
      (mostMs, { probeTimeoutMs }) => Math.max(mostMs, probeTimeoutMs + PROBE_DELAY_MS),
      verdictTimeoutMs,
    );
    this.#awaitVerdict(states, patient ? longest : PROBE_SOON_MS, (timely) => {
      if (!timely && patient) { for (const record of records) this.#leaveOut(record); }
      this.route();
    });
  }

  /** Looks at the table again and again: nothing tells whether a change of it concerns this host. */
  #tableFirst(): void {
    const { nowMs } = this.#parts.sweep;
    this.#contradictedAtMs ??= nowMs;
    if (nowMs - this.#contradictedAtMs >= TABLE_PATIENCE_MS) return this.#refuse("loop");
    this.#parts.contradicted();
    this.#awaitVerdict([], TABLE_LOOK_MS, () => this.route());
  }

  /** As long as the client waits. */
  #awaitVerdict(endpoints: readonly EndpointState[], timeoutMs: number, next: (timely: boolean) => void): void {
    const exchange = this.#exchange;
    const { metrics, sweep } = this.#parts;
    const wait = new VerdictWait(sweep, exchange.record, timeoutMs, (timely) => {
      metrics.exchangesWaiting--;
      exchange.onGone = null;
      next(timely);
    });
    metrics.exchangesWaiting++;
    exchange.onGone = () => {
      metrics.exchangesWaiting--;
      wait.giveUp();
    };
    wait.at(endpoints);
  }

  onAnswer({ exchange, endpoint }: Attempt): void {
    const matched = this.#matched;
    if (matched?.service == null) return;
    exchange.answerFields += this.#parts.stickyField(matched, endpoint.record, schemeOf(exchange) === "https");
  }

  onRefusal(attempt: Attempt): boolean {
    const tried = new Set(this.#tried).add(attempt.endpoint.record.key);
    const decision = this.#decide(tried);
    // A fall-back that refuses says nothing of where the host leads now
    if (decision.kind !== "fall-back" && !this.#fallenBack) return false;
    this.#tried = tried;
    attempt.disown();
    this.#carryOut(decision);
    return true;
  }

  onAttemptFailure(attempt: Attempt, error: ProxyError): void {
    const { exchange, endpoint } = attempt;
    const { record } = endpoint;
    exchange.record.problem = error.message;
    if (this.#plan !== null) this.#plan.lastFailure = error.code;
    if (speaksOfHealth(error)) endpoint.failed(error.message, this.#parts.sweep.nowMs);
    const { answered, head } = exchange;
    const staleConnection = error.retry === "if-reused" && isIdempotent(head.method) && !attempt.bodySent;
    if (this.retries !== null && !staleConnection) return this.#retryOrEnd(attempt, error, this.retries);
    const probedAgain = this.#probedAgain === record.key;
    const next = consequence({
      error,
      probed: endpoint.isProbed,
      answered,
      method: head.method,
      bodySent: attempt.bodySent,
      fallBack: this.#fallenBack,
      probedAgain,
    });
    switch (next) {
      case "break-off":
        exchange.record.code = error.code;
        return exchange.reset();
      case "new-connection":
        if (exchange.requestLength !== 0) exchange.pauseRequest(); // nobody takes it before the next attempt
        if (endpoint.cordoned) return this.route();
        this.#parts.metrics.recordRetry("stale_connection");
        return this.#forward(endpoint, true);
      case "probe-again":
        this.#probedAgain = record.key;
        return this.#awaitVerdict([endpoint], this.#parts.verdictTimeoutMs, () => this.#probed(endpoint));
      case "decide-anew":
        this.#parts.metrics.recordRetry("other_endpoint");
        if (!this.#fallenBack) this.#unreachable = error;
        this.#leaveOut(record);
        return this.route();
      case "refuse":
        return this.#refuse(error.code);
    }
  }

  /** By the retry policy of its service. */
  #retryOrEnd(attempt: Attempt, error: ProxyError, retries: Retries): void {
    const waitMs = retries.after(error, attempt);
    if (waitMs !== null) return this.#retry(attempt, waitMs);
    retries.body?.drop();
    if (!this.#exchange.answered) return this.#refuse(error.code);
    this.#exchange.record.code = error.code;
    this.#exchange.reset();
  }

  onUnwanted(attempt: Attempt, status: number): boolean {
    const waitMs = this.retries?.after({ status }, attempt) ?? null;
    if (waitMs === null) return false;
    this.#exchange.record.problem = `The endpoint has answered ${status}`;
    attempt.disown();
    this.#retry(attempt, waitMs);
    return true;
  }

  /** At another endpoint, if there is one. */
  #retry({ endpoint }: Attempt, waitMs: number): void {
    const exchange = this.#exchange;
    this.#leaveOut(endpoint.record);
    this.#mayReturn = true;
    if (exchange.requestLength !== 0) exchange.pauseRequest(); // nobody takes it before the next attempt
    if (waitMs === 0) return this.route();
    const giveUp = afterBackoff(waitMs, () => {
      exchange.onGone = null;
      this.#parts.metrics.exchangesWaiting--;
      this.route();
    });
    this.#parts.metrics.exchangesWaiting++;
    exchange.onGone = () => {
      this.#parts.metrics.exchangesWaiting--;
      giveUp();
    };
  }

  /**
   * The fresh probe after a refused connection: passed, so once more; failed or still out, so without this endpoint; it has left
   * the table or has been cordoned, so by what is the case now.
   */
  #probed(endpoint: EndpointState): void {
    if (endpoint.cordoned) return this.route();
    if (endpoint.verdict === "healthy") {
      this.#parts.metrics.recordRetry("probe_passed");
      return this.#forward(endpoint, true);
    }
    if (!endpoint.orphaned) this.#leaveOut(endpoint.record);
    this.route();
  }

  /** Of all decisions to come. */
  #leaveOut(record: EndpointRecord): void {
    (this.#tried ??= new Set()).add(record.key);
  }

  /** Says which endpoints are meant, unless something has been tried and has said more. */
  #refuseAsDecided(code: Extract<Decision, { kind: "refuse" }>["code"]): void {
    const { record, host } = this.#exchange;
    const { surroundings: { table }, endpoints } = this.#parts;
    const matched = this.#matched ?? null;
    if (record.problem === "" && (code === "vm_unhealthy" || code === "vm_cordoned")) {
      const meant = matched === null ? table.find(host)?.endpoints : endpointsMeant(matched, table);
      record.problem = whyUnavailable(meant ?? [], code === "vm_cordoned", endpoints);
    } else if (code === "no_endpoints" && matched !== null) {
      record.problem = `Service ${matched.service?.name ?? ""} of route ${matched.route.id} has no endpoint that takes requests`;
    } else if (code === "breaker_open" && record.problem === "") {
      record.problem = `The breaker of what could take it of service ${matched?.service?.name ?? ""} is open`;
    }
    if (code === "queue_full") return this.#refuseFull(code, matched?.service?.name ?? "");
    this.#refuse(code === "vm_unhealthy" ? this.#unreachable?.code ?? code : code);
  }

  #refuseFull(code: "queue_full" | "queue_timeout", service: string): void {
    this.#exchange.record.problem = `What could take it of service ${service} carries as many requests as it may`;
    this.#refuse(code);
  }

  #refuse(code: AnswerCode): void {
    const { retries } = this;
    if (retries !== null) {
      retries.body?.drop();
      this.#exchange.answerFields += retries.answerField;
    }
    this.#exchange.refuse(code);
  }
}
