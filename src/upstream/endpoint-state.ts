/*  Live state of the endpoints, keyed by identity, so that it survives every change of the table.
 *
 *  A VM's verdict comes from the control plane's probes:
 *
 *             first use: wanted                 verdict
 *   unprobed ------------------> (callers wait) -------> healthy | unhealthy
 *      ^  ^----- no longer in use (forgotten) -------------'        |
 *      '-------- a connection failed: failed, callers wait ---------'        no final state
 *
 *  When the table drops an endpoint its state is orphaned: unhealthy for good, and nobody is asked about it any more, since no
 *  verdict would come back to it. A key that returns is a new state.
 *
 *  A region's edge is never probed; for a while after a failed connection it is merely tried last. So is a VM whose service wants no
 *  checks.
 *
 *  A cordon stands beside all that: while there is one the endpoint drains, and its health goes on being watched.
 */
import { nowMs as clockMs } from "../runtime/clock.ts";
import { uncaught } from "../runtime/uncaught.ts";
import type { TlsPeer } from "../runtime/tls-sockets.ts";
import type { HealthPolicy } from "../table/policy.ts";
import { partsOfKey } from "../table/policies.ts";
import type { EndpointRecord } from "../table/record.ts";
import type { Availability, HealthVerdict } from "./availability.ts";
import type { EndpointWatch, Hindrance } from "./endpoint-watch.ts";
import type { H1UpstreamConnection } from "./h1-connection.ts";
import { asSettingsSay, type HealthOf, type TlsOf, withoutTls } from "./probe.ts";
import { slowStartShare } from "./slow-start.ts";

/** What the live traffic asks of the control plane. */
export interface ProbeRequests {
  wanted(key: string): void;
  failed(key: string, error: string): void;
}

export interface ConnectionFailure {
  /** Since 1970. */
  readonly atMs: number;
  readonly reason: string;
}

/** What one worker has to do with an endpoint. */
export interface EndpointUse {
  readonly key: string;
  /** Attempts under way. */
  readonly inFlight: number;
  /** Connections at rest. */
  readonly idle: number;
  readonly lastFailure: ConnectionFailure | null;
  /** What of its policy keeps requests away; null: nothing. */
  readonly hindrance: Hindrance | null;
  /** Of its weight, 0 to 1: less than 1 while it starts slowly. */
  readonly share: number;
}

/** How long a region that refused a connection is tried last. */
const REGION_FAILING_MS = 5000;
/** How long a verdict is worth waiting for where another endpoint could take the request. */
export const PROBE_SOON_MS = 50;
/** Between two wishes for a probe that nobody waits for. */
const WISH_MS = 1000;

export class EndpointState {
  readonly record: EndpointRecord;
  /** `10.0.0.5:8080`, for logs. */
  readonly where: string;
  verdict: HealthVerdict = "unprobed";
  /** What made it unhealthy; empty: nobody has said. */
  unhealthyReason = "";
  /** Attempts under way. */
  inFlight = 0;
  /** Connections that may carry the next attempt, last used last. */
  readonly idle: H1UpstreamConnection[] = [];
  /** Had traffic since the last report to the control plane. */
  used = false;
  /** No route leads here any more; forgotten when its last attempt ends. */
  orphaned = false;
  /** It gets no new requests; connections to it are not kept. */
  cordoned = false;
  /** Of its policy; null: it has none. */
  watch: EndpointWatch | null = null;
  /** Of its service; null: as the settings say. */
  health: HealthPolicy | null = null;
  /** Whom to expect there; null: it is spoken to without TLS. */
  tls: TlsPeer | null = null;
  /** The last connection that was refused or broken. */
  lastFailure: ConnectionFailure | null = null;
  #failedAtMs = -Infinity;
  #wasUnhealthy = false;
  #recoveredAtMs = -Infinity;
  /** The first look at it without a verdict. */
  #unprobedAtMs = Infinity;
  /** The first look at it since then that found it overdue. */
  #overdueAtMs = Infinity;
  #wishedAtMs = -Infinity;
  #waiting: Set<() => void> = new Set();
  readonly #requests: ProbeRequests;

  constructor(record: EndpointRecord, requests: ProbeRequests) {
    this.record = record;
    this.where = record.key.slice(record.key.indexOf("/") + 1);
    this.#requests = requests;
  }

  /** For a request: asking is use, so that a VM whose requests are all refused stays watched. */
  availability(nowMs: number): Availability {
    this.used = true;
    if (this.verdict === "unprobed") this.#unprobedAtMs = Math.min(this.#unprobedAtMs, nowMs);
    const found = this.look(nowMs);
    if (found === "overdue") this.#passedOver(nowMs);
    return found;
  }

