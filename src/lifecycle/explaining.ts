/** What would become of a request, and why: asked of the same functions that real ones pass, in their order, without doing anything. */
import { servingOf } from "../decision/by-policy.ts";
import { type Candidate, candidatesOf } from "../decision/candidates.ts";
import { decide } from "../decision/decide.ts";
import type { Decision } from "../decision/decision.ts";
import { BARE_ROUTE, matchRoute } from "../decision/match-route.ts";
import type { Surroundings } from "../decision/surroundings.ts";
import { type Step, stepText, type Trace } from "../decision/trace.ts";
import { H1Exchange } from "../downstream/h1-exchange.ts";
import { type AttemptPlan, planOf } from "../forwarding/attempt-plan.ts";
import { type ForwardingIdentity, viaOf } from "../forwarding/request-fields.ts";
import { ExchangeView } from "../forwarding/request-view.ts";
import type { Conclusion, ExplainedCandidate, ExplainQuestion, Explanation } from "../observation/explanation.ts";
import { blameOf, CODES, type ErrorCode } from "../observation/proxy-error.ts";
import type { RetryPolicy } from "../table/policy.ts";
import type { EndpointRecord } from "../table/record.ts";
import type { Availability } from "../upstream/availability.ts";
import { fieldChanges, sentHead } from "./field-changes.ts";
import { type Refused, type RehearsalParts, rehearse, type Rehearsed } from "./rehearsal.ts";

export interface ExplainParts extends RehearsalParts {
  readonly identity: ForwardingIdentity;
  /** What requests are decided by; to look at an endpoint must be no use of it. */
  readonly surroundings: Surroundings;
}

export function explain(question: ExplainQuestion, parts: ExplainParts): Explanation {
  const { identity } = parts;
  const around = supposing(parts.surroundings, question.suppose);
  return rehearse(question.head, question.client, identity.isTrusted, parts, (rehearsed) => {
    return { revision: around.table.revision, ...explained(rehearsed, around, identity) };
  });
}

function supposing(around: Surroundings, verdicts: ExplainQuestion["suppose"]): Surroundings {
  const supposed = (endpoint: EndpointRecord): Availability => {
    const there = around.availability(endpoint);
    const verdict = endpoint.kind === "vm" ? verdicts[endpoint.key] : undefined;
    return verdict === undefined || there === "draining" ? there : verdict === "healthy" ? "available" : "unhealthy";
  };
  return {
    table: around.table,
    previous: (host) => around.previous(host),
    pseudonym: around.pseudonym,
    availability: supposed,
    load: (endpoint) => around.load(endpoint),
    random: () => around.random(),
    secret: around.secret,
    hooks: around.hooks,
  };
}

function explained(rehearsed: Rehearsed, around: Surroundings, identity: ForwardingIdentity): Omit<Explanation, "revision"> {
  const { head, read } = rehearsed;
  const { method, target, authority } = head;
  const asked = { method, target, authority };
  if (!(read instanceof H1Exchange)) return { ...asked, ...unread(read) };
  const steps: Step[] = [];
  const trace: Trace = (step) => steps.push(step);
  const view = new ExchangeView(read, identity.isTrusted);
  const matched = around.table.policies.empty ? null : matchRoute(view, around, trace);
  const plan = matched === null || typeof matched === "string"
    ? matched
    : planOf(matched, servingOf(matched, around), view, identity);
  const refused = refusedBy(plan, read);
  if (refused !== null || typeof matched === "string" || typeof plan === "string") {
    return { ...asked, ...unread(refused!, steps), host: read.host };
  }
  const decision = decide({ host: matched?.host ?? read.host, via: viaOf(read), tried: null, matched }, around, trace);
  const retry = matched?.service?.policy.retry ?? null;
  if (retry !== null && decision.kind === "forward") trace({ kind: "note", text: retryText(retry) });
  const endpoint = decision.kind === "forward" || decision.kind === "fall-back" ? decision.endpoint : null;
  if (endpoint !== null && plan !== null) plan.goesTo(endpoint);
  const goes = decision.kind === "refuse" || decision.kind === "respond" ? null : sentHead(read, identity, plan);
  if (goes !== null && plan !== null && plan.target !== null) {
    trace({ kind: "note", text: `the target is rewritten to ${goes.target}` });
  }
  if (decision.kind === "respond") trace({ kind: "note", text: answerText(decision, plan) });
  return {
    ...asked,
    host: read.host,
    route: steps.find((step) => step.kind === "route")?.route ?? matched?.domain ?? null,
    policy: matched === null || matched.route === BARE_ROUTE ? null : matched.route.id,
    service: matched?.service?.name ?? null,
    edges: steps.find((step) => step.kind === "edges-passed")?.edges ?? [],
    steps: steps.map(stepText),
    candidates: candidatesOf(steps, decision).map((candidate) => candidateView(candidate, around)),
    conclusion: conclusionOf(decision),
    hop: endpoint?.kind === "region" && goes !== null ? hopTo(endpoint, goes.via) : null,
    fields: goes === null ? null : fieldChanges(read, goes),
  };
}

