/** One request on its way through the phases of edge.ts: what each of them does with it. */
import { decide } from "../decision/decide.ts";
import type { Decision, RefusalCode } from "../decision/decision.ts";
import type { MatchedRoute } from "../decision/match-route.ts";
import type { Surroundings } from "../decision/surroundings.ts";
import { whyRefused } from "../decision/why-refused.ts";
import type { Exchange } from "../downstream/exchange.ts";
import type { Log } from "../observation/log.ts";
import type { Metrics } from "../observation/metrics.ts";
import { type AnswerCode, blameOf, type ProxyError } from "../observation/proxy-error.ts";
import type { TargetCounts } from "../observation/target-counts.ts";
import type { EndpointRecord } from "../table/record.ts";
import { type Endpoints, type EndpointState, PROBE_SOON_MS } from "../upstream/endpoint-state.ts";
import type { Visit } from "../upstream/endpoint-watch.ts";
import type { PlaceQueues } from "../upstream/place-queue.ts";
import type { RetryBudgets } from "../upstream/retry-budget.ts";
import { Attempt, type AttemptEnvironment, type AttemptOwner } from "./attempt.ts";
import { type Consequence, consequence, isIdempotent, speaksOfHealth } from "./failure.ts";
import { awaitPlace, othersWait } from "./place-wait.ts";
import { schemeOf, viaOf } from "./request-fields.ts";
import type { Retries } from "./retries.ts";
import { Setbacks } from "./setbacks.ts";
import { type UnderPolicy, underPolicy } from "./under-policy.ts";
import { awaitBackoff, awaitVerdict } from "./waits.ts";

/** What passages work with; one object per worker. */
export interface PassageEnvironment extends AttemptEnvironment {
  readonly surroundings: Surroundings;
  readonly endpoints: Endpoints;
  readonly queues: PlaceQueues;
  readonly budgets: RetryBudgets;
  readonly metrics: Metrics;
  readonly targets: TargetCounts;
  readonly log: Log;
  /** How long a request waits for the verdict of a probe; then the VM counts as unhealthy for this request. */
  readonly verdictTimeoutMs: number;
  /** Lines for the answer of an endpoint under a policy, so that the client comes back to it; empty: none. */
  stickyField(matched: MatchedRoute, endpoint: EndpointRecord, secure: boolean): string;
  /** Our table contradicts another region's: one of the two is behind. */
  contradicted(): void;
}

/** How a passage goes on. */
export interface Phases {
  /** By a new decision. */
  route(passage: Passage): void;
  carryOut(passage: Passage, decision: Decision): void;
  overcome(passage: Passage, attempt: Attempt, error: ProxyError, next: Consequence): void;
}

/** What a verdict may take besides a probe that its service wants. */
const PROBE_DELAY_MS = 1000;
/** How long a request waits for our table to change when it contradicts another region's. */
const TABLE_PATIENCE_MS = 2000;
const TABLE_LOOK_MS = 50;
const FALLBACK = "A breaker is open, the fallback of its policy has answered";

export class Passage implements AttemptOwner {
  readonly exchange: Exchange;
  readonly #parts: PassageEnvironment;
  readonly #phases: Phases;
  /** Asked for once; null: no policy applies. */
  #policy: UnderPolicy | null | undefined;
  retries: Retries | null = null;
  #setbacks: Setbacks | null = null;
  /** The attempt under way goes to where the host led before. */
  fallenBack = false;

  constructor(exchange: Exchange, parts: PassageEnvironment, phases: Phases) {
    this.exchange = exchange;
    this.#parts = parts;
    this.#phases = phases;
  }

  // ---- match and decide

  /** Whether there is something to decide; else it has been answered. */
  match(): boolean {
    if (this.#policy !== undefined) return true;
    this.#policy = null;
    const { policies } = this.#parts.surroundings.table;
    if (policies.empty) return true;
    const { exchange } = this;
    const found = policies.mayConcern(exchange.host) ? underPolicy(exchange, this.#parts) : null;
    if (typeof found === "string") return this.#unanswerable("bad_request", found);
    if (found !== null) {
      this.#policy = found;
      this.retries = found.retries;
    }
    // A body whose length may depend on its route
    return !exchange.bodyTooLong || this.#unanswerable("body_too_large", `A request body of ${exchange.requestLength} bytes`);
  }

  #unanswerable(code: AnswerCode, problem: string): false {
    this.exchange.record.problem = problem;
    this.refuse(code);
    return false;
  }

  decide(tried: ReadonlySet<string> | null = this.#tried): Decision {
    const { exchange } = this;
    const matched = this.#policy?.matchedNow(this.#parts.surroundings.table.policies) ?? null;
    const asked = { host: matched === null ? exchange.host : matched.host, via: viaOf(exchange), tried, matched };
    const decision = decide(asked, this.#parts.surroundings);
    if (matched !== null) this.#policy!.tellLimit(exchange);
    if (this.#parts.log.enabled("debug")) {
      const { policy, service } = exchange.record;
      const under = policy === "" ? {} : { policy, service };
      this.#parts.log.debug("decision", { request_id: exchange.requestId, host: exchange.host, ...under, ...decision });
    }
    return decision;
  }

  /** Nothing is left to try: whether it is tried from the beginning. */
  startOver(): boolean {
    return this.#setbacks !== null && this.#setbacks.startOver();
  }

  get #matched(): MatchedRoute | null {
    return this.#policy == null ? null : this.#policy.matched;
  }

  get #tried(): ReadonlySet<string> | null {
    return this.#setbacks === null ? null : this.#setbacks.tried;
  }