  /** What `availability` would say; to look is no use. */
  look(nowMs: number): Availability {
    if (this.cordoned) return "draining";
    if (!this.isProbed) {
      const finding = this.#watched();
      // What keeps it from being used goes before what makes it the last to be used
      return finding === "available" && nowMs - this.#failedAtMs < REGION_FAILING_MS ? "failing" : finding;
    }
    if (this.verdict === "healthy") return this.#watched();
    if (this.verdict === "unhealthy") return "unhealthy";
    return nowMs - this.#unprobedAtMs < PROBE_SOON_MS ? "unprobed" : "overdue";
  }

  /** Otherwise only live traffic tells of it. */
  get isProbed(): boolean {
    return this.record.kind === "vm" && this.health?.type !== "none";
  }

  /** From now on. Where nothing is checked any more no verdict will come for those that wait. */
  checkAs(health: HealthPolicy | null): void {
    const wasProbed = this.isProbed;
    this.health = health;
    if (!wasProbed || this.isProbed) return;
    this.judge("healthy");
    this.judge("unprobed"); // should it be checked again one day
  }

  /** Of its service; 0: as the settings say. */
  get probeTimeoutMs(): number {
    return this.health?.timeoutMs ?? 0;
  }

  /** Of its weight, 0 to 1: after a recovery it starts slowly where its service wants that. */
  share(nowMs: number): number {
    const slowStartMs = this.health?.slowStartMs ?? 0;
    if (slowStartMs === 0) return 1;
    const sinceMs = Math.min(nowMs - this.#recoveredAtMs, this.watch?.returnedForMs ?? Infinity);
    return slowStartShare(sinceMs, slowStartMs);
  }

  /** As far as nothing else stands against it. */
  #watched(): Availability {
    return this.watch === null ? "available" : this.watch.look() ?? "available";
  }

  /** Running attempts go on. */
  cordon(): void {
    this.cordoned = true;
    this.closeIdle();
  }

  closeIdle(): void {
    for (const connection of [...this.idle]) connection.close();
  }

  /** Where others take all requests nobody waits for its probe, and it would never get any. Who looks first may be about to wait. */
  #passedOver(nowMs: number): void {
    if (nowMs - this.#overdueAtMs >= PROBE_SOON_MS) this.wish(nowMs);
    this.#overdueAtMs = Math.min(this.#overdueAtMs, nowMs);
  }

