/** What the policy of its route and service makes of an exchange; null stands for a request without one, and costs nothing. */
import type { OwnAnswerReason } from "../decision/decision.ts";
import { edgeWordLine } from "../decision/edge-word.ts";
import type { MatchedRoute } from "../decision/match-route.ts";
import type { ExchangeTerms } from "../downstream/exchange-terms.ts";
import type { OwnAnswer, OwnWords } from "../downstream/own-answer.ts";
import { type AnswerCode, blameOf } from "../observation/proxy-error.ts";
import { isEdge, type PolicyService } from "../table/policies.ts";
import type { FixedResponse, PolicyRoute, RetryPolicy, TimeoutPolicy } from "../table/policy.ts";
import type { EndpointRecord } from "../table/record.ts";
import { type FieldChanges, FieldNames } from "../wire/field-edits.ts";
import type { ForwardingIdentity } from "./request-fields.ts";
import type { ExchangeView } from "./request-view.ts";
import { ATTEMPTS, type Retries } from "./retries.ts";
import { editsOf, type RouteEdits } from "./route-edits.ts";
import { Values } from "./variables.ts";
import { WrittenAnswer } from "./written-answers.ts";

/** Made once per request, before the first decision. */
export class AttemptPlan implements ExchangeTerms {
  readonly matched: MatchedRoute;
  /** The route's, else those of the service that takes it. */
  readonly timeouts: TimeoutPolicy;
  /** Of the last attempt that failed: what a refusal comes of, whatever it says itself. */
  lastFailure: AnswerCode | null = null;
  /** null: its service has no retry policy. */
  retries: Retries | null = null;
  readonly #target: string | null;
  readonly #requestFields: FieldChanges | null;
  readonly #responseFields: FieldChanges | null;
  /** It goes to another edge, which has the same policies. */
  #toEdge = false;
  /** What that edge is told; undefined: nobody has asked for it. */
  #told: FieldChanges | null | undefined;
  readonly #identity: ForwardingIdentity;
  readonly #edits: RouteEdits;
  readonly #values: Values;
  readonly #view: ExchangeView;
  readonly #retry: RetryPolicy | null;

  constructor(
    matched: MatchedRoute,
    serving: PolicyService | null,
    target: string | null,
    edits: RouteEdits,
    values: Values,
    view: ExchangeView,
    identity: ForwardingIdentity,
  ) {
    this.matched = matched;
    this.#target = target;
    this.#requestFields = edits.request?.fill(values) ?? null;
    this.#responseFields = edits.response?.fill(values) ?? null;
    this.timeouts = serving === null ? matched.route.timeouts : timeoutsOf(matched.route, serving);
    this.#retry = serving?.policy.retry ?? null;
    this.#edits = edits;
    this.#values = values;
    this.#view = view;
    this.#identity = identity;
  }

  /**
   * Where it is sent next. Another region's edge matches and edits by itself: a rewritten target would match nothing there, and what is
   * added would be added twice. What is drawn or counted it is told.
   */
  goesTo(endpoint: EndpointRecord): void {
    const { service } = this.matched;
    // Those of a maintenance are of another service
    this.#toEdge = service !== null && isEdge(endpoint, service) && (!("service" in endpoint) || endpoint.service === service.name);
  }

  get toEdge(): boolean {
    return this.#toEdge;
  }

  /** Origin form; null: as it came. */
  get target(): string | null {
    return this.#toEdge ? null : this.#target;
  }

  get requestFields(): FieldChanges | null {
    return this.#toEdge ? this.#word : this.#requestFields;
  }

  get responseFields(): FieldChanges | null {
    if (!this.#toEdge) return this.#responseFields;
    return this.matched.service?.policy.retry == null ? null : WITHOUT_ATTEMPTS;
  }

  get #word(): FieldChanges | null {
    if (this.#told !== undefined) return this.#told;
    const lines = edgeWordLine(this.matched, this.#view.requestId, this.#identity);
    return this.#told = lines === null ? null : { dropped: null, host: false, lines: [lines] };
  }

  get maxBodyBytes(): number | null {
    return this.matched.route.maxBodyBytes;
  }

  get idleMs(): number | null {
    return this.timeouts.idleMs;
  }

  /** Also of those that end an attempt under way: a body that grows too long, a silence. */
  get ownFields(): string {
    return this.retries === null ? "" : this.retries.answerField;
  }

  answerInsteadOf(code: AnswerCode): OwnAnswer | OwnWords | null {
    const { errors } = this.#edits;
    if (errors === null) return null;
    const view = this.#view;
    const allowed = this.#retry?.attempts ?? 1;
    const retried = allowed > 1 && view.attempts >= allowed;
    return errors.answer({ code, cause: this.lastFailure, retried }, this.#values, {
      accept: view.accept,
      blame: blameOf(code, view.upstreamKind),
    });
  }

  /** What the route answers by itself. null: that it is in maintenance, in the proxy's own words. */
  ownAnswer(answer: FixedResponse, why: OwnAnswerReason): OwnAnswer | null {
    const { redirect, respond } = this.#edits;
    const lines = this.responseFields?.lines.join("") ?? "";
    if (why === "redirect" && redirect !== null) return redirect.fill(this.#values, lines);
    if (why === "respond" && respond !== null) return respond.fill(this.#values, lines);
    const written = writtenMaintenance(answer);
    return why === "maintenance" && written.blank ? null : written.fill(this.#values, "");
  }

  /** Field lines for the proxy's own page of a maintenance. */
  fieldsOf(answer: FixedResponse): string {
    return writtenMaintenance(answer).fields(this.#values);
  }
}

/** Of another edge's answer: ours says how many there were together. */
const WITHOUT_ATTEMPTS: FieldChanges = { dropped: new FieldNames([ATTEMPTS]), lines: [], host: false };

const MAINTENANCE: WeakMap<FixedResponse, WrittenAnswer> = new WeakMap();

function writtenMaintenance(answer: FixedResponse): WrittenAnswer {
  let written = MAINTENANCE.get(answer);
  if (written === undefined) MAINTENANCE.set(answer, written = new WrittenAnswer(answer, true));
  return written;
}

function timeoutsOf(route: PolicyRoute, serving: PolicyService): TimeoutPolicy {
  const ours = route.timeouts, theirs = serving.policy.timeouts;
  if (theirs.connectMs === null && theirs.responseMs === null && theirs.idleMs === null) return ours;
  return {
    connectMs: ours.connectMs ?? theirs.connectMs,
    responseMs: ours.responseMs ?? theirs.responseMs,
    idleMs: ours.idleMs ?? theirs.idleMs,
  };
}

/** The reason when its rewritten target is none that may be sent. `serving`: as `servingOf` says. */
export function planOf(
  matched: MatchedRoute,
  serving: PolicyService | null,
  view: ExchangeView,
  identity: ForwardingIdentity,
): AttemptPlan | string {
  const edits = editsOf(matched.route);
  const values = new Values(view, matched, identity.pseudonym);
  const rewritten = edits.target?.fill(view.target, values) ?? null;
  if (rewritten !== null && "problem" in rewritten) return rewritten.problem;
  return new AttemptPlan(matched, serving, rewritten?.target ?? null, edits, values, view, identity);
}
