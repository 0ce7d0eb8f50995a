/** What an operator should look at now of routes and services. */
import { isBreaker, type PolicedNow } from "../observation/policed-figures.ts";
import type { ConfigFileStatus } from "../sources/config-file.ts";
import type { PolicyFindings } from "../table/policy-findings.ts";
import { drainShare, type PolicyOrder } from "../table/policy-order.ts";
import type { Alert } from "./alerts.ts";

export interface WatchedPolicies {
  readonly nowMs: number;
  /** Of operators, on routes and services. */
  readonly orders: readonly PolicyOrder[];
  /** Of the routes file; null: there is none. */
  readonly file: ConfigFileStatus | null;
  readonly findings: PolicyFindings;
  readonly policed: PolicedNow;
  /** Domains that are not served because of theirs. */
  readonly excluded: number;
}

/** As in the rules. */
const FORGOTTEN_MS = 86_400_000;
const QUEUE_SHARE = 0.8;
/** Of names in one sentence. */
const MOST_NAMES = 3;

export function* policyAlerts(watched: WatchedPolicies): Iterable<Alert> {
  yield* ofOrders(watched);
  yield* ofSources(watched);
  yield* ofServices(watched);
  yield* ofSuspended(watched);
}

function* ofOrders({ orders, nowMs }: WatchedPolicies): Iterable<Alert> {
  if (orders.length === 0) return;
  const sinceAtMs = Math.min(...orders.map((order) => order.sinceAtMs));
  const forgotten = orders.filter((order) => nowMs - order.sinceAtMs > FORGOTTEN_MS);
  const what = `Ordered by hand: ${named(orders.map(orderText))}`;
  if (forgotten.length === 0) return yield { severity: "info", name: null, what, sinceAtMs };
  const old = `Ordered by hand more than a day ago: ${named(forgotten.map(orderText))}`;
  yield { severity: "warning", name: "EdgeproxyOrderForgotten", what: old, sinceAtMs };
}

function* ofSources({ file, findings: { hidden }, excluded }: WatchedPolicies): Iterable<Alert> {
  if (file !== null && file.problems.length > 0) {
    const what = `The routes file is wrong, the one before stays in force: ${file.problems[0]}`;
    yield { severity: "warning", name: "EdgeproxyRoutesFileBad", what, sinceAtMs: file.badSinceMs };
  }
  if (excluded > 0) {
    const what = `Domains that are not served because their policy is wrong: ${excluded}`;
    yield { severity: "warning", name: "EdgeproxyPoliciesExcluded", what, sinceAtMs: null };
  }
  if (hidden.length > 0) {
    const what = `Routes of the file that never apply, since the database's come before: ${
      named(hidden.map(({ id, host }) => `${id} for ${host}`))
    }`;
    yield { severity: "warning", name: "EdgeproxyRoutesHidden", what, sinceAtMs: null };
  }
}

function* ofServices({ findings: { unusable }, policed: { troubles, queues } }: WatchedPolicies): Iterable<Alert> {
  if (unusable.length > 0) {
    const what = `No endpoint takes requests of ${named(unusable.map(({ name, why }) => `${name} (${why})`))}`;
    yield { severity: "warning", name: "EdgeproxyServiceUnusable", what, sinceAtMs: null };
  }
  const breakers = troubles.filter(isBreaker);
  if (breakers.length > 0) {
    const what = `Breakers that are not closed: ${
      named(breakers.map(({ name, kind }) => kind === "breaker_open" ? name : `${name} (on trial)`))
    }`;
    yield { severity: "warning", name: "EdgeproxyBreakerStaysOpen", what, sinceAtMs: null };
  }
  const ejected = troubles.filter((trouble) => !isBreaker(trouble));
  if (ejected.length > 0) {
    const what = `Put out by live traffic: ${named(ejected.map(({ name }) => name))}`;
    yield { severity: "warning", name: "EdgeproxyEndpointsEjected", what, sinceAtMs: null };
  }
  const long = queues.filter(({ waiting, places }) => waiting > QUEUE_SHARE * places);
  if (long.length > 0) {
    const what = `Nearly all places in the queue are taken: ${
      named(long.map(({ service, waiting, places }) => `${service} ${waiting} of ${places}`))
    }`;
    yield { severity: "warning", name: "EdgeproxyQueueNearlyFull", what, sinceAtMs: null };
  }
}

/** By their policies, for orders are told of already. */
function* ofSuspended({ findings: { maintained, drained }, nowMs }: WatchedPolicies): Iterable<Alert> {
  const closed = maintained.filter(({ orderedAtMs }) => orderedAtMs === null);
  if (closed.length > 0) {
    const what = `In maintenance by policy: ${named(closed.map(({ kind, name }) => `${kind} ${name}`))}`;
    yield { severity: "info", name: null, what, sinceAtMs: null };
  }
  const left = drained.filter(({ orderedAtMs, drain }) => orderedAtMs === null && drainShare(drain, nowMs) < 1);
  if (left.length === 0) return;
  const what = `Draining by policy: ${
    named(left.map(({ kind, name, drain }) => `${kind} ${name}, ${Math.round(100 * drainShare(drain, nowMs))} % left`))
  }`;
  yield { severity: "info", name: null, what, sinceAtMs: Math.min(...left.map(({ drain }) => drain.startAtMs)) };
}

function named(names: readonly string[]): string {
  const first = names.slice(0, MOST_NAMES).join(", ");
  return names.length > MOST_NAMES ? `${first} and ${names.length - MOST_NAMES} more` : first;
}

function orderText({ kind, name, maintenance, drain }: PolicyOrder): string {
  const what = [
    maintenance?.enabled === true ? "maintenance" : maintenance === null ? "" : "no maintenance",
    drain === null ? "" : "drain",
  ];
  return `${what.filter((word) => word !== "").join(" and ")} of ${kind} ${name}`;
}
