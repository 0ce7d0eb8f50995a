/*  Health of the VMs in use: who is probed when, and what the workers are told.
 *
 *            want, failed                a place is free                result
 *   (absent) ------------> queued ------------------> probing -------------------> resting
 *      ^                    ^  ^                       |   |  failed meanwhile and      |
 *      |                    |  '-----------------------'   |  the result is healthy     |
 *      |                    '------------------------------+----------------------------|  interval, still in use; failed
 *      '---------------------------------------------------+----------------------------'  interval, no longer in use
 *                            left the table (from any state): told `unprobed`
 *
 *  - However many ask for an endpoint, it is in exactly one state, so there is one probe at a time. At most `concurrency` run;
 *    the others queue in order, those that requests wait for (`want`, `failed`) before those of the background.
 *  - A passive failure makes the verdict unhealthy at once. A healthy result counts only if its probe began after the last
 *    failure; otherwise it is void and a fresh probe begins. An unhealthy result always counts: it agrees.
 *  - What workers are told of a passive failure is `unprobed`, not `unhealthy`: a request that met it waits for the fresh probe, and is
 *    sent again or answered 503 by what that says.
 *  - Of a service with a policy of its own, interval and thresholds are those of the policy (endpoint-findings.ts).
 *  - In use means used or wanted within the last four intervals, and no less than 2.5 s, as workers report once a second. What is not is forgotten; its next use is a first use.
 */
import { DurationCounts, type DurationSums } from "../observation/duration-counts.ts";
import type { Log, LogFields } from "../observation/log.ts";
import { RateLimitedLog } from "../observation/rate-limited-log.ts";
import type { CancelTimer, Timers } from "../runtime/timers.ts";
import type { EndpointRecord } from "../table/record.ts";
import type { HealthVerdict } from "./availability.ts";
import { EndpointFindings, type EndpointHealth, type Turn, type Verdict, verdictOf } from "./endpoint-findings.ts";
import { asSettingsSay, type CancelProbe, type HealthOf, type Probe, type ProbeResult } from "./probe.ts";
import type { ProbeHistory } from "./probe-history.ts";
import { ProbeQueue } from "./probe-queue.ts";

export interface ProberOptions {
  readonly probe: Probe;
  /** Of those whose services say nothing. */
  readonly intervalMs: number;
  /** Default: no service says anything. */
  readonly healthOf?: HealthOf;
  readonly log: Log;
  readonly timers: Timers;
  /** 0 to 1. */
  readonly random: () => number;
  /** What the workers must know. Never called before the method that caused it has returned, except by `failed` and `retain`. */
  readonly publish: (verdicts: readonly Verdict[]) => void;
  /** What is news to operators: a VM is unhealthy, or healthy again. */
  readonly changed?: (health: EndpointHealth) => void;
  /** Most probes at a time; default 64. */
  readonly concurrency?: number;
}

export interface ProberFigures {
  readonly probesHealthy: number;
  readonly probesUnhealthy: number;
  readonly probeDurations: DurationSums;
  /** Watched endpoints by verdict. */
  readonly endpoints: Readonly<Record<HealthVerdict, number>>;
}

type Phase =
  | { readonly state: "queued"; readonly urgent: boolean }
  | { readonly state: "probing"; readonly cancel: CancelProbe; readonly overtaken: boolean }
  | { readonly state: "resting"; readonly cancel: CancelTimer; readonly nextProbeAtMs: number };

interface Watch {
  readonly endpoint: EndpointRecord;
  readonly found: EndpointFindings;
  phase: Phase;
  usedAtMs: number;
  /** A worker waits for the next result, even if it changes nothing. */
  asked: boolean;
}

const CONCURRENCY = 64;
/** An endpoint without traffic for this many intervals is no longer in use. */
const IN_USE_INTERVALS = 4;
/** Above the second between two reports of a worker: with short intervals a busy VM would be forgotten in between. */
const IN_USE_LEAST_MS = 2500;
/** Delays are shortened by up to this share: spread over time, and a VM still heals within an interval. */
const JITTER = 0.2;
/** A VM that breaks connections yet passes its checks flips with each request. */
const FLIP_LINES = { lines: 100, windowMs: 10_000 };

export class Prober {
  readonly #options: ProberOptions;
  readonly #healthOf: HealthOf;
  readonly #flips: Log;
  readonly #watches: Map<string, Watch> = new Map();
  readonly #queue: ProbeQueue<Watch>;
  #probesHealthy = 0;
  #probesUnhealthy = 0;
  readonly #durations: DurationCounts = new DurationCounts();
  #stopped = false;

  constructor(options: ProberOptions) {
    this.#options = options;
    this.#queue = new ProbeQueue(options.concurrency ?? CONCURRENCY);
    this.#healthOf = options.healthOf ?? asSettingsSay;
    this.#flips = new RateLimitedLog(options.log, FLIP_LINES, () => options.timers.nowMs());
  }