  get #met(): Setbacks {
    return this.#setbacks ??= new Setbacks();
  }

  // ---- what is decided

  forward(record: EndpointRecord): void {
    this.#forward(this.#parts.endpoints.of(record), false);
  }

  #forward(endpoint: EndpointState, fresh: boolean): void {
    const { watch, record } = endpoint;
    if (watch === null) return this.#attempt(endpoint, fresh, null);
    if (!fresh && othersWait(record, this.#parts.surroundings.table.policies, this.#parts.queues)) return this.awaitPlace(record);
    const visit = watch.enter();
    if (visit !== null) return this.#attempt(endpoint, fresh, visit);
    this.#met.shutOut(record);
    this.#phases.route(this);
  }

  #attempt(endpoint: EndpointState, fresh: boolean, visit: Visit | null): void {
    const plan = this.#policy == null ? null : this.#policy.plan;
    new Attempt(this.exchange, endpoint, this.#parts, this, plan, visit).start(fresh || this.#setbacks?.staleConnection === true);
  }

  /** A probe of where the host leads now has been waited for; now only requests that have nowhere else to go wait for it. */
  fallBack(record: EndpointRecord, probe: readonly EndpointRecord[]): void {
    const { endpoints, sweep } = this.#parts;
    for (const each of probe) endpoints.of(each).wish(sweep.nowMs);
    this.forward(record);
  }

  /** Waits for the first verdict on any of them. */
  probeFirst(records: readonly EndpointRecord[], patient: boolean): void {
    const { endpoints, verdictTimeoutMs } = this.#parts;
    const states = records.map((record) => endpoints.of(record));
    const longest = states.reduce(
      (mostMs, { probeTimeoutMs }) => Math.max(mostMs, probeTimeoutMs + PROBE_DELAY_MS),
      verdictTimeoutMs,
    );
    awaitVerdict(this.exchange, this.#parts, states, patient ? longest : PROBE_SOON_MS, (timely) => {
      if (!timely && patient) { for (const record of records) this.#met.leaveOut(record); }
      this.#phases.route(this);
    });
  }

  /** Looks at the table again and again: nothing tells whether a change of it concerns this host. */
  tableFirst(): void {
    const { sweep: { nowMs } } = this.#parts;
    const sinceMs = this.#met.contradictedAtMs ??= nowMs;
    if (nowMs - sinceMs >= TABLE_PATIENCE_MS) return this.refuse("loop");
    this.#parts.contradicted();
    awaitVerdict(this.exchange, this.#parts, [], TABLE_LOOK_MS, () => this.#phases.route(this));
  }

  /** As an operator has written it. */
  respond(decision: Extract<Decision, { kind: "respond" }>): void {
    const own = this.#policy?.ownAnswer(this.exchange, decision) ?? null;
    if (own === null) return this.refuse("maintenance");
    if (decision.why === "maintenance") { // contract, section 8: why it is not the usual answer
      this.exchange.record.code = "maintenance";
      this.exchange.answerFields += `X-Edgeproxy-Error: maintenance\r\nX-Edgeproxy-Blame: ${blameOf("maintenance", null)}\r\n`;
    }
    this.retries?.body?.drop(); // of attempts before
    if (decision.why === "breaker") this.exchange.record.problem ||= FALLBACK;
    this.exchange.answer(own);
  }

  /** At one of the endpoints that carry as many requests as they may. */
  awaitPlace(record: EndpointRecord): void {
    awaitPlace(this.exchange, record, this.#parts, { offer: () => this.#takePlace(), refuse: (code) => this.refuse(code) });
  }

  /** null: there is none, or another was faster. */
  #takePlace(): (() => void) | null {
    const decision = this.decide();
    if (decision.kind === "queue") return null;
    if (decision.kind !== "forward") return () => this.#phases.carryOut(this, decision);
    const endpoint = this.#parts.endpoints.of(decision.endpoint);
    const visit = endpoint.watch?.enter() ?? null;
    if (endpoint.watch !== null && visit === null) return null;
    return () => {
      this.exchange.requestProgressed(); // the endpoint has not been silent meanwhile
      this.#attempt(endpoint, false, visit);
    };
  }

  /** Says which endpoints are meant, unless something has been tried and has said more. */
  refuseAsDecided(code: RefusalCode): void {
    const { host, record } = this.exchange;
    const { surroundings: { table }, endpoints } = this.#parts;
    record.problem = whyRefused(code, { host, matched: this.#matched, problem: record.problem }, table, endpoints);
    this.refuse(code === "vm_unhealthy" ? this.#setbacks?.unreachable?.code ?? code : code);
  }

  refuse(code: AnswerCode): void {
    this.retries?.body?.drop();
    this.exchange.refuse(code);
  }

  // ---- what attempts meet

  onAnswer({ exchange, endpoint }: Attempt): void {
    const matched = this.#matched;
    if (matched?.service == null) return;
    exchange.answerFields += this.#parts.stickyField(matched, endpoint.record, schemeOf(exchange) === "https");
  }

  onRefusal(attempt: Attempt): boolean {
    const tried = this.#met.with(attempt.endpoint.record.key);
    const decision = this.decide(tried);
    // A fall-back that refuses says nothing of where the host leads now
    if (decision.kind !== "fall-back" && !this.fallenBack) return false;
    this.#met.tried = tried;
    attempt.disown();
    this.#phases.carryOut(this, decision);
    return true;
  }

  onUnwanted(attempt: Attempt, status: number): boolean {
    const waitMs = this.retries?.after({ status }, attempt) ?? null;
    if (waitMs === null) return false;
    this.exchange.record.problem = `The endpoint has answered ${status}`;
    attempt.disown();
    this.#retry(attempt, waitMs);
    return true;
  }

  onAttemptFailure(attempt: Attempt, error: ProxyError): void {
    const { exchange, endpoint } = attempt;
    exchange.record.problem = error.message;
    if (this.#policy != null) this.#policy.plan.lastFailure = error.code;
    if (speaksOfHealth(error)) endpoint.failed(error.message, this.#parts.sweep.nowMs);
    const { answered, head: { method } } = exchange;
    const { bodySent } = attempt;
    const staleConnection = error.retry === "if-reused" && isIdempotent(method) && !bodySent;
    if (this.retries !== null && (!staleConnection || this.retries.countsReplacements)) {
      if (staleConnection) this.#met.staleConnection = true;
      return this.#retryOrEnd(attempt, this.retries, error, staleConnection);
    }
    const probedAgain = this.#setbacks?.probedAgain === endpoint.record.key;
    const failed = { error, probed: endpoint.isProbed, answered, method, bodySent, fallBack: this.fallenBack, probedAgain };
    this.#phases.overcome(this, attempt, error, consequence(failed));
  }

  /** By the retry policy of its service. */
  #retryOrEnd(attempt: Attempt, retries: Retries, error: ProxyError, stale: boolean): void {
    const waitMs = retries.after(error, attempt, stale);
    if (waitMs !== null) return this.#retry(attempt, waitMs);
    retries.body?.drop();
    if (this.exchange.answered) this.breakOff(error);
    else this.refuse(error.code);
  }

  /** At another endpoint, if there is one. */
  #retry({ endpoint }: Attempt, waitMs: number): void {
    const setbacks = this.#met;
    setbacks.leaveOut(endpoint.record);
    setbacks.mayReturn = true;
    this.#holdBody();
    const { exchange } = this;
    exchange.requestProgressed(); // what the one before has kept silent about is not this one's
    if (waitMs === 0) return this.#phases.route(this);
    awaitBackoff(exchange, this.#parts, waitMs, () => {
      exchange.requestProgressed();
      this.#phases.route(this);
    });
  }

  // ---- what failures lead to

  /** The answer has begun: it must not look complete. */
  breakOff({ code }: ProxyError): void {
    this.exchange.record.code = code;
    this.exchange.reset();
  }

  /** The one it had was stale. */
  forwardAnew(endpoint: EndpointState): void {
    this.#holdBody();
    if (endpoint.cordoned) return this.#phases.route(this);
    this.#parts.metrics.recordRetry("stale_connection");
    this.#forward(endpoint, true);
  }

  probeAgain(endpoint: EndpointState): void {
    this.#met.probedAgain = endpoint.record.key;
    awaitVerdict(this.exchange, this.#parts, [endpoint], this.#parts.verdictTimeoutMs, () => this.#probed(endpoint));
  }

  /**
   * The fresh probe after a refused connection: passed, so once more; failed or still out, so without this endpoint; it has left
   * the table or has been cordoned, so by what is the case now.
   */
  #probed(endpoint: EndpointState): void {
    if (endpoint.cordoned) return this.#phases.route(this);
    if (endpoint.verdict === "healthy") {
      this.#parts.metrics.recordRetry("probe_passed");
      return this.#forward(endpoint, true);
    }
    if (!endpoint.orphaned) this.#met.leaveOut(endpoint.record);
    this.#phases.route(this);
  }

  /** The next decision is without it. */
  recordUnreachable({ record }: EndpointState, error: ProxyError): void {
    this.#parts.metrics.recordRetry("other_endpoint");
    if (!this.fallenBack) this.#met.unreachable = error;
    this.#met.leaveOut(record);
  }

  /** Nobody takes it before the next attempt. */
  #holdBody(): void {
    if (this.exchange.requestLength !== 0) this.exchange.pauseRequest();
  }
}
