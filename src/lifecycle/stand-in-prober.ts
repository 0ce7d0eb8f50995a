/*  Probes in the worker, for when the supervisor says nothing: however long that one is busy, hangs or is dead, no request waits for it.
 *
 *               asked, and nothing heard for 300 ms; nothing heard for long          orphaned
 *   listening ------------------------------------------------------> standing in ------------> alone     final
 *    ^   '-------------------------------------- orphaned --------------- | -------------------^
 *    '---------------------- the supervisor says anything ----------------'
 *
 *  - listening: `wanted` and `failed` go to the supervisor, which says at once that it has heard. While a verdict is due it is asked
 *    again with every tick, so a supervisor that is awake and waits for a slow VM is told from one that sleeps.
 *  - standing in: they go to our own prober, too, beginning with those that wait. After a long silence all VMs in use are probed.
 *  - The supervisor's verdict on a VM wins: our own prober then forgets that VM. It gets one on every VM that we have asked about.
 *  - alone: only our own prober is asked, until the end.
 */
import type { Log } from "../observation/log.ts";
import type { CancelTimer, Timers } from "../runtime/timers.ts";
import type { EndpointRecord } from "../table/record.ts";
import type { HealthVerdict } from "../upstream/availability.ts";
import type { ProbeRequests } from "../upstream/endpoint-state.ts";
import type { HealthOf, Probe } from "../upstream/probe.ts";
import type { Verdict } from "../upstream/endpoint-findings.ts";
import { Prober } from "../upstream/prober.ts";
import type { UpMessage } from "./worker-channel.ts";

export interface StandInOptions {
  /** Of this worker. */
  readonly endpoints: () => ProbedEndpoints;
  /** To the supervisor. */
  send(message: UpMessage): void;
  readonly probe: Probe;
  readonly intervalMs: number;
  /** Default: no service says anything of its checks. */
  readonly healthOf?: HealthOf;
  readonly log: Log;
  readonly timers: Timers;
  /** 0 to 1. */
  readonly random: () => number;
}

/** What of the live endpoints matters here. */
export interface ProbedEndpoints {
  find(key: string): EndpointRecord | undefined;
  /** The VMs on which there is a verdict. */
  judgedVms(): EndpointRecord[];
  judge(key: string, verdict: HealthVerdict, reason?: string): void;
  takeUsed(): string[];
}

/** A supervisor that is asked and says nothing for two ticks is silent. */
const TICK_MS = 150;
const SILENT_TICKS = 2;
/** Without being asked it says something every second. */
const LONG_SILENCE_MS = 5000;
const USED_MS = 1000;

export class StandInProber implements ProbeRequests {
  readonly #options: StandInOptions;
  readonly #prober: Prober;
  #state: "listening" | "standing-in" | "alone" = "listening";
  /** What the supervisor was asked about and has not judged. */
  readonly #waiting: Set<string> = new Set();
  /** Had traffic, and the supervisor has not been told. */
  readonly #used: Set<string> = new Set();
  /** How often the supervisor has said something. */
  #words = 0;
  #cancelTick: CancelTimer | null = null;
  #cancelSilence: CancelTimer = () => {};
  #cancelUse: CancelTimer = () => {};

  constructor(options: StandInOptions) {
    const { probe, intervalMs, healthOf, log, timers, random } = options;
    this.#options = options;
    const publish = (verdicts: readonly Verdict[]) => this.#pass(verdicts);
    this.#prober = new Prober({ probe, intervalMs, log, timers, random, publish, ...healthOf !== undefined && { healthOf } });
    this.#awaitLongSilence();
  }

  wanted(key: string): void {
    this.#ask({ type: "wanted", key }, (endpoint) => this.#prober.want(endpoint));
  }

  failed(key: string, error: string): void {
    this.#ask({ type: "failed", key, error }, (endpoint) => this.#prober.failed(endpoint, error));
  }