/** What would become of an attempt that fails. */
function retryText({ attempts, on, statuses }: RetryPolicy): string {
  if (attempts === 1) return "an attempt that fails is not made again";
  const causes = [...on, ...statuses.map(({ from, to }) => from === to ? `${from}` : `${from}-${to}`)];
  return `up to ${attempts} attempts, after ${causes.join(", ")}`;
}

/** By what its route says, before there is anything to decide; null: it is not. */
function refusedBy(plan: AttemptPlan | string | null, exchange: H1Exchange): Refused | null {
  if (typeof plan === "string") return { code: "bad_request", problem: plan };
  if (plan !== null) exchange.takeTerms(plan);
  return exchange.bodyTooLong ? { code: "body_too_large", problem: `A request body of ${exchange.requestLength} bytes` } : null;
}

/** The head of an answer that the route gives by itself, but for what differs each time. */
function answerText({ answer, why }: Extract<Decision, { kind: "respond" }>, plan: AttemptPlan | null): string {
  const own = plan?.ownAnswer(answer, why) ?? null;
  if (own === null) return `the proxy's own answer for ${why}`;
  const lines = own.head.split("\r\n").filter((line) => line !== "" && !/^(?:date|x-request-id):/i.test(line));
  return `answers ${lines.join(", ")}`;
}

/** Refused before there was anything to decide. */
function unread(
  { code, problem }: Refused,
  steps: readonly Step[] = [],
): Omit<Explanation, "revision" | "method" | "target" | "authority"> {
  return {
    host: null,
    route: null,
    policy: null,
    service: null,
    edges: [],
    steps: [...steps.map(stepText), problem],
    candidates: [],
    conclusion: refusal("refuse", code, problem),
    hop: null,
    fields: null,
  };
}

function candidateView({ endpoint, when, finding, outcome, why }: Candidate, around: Surroundings): ExplainedCandidate {
  const { key, kind, region } = endpoint;
  return { key, kind, region, when, availability: finding, load: around.load(endpoint), outcome, why };
}

function conclusionOf(decision: Decision): Conclusion {
  switch (decision.kind) {
    case "forward":
    case "fall-back": {
      const { key } = decision.endpoint;
      return { ...NO_ANSWER, kind: decision.kind, endpoint: key, text: placeText(decision.endpoint) };
    }
    case "probe-first": {
      const awaited = decision.endpoints.map(({ key }) => key);
      return { ...NO_ANSWER, kind: "probe-first", awaited, text: `waits for the first probe of ${awaited.join(", ")}` };
    }
    case "respond":
      return {
        ...NO_ANSWER,
        kind: "respond",
        status: decision.answer.status,
        text: `${decision.answer.status}, as the route says (${decision.why})`,
      };
    case "queue":
      return { ...NO_ANSWER, kind: "queue", awaited: decision.endpoints.map(({ key }) => key), text: "waits for a place" };
    case "table-first": // what follows if the table does not change within a moment
      return refusal("table-first", "loop", "");
    case "refuse":
      return refusal("refuse", decision.code, "");
  }
}

const NO_ANSWER = { endpoint: null, awaited: [], status: null, code: null, blame: null, problem: "" } as const;

function refusal(kind: "refuse" | "table-first", code: ErrorCode, problem: string): Conclusion {
  const { status, text, meaning } = CODES[code];
  return {
    kind,
    endpoint: null,
    awaited: [],
    status,
    code,
    blame: blameOf(code, null),
    problem,
    text: `${status} ${text} (${code}): ${problem === "" ? meaning : problem}`,
  };
}

function placeText({ kind, address, port, region }: EndpointRecord): string {
  const where = address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
  return kind === "vm" ? `VM at http://${where}` : `region ${region} at http://${where}`;
}

function hopTo({ address, port, region }: EndpointRecord, via: string): Explanation["hop"] {
  return { address, port, region, via };
}