  /** A request waits for the verdict on this VM: it is published once there is one, a known one right away. */
  want(endpoint: EndpointRecord): void {
    if (this.#stopped || endpoint.kind !== "vm") return;
    if (this.#isUnchecked(endpoint.key)) return queueMicrotask(() => this.#options.publish([[endpoint.key, "healthy"]]));
    const watch = this.#watch(endpoint);
    watch.asked = true;
    switch (watch.phase.state) {
      case "queued":
        this.#enter(watch, { state: "queued", urgent: true });
        return this.#startNext();
      case "probing":
        return;
      case "resting":
        return queueMicrotask(() => this.#answer(watch));
    }
  }

  /** Keys of endpoints that had traffic: they stay in use. */
  used(keys: Iterable<string>): void {
    const nowMs = this.#options.timers.nowMs();
    for (const key of keys) {
      const watch = this.#watches.get(key);
      if (watch !== undefined) watch.usedAtMs = nowMs;
    }
  }

  /** Live traffic saw a connection refused or broken: unhealthy now, and a fresh probe as soon as there is a place. */
  failed(endpoint: EndpointRecord, error: string): void {
    if (this.#stopped || endpoint.kind !== "vm" || this.#isUnchecked(endpoint.key)) return;
    const watch = this.#watch(endpoint);
    watch.asked = true;
    watch.found.doubted = true;
    if (watch.found.verdict !== "unprobed") {
      this.#tell(watch, watch.found.judge("unhealthy", error, this.#options.timers.nowMs()));
      this.#options.publish([[endpoint.key, "unprobed"]]);
    }
    switch (watch.phase.state) {
      case "queued":
      case "resting":
        this.#enter(watch, { state: "queued", urgent: true });
        return this.#startNext();
      case "probing":
        watch.phase = { ...watch.phase, overtaken: true };
    }
  }

  /** The table changed: forgets the endpoints that it no longer has. */
  retain(table: { has(key: string): boolean }): void {
    const gone = [...this.#watches.values()].filter((watch) => !table.has(watch.endpoint.key));
    if (gone.length > 0) this.#forget(gone);
  }

  /** Policies have changed: what is checked in another way now is checked soon, and what is not checked any more is forgotten. */
  healthChanged(): void {
    const unchecked: Watch[] = [];
    for (const watch of this.#watches.values()) {
      const { key } = watch.endpoint;
      const { health } = watch.found;
      if (health === null && this.#healthOf(key) === null) continue;
      if (this.#isUnchecked(key)) unchecked.push(watch);
      else if (watch.phase.state === "resting" && JSON.stringify(health) !== JSON.stringify(this.#healthOf(key))) {
        this.#enter(watch, { state: "queued", urgent: false });
      }
    }
    if (unchecked.length > 0) this.#forget(unchecked);
    this.#startNext();
  }

  list(): EndpointHealth[] {
    return [...this.#watches.values()].map(healthOf);
  }

  find(key: string): EndpointHealth | undefined {
    const watch = this.#watches.get(key);
    return watch === undefined ? undefined : healthOf(watch);
  }

  history(key: string): ProbeHistory | undefined {
    return this.#watches.get(key)?.found.history;
  }

  figures(): ProberFigures {
    const endpoints = { unprobed: 0, healthy: 0, unhealthy: 0 };
    for (const watch of this.#watches.values()) endpoints[watch.found.verdict]++;
    return {
      probesHealthy: this.#probesHealthy,
      probesUnhealthy: this.#probesUnhealthy,
      probeDurations: this.#durations.sums(),
      endpoints,
    };
  }

  /** Ends every probe and timer; nothing is published afterwards. */
  stop(): void {
    this.#stopped = true;
    for (const watch of this.#watches.values()) this.#leave(watch);
    this.#watches.clear();
  }

  #watch(endpoint: EndpointRecord): Watch {
    const nowMs = this.#options.timers.nowMs();
    let watch = this.#watches.get(endpoint.key);
    if (watch === undefined) {
      const found = new EndpointFindings(endpoint, this.#healthOf(endpoint.key), nowMs);
      watch = { endpoint, found, phase: { state: "queued", urgent: true }, usedAtMs: nowMs, asked: false };
      this.#watches.set(endpoint.key, watch);
    }
    watch.usedAtMs = nowMs;
    return watch;
  }

  /** The only way from one state to another. */
  #enter(watch: Watch, phase: Phase): void {
    if (phase.state !== "queued" || watch.phase.state !== "queued") this.#leave(watch);
    watch.phase = phase;
    if (phase.state === "queued") this.#queue.add(watch, phase.urgent);
  }

  /** Gives back what the state holds: a place in a queue, a running probe, a timer. */
  #leave(watch: Watch): void {
    switch (watch.phase.state) {
      case "queued":
        return this.#queue.remove(watch);
      case "probing":
        watch.phase.cancel();
        return this.#queue.ended();
      case "resting":
        watch.phase.cancel();
    }
  }

  #startNext(): void {
    while (!this.#stopped) {
      const watch = this.#queue.start();
      if (watch === undefined) return;
      watch.found.health = this.#healthOf(watch.endpoint.key);
      const cancel = this.#options.probe(watch.endpoint, (result) => this.#probed(watch, result));
      watch.phase = { state: "probing", cancel, overtaken: false };
    }
  }

  #probed(watch: Watch, result: ProbeResult): void {
    const { timers, log } = this.#options;
    const { endpoint, phase } = watch;
    const overtaken = phase.state === "probing" && phase.overtaken;
    watch.found.record(result, timers.nowMs());
    this.#durations.recordMs(result.latencyMs);
    if (result.healthy) this.#probesHealthy++;
    else this.#probesUnhealthy++;
    if (log.enabled("debug")) log.debug("probe", { endpoint: endpoint.key, ...logFields(result), overtaken });
    if (overtaken && result.healthy) this.#enter(watch, { state: "queued", urgent: true });
    else this.#settle(watch, result);
    this.#startNext();
  }

  #settle(watch: Watch, result: ProbeResult): void {
    const { found } = watch;
    const { verdict, reason } = found;
    this.#rest(watch);
    if (result.ours === true) this.#flips.warn("cannot probe", { endpoint: watch.endpoint.key, reason: result.reason });
    this.#tell(watch, found.settle(result, this.#options.timers.nowMs()));
    const otherReason = found.verdict === "unhealthy" && found.reason !== reason;
    if (watch.asked || found.verdict !== verdict || otherReason) this.#answer(watch);
  }

  #isUnchecked(key: string): boolean {
    return this.#healthOf(key)?.type === "none";
  }

  #intervalMs(watch: Watch): number {
    return watch.found.health?.intervalMs ?? this.#options.intervalMs;
  }

  #rest(watch: Watch): void {
    const { timers, random } = this.#options;
    const delayMs = this.#intervalMs(watch) * (1 - JITTER * random());
    const cancel = timers.after(delayMs, () => this.#awake(watch));
    this.#enter(watch, { state: "resting", cancel, nextProbeAtMs: timers.nowMs() + delayMs });
  }

  #awake(watch: Watch): void {
    const inUseMs = Math.max(IN_USE_INTERVALS * this.#intervalMs(watch), IN_USE_LEAST_MS);
    if (this.#options.timers.nowMs() - watch.usedAtMs > inUseMs) return this.#forget([watch]);
    this.#enter(watch, { state: "queued", urgent: false });
    this.#startNext();
  }

  #forget(watches: readonly Watch[]): void {
    for (const watch of watches) {
      this.#leave(watch);
      this.#watches.delete(watch.endpoint.key);
    }
    this.#options.publish(watches.map((watch): Verdict => [watch.endpoint.key, "unprobed"]));
    this.#startNext();
  }

  /** Tells the workers the verdict, unless the endpoint was forgotten or has failed meanwhile. */
  #answer(watch: Watch): void {
    if (this.#watches.get(watch.endpoint.key) !== watch || watch.phase.state !== "resting") return;
    watch.asked = false;
    this.#options.publish([verdictOf(watch.found)]);
  }

  /** First verdicts of healthy VMs are not news; everything else that changes is. */
  #tell(watch: Watch, turn: Turn | null): void {
    if (turn === null) return;
    const { endpoint: { key, region }, found: { verdict, reason } } = watch;
    if (verdict === "unhealthy" || turn.before === "unhealthy") this.#options.changed?.(healthOf(watch));
    if (verdict === "unhealthy") this.#flips.warn("VM unhealthy", { endpoint: key, region, reason });
    else if (turn.before === "unhealthy") {
      this.#flips.info("VM healthy again", { endpoint: key, region, reason, unhealthy_ms: turn.lastedMs });
    }
  }
}

function healthOf({ endpoint, phase, found }: Watch): EndpointHealth {
  const { verdict, sinceAtMs, lastProbeAtMs, latencyMs, reason, consecutive } = found;
  const nextProbeAtMs = phase.state === "resting" ? phase.nextProbeAtMs : null;
  return { endpoint, verdict, state: phase.state, sinceAtMs, lastProbeAtMs, latencyMs, reason, consecutive, nextProbeAtMs };
}

function logFields({ healthy, reason, latencyMs }: ProbeResult): LogFields {
  return { healthy, reason, latency_ms: Math.round(latencyMs * 10) / 10 };
}