  /** The supervisor has said something, whatever it was. */
  heard(): void {
    this.#words++;
    if (this.#state !== "standing-in") return;
    this.#state = "listening";
    this.#cancelUse();
    this.#beginTicks();
  }

  /** What the supervisor says of endpoints. */
  judged(verdicts: readonly Verdict[]): void {
    for (const [key, verdict] of verdicts) if (verdict !== "unprobed") this.#waiting.delete(key);
    const keys = new Set(verdicts.map(([key]) => key));
    this.#prober.retain({ has: (key) => !keys.has(key) });
    this.#pass(verdicts);
  }

  /** No route leads to these any more. */
  forget(keys: readonly string[]): void {
    const gone = new Set(keys);
    for (const key of gone) this.#waiting.delete(key);
    this.#prober.retain({ has: (key) => !gone.has(key) });
  }

  /** For the supervisor: keys of VMs that had traffic since the last call. */
  takeUsed(): string[] {
    this.#gatherUsed();
    const used = [...this.#used];
    this.#used.clear();
    return used;
  }

  /** The supervisor is gone for good. */
  orphaned(): void {
    this.#state = "alone";
    this.#cancelTick?.();
    this.#cancelSilence();
    this.#probeWaiting();
    for (const endpoint of this.#options.endpoints().judgedVms()) this.#prober.want(endpoint);
    this.#waiting.clear();
    this.#reportUse();
  }

  /** Other policies are in force. */
  healthChanged(): void {
    this.#prober.healthChanged();
  }

  stop(): void {
    this.#state = "alone";
    this.#cancelTick?.();
    this.#cancelSilence();
    this.#cancelUse();
    this.#prober.stop();
  }

  #ask(message: Extract<UpMessage, { type: "wanted" | "failed" }>, probe: (endpoint: EndpointRecord) => void): void {
    if (this.#state !== "listening") {
      const endpoint = this.#options.endpoints().find(message.key);
      if (endpoint !== undefined) probe(endpoint);
    }
    if (this.#state === "alone") return;
    this.#waiting.add(message.key);
    this.#beginTicks();
    this.#options.send(message);
  }

  #beginTicks(): void {
    if (this.#cancelTick === null && this.#state === "listening") this.#scheduleTick(0);
  }

  #scheduleTick(silentTicks: number): void {
    const before = this.#words;
    this.#cancelTick = this.#options.timers.after(TICK_MS, () => {
      this.#cancelTick = null;
      this.#tick(this.#words === before ? silentTicks + 1 : 0);
    });
  }

  #tick(silentTicks: number): void {
    const [oldest] = this.#waiting;
    if (oldest === undefined || this.#state !== "listening") return;
    if (silentTicks >= SILENT_TICKS) return this.#standIn();
    this.#scheduleTick(silentTicks);
    this.#options.send({ type: "wanted", key: oldest });
  }

  #standIn(): void {
    this.#state = "standing-in";
    this.#options.log.debug("standing in for the supervisor", { waiting: this.#waiting.size });
    this.#probeWaiting();
    this.#reportUse();
  }

  #probeWaiting(): void {
    for (const key of this.#waiting) {
      const endpoint = this.#options.endpoints().find(key);
      if (endpoint === undefined) this.#waiting.delete(key);
      else this.#prober.want(endpoint);
    }
  }

  /** The VMs in use must be probed, too, where no request has to wait for that. */
  #awaitLongSilence(): void {
    const before = this.#words;
    this.#cancelSilence = this.#options.timers.after(LONG_SILENCE_MS, () => {
      this.#awaitLongSilence();
      if (this.#words > before) return;
      for (const { key } of this.#options.endpoints().judgedVms()) {
        if (this.#waiting.has(key)) continue;
        this.#waiting.add(key);
        this.#options.send({ type: "wanted", key });
      }
      if (this.#waiting.size > 0) this.#standIn();
    });
  }

  /** While nobody collects it. */
  #reportUse(): void {
    this.#cancelUse();
    this.#gatherUsed();
    this.#cancelUse = this.#options.timers.after(USED_MS, () => this.#reportUse());
  }

  #gatherUsed(): void {
    const keys = this.#options.endpoints().takeUsed();
    this.#prober.used(keys);
    if (this.#state !== "alone") { for (const key of keys) this.#used.add(key); }
  }

  #pass(verdicts: readonly Verdict[]): void {
    const endpoints = this.#options.endpoints();
    for (const verdict of verdicts) endpoints.judge(...verdict);
  }
}