  /** Asks for a probe without waiting for it. */
  wish(nowMs: number): void {
    if (this.orphaned || this.#waiting.size > 0 || nowMs - this.#wishedAtMs < WISH_MS) return;
    this.#wishedAtMs = nowMs;
    this.#requests.wanted(this.record.key);
  }

  /**
   * Calls back once there is a verdict on this VM, at once when none will come: one probe, however many wait. The answer is how
   * to wait no longer.
   */
  whenProbed(callback: () => void): () => void {
    const waiting = this.#waiting;
    if (this.orphaned || !this.isProbed) callback();
    else {
      waiting.add(callback);
      if (waiting.size === 1) this.#requests.wanted(this.record.key);
    }
    return () => void waiting.delete(callback);
  }

  /** Live traffic saw a connection refused or broken. Callers that come now wait for a fresh probe. */
  failed(error: string, nowMs: number): void {
    this.#failedAtMs = nowMs;
    this.lastFailure = { atMs: Date.now(), reason: error };
    if (!this.isProbed || this.orphaned) return;
    this.verdict = "unprobed";
    this.#unprobedAtMs = Infinity;
    this.#requests.failed(this.record.key, error);
  }

  judge(verdict: HealthVerdict, reason = "", nowMs = clockMs()): void {
    if (verdict === "healthy" && this.#wasUnhealthy) this.#recoveredAtMs = nowMs;
    if (verdict !== "unprobed") this.#wasUnhealthy = verdict === "unhealthy";
    this.verdict = verdict;
    this.unhealthyReason = reason;
    this.#unprobedAtMs = Infinity;
    this.#overdueAtMs = Infinity;
    if (verdict === "unprobed") return;
    const waiting = this.#waiting;
    this.#waiting = new Set();
    for (const callback of waiting) {
      try {
        callback();
      } catch (error) {
        uncaught(error); // the others still wait
      }
    }
  }
}

/** All endpoints that this worker has spoken to. */
export class Endpoints {
  /** Makes the watch of an endpoint under a policy. */
  watchOf: (record: EndpointRecord) => EndpointWatch | null = () => null;
  /** What its service says of its checks; null: nothing. */
  healthOf: HealthOf = asSettingsSay;
  tlsOf: TlsOf = withoutTls;
  readonly #states: Map<string, EndpointState> = new Map();
  /** Of them, those under a policy. */
  readonly #policed: Map<string, EndpointState> = new Map();
  readonly #requests: ProbeRequests;
  #cordoned: ReadonlySet<string> = new Set();

  constructor(requests: ProbeRequests) {
    this.#requests = requests;
  }

  of(record: EndpointRecord): EndpointState {
    let state = this.#states.get(record.key);
    if (state === undefined) {
      state = new EndpointState(record, this.#requests);
      state.cordoned = isIn(this.#cordoned, record.key);
      state.watch = this.watchOf(record);
      state.health = this.healthOf(record.key);
      state.tls = this.tlsOf(record) ?? null;
      this.#states.set(record.key, state);
      if (partsOfKey(record.key).service !== null) this.#policed.set(record.key, state);
    }
    return state;
  }

  /** Policies have changed. Attempts under way end at the watch that has let them in. */
  watchAnew(): void {
    for (const state of this.#policed.values()) {
      state.watch = this.watchOf(state.record);
      state.checkAs(this.healthOf(state.record.key));
      const tls = this.tlsOf(state.record);
      // The same as before stays the same object: connections are known by it. One that no service names keeps what it has.
      if (tls !== undefined && JSON.stringify(tls) !== JSON.stringify(state.tls)) state.tls = tls;
    }
  }

  find(key: string): EndpointRecord | undefined {
    return this.#states.get(key)?.record;
  }

  /** Keys of those under a policy. */
  policed(): string[] {
    return [...this.#policed.keys()];
  }

  /** What a request would find now; to look is no use. */
  look(record: EndpointRecord, nowMs: number): Availability {
    const state = this.#states.get(record.key);
    if (state !== undefined) return state.look(nowMs);
    if (isIn(this.#cordoned, record.key)) return "draining";
    return record.kind === "region" || this.healthOf(record.key)?.type === "none" ? "available" : "unprobed";
  }

  /** Of these endpoints, as far as they are in use; null: of all with attempts under way. */
  uses(keys: readonly string[] | null): EndpointUse[] {
    const states = keys === null
      ? [...this.#states.values()].filter(({ inFlight }) => inFlight > 0)
      : keys.flatMap((key) => this.#states.get(key) ?? []);
    const nowMs = clockMs();
    return states.map((state) => {
      const { record: { key }, inFlight, idle, lastFailure, watch } = state;
      return { key, inFlight, idle: idle.length, lastFailure, hindrance: watch?.look() ?? null, share: state.share(nowMs) };
    });
  }

  /** What keeps requests from it, besides its watch. */
  outsideOf(key: string): "unhealthy" | "draining" | null {
    const state = this.#states.get(key);
    if (isIn(this.#cordoned, key)) return "draining";
    return state !== undefined && state.isProbed && state.verdict === "unhealthy" ? "unhealthy" : null;
  }

  /** Attempts under way. */
  loadOf(key: string): number {
    return this.#states.get(key)?.inFlight ?? 0;
  }

  /** Of its weight, 0 to 1. */
  shareOf(key: string, nowMs: number): number {
    return this.#states.get(key)?.share(nowMs) ?? 1;
  }

  /** From now on exactly these are cordoned, also those that nobody has spoken to yet. */
  cordon(keys: ReadonlySet<string>): void {
    this.#cordoned = keys;
    for (const state of this.#states.values()) {
      if (!isIn(keys, state.record.key)) state.cordoned = false;
      else if (!state.cordoned) state.cordon();
    }
  }

  /** The VMs on which there is a verdict. */
  judgedVms(): EndpointRecord[] {
    const judged = [...this.#states.values()].filter(({ verdict }) => verdict !== "unprobed");
    return judged.map(({ record }) => record); // a region's edge has none
  }

  judge(key: string, verdict: HealthVerdict, reason?: string): void {
    this.#states.get(key)?.judge(verdict, reason);
  }

  /** No route leads to these any more: their idle connections close, running attempts go on. */
  forget(keys: readonly string[]): void {
    for (const key of keys) {
      const state = this.#states.get(key);
      if (state === undefined) continue;
      this.#states.delete(key);
      this.#policed.delete(key);
      state.orphaned = true;
      state.judge("unhealthy");
      state.closeIdle();
    }
  }

  /** Keys of the VM endpoints that had traffic since the last call. */
  takeUsed(): string[] {
    const keys: string[] = [];
    for (const state of this.#states.values()) {
      if (!state.used && state.inFlight === 0) continue;
      state.used = false;
      if (state.record.kind === "vm") keys.push(state.record.key);
    }
    return keys;
  }

  idleConnections(): number {
    let count = 0;
    for (const state of this.#states.values()) count += state.idle.length;
    return count;
  }

  close(): void {
    this.forget([...this.#states.keys()]);
  }
}

/** What holds for an address holds for it under any policy. */
function isIn(keys: ReadonlySet<string>, key: string): boolean {
  return keys.size > 0 && (keys.has(key) || keys.has(partsOfKey(key).bare));
}
