/*  One worker, as the supervisor sees it.
 *
 *                listening                   3 ticks without an answer
 *   starting -----------------> serving -------------------------------> silent
 *    |    '------------------------|---------------------------------------^ |
 *    |                    drain    |      <---------- an answer --------------' (to where it came from)
 *    |                             v
 *    |                          draining
 *    '---------- exit ------------'--- exit ----- 10 ticks: SIGKILL, exit ---> gone     final
 *
 *  Silence is counted in the supervisor's own ticks: when that was busy for ten seconds, or the whole machine stood still, nobody
 *  is blamed for it, since the answers that waited are read before the next tick.
 */
import type { WorkerStatus } from "../observation/worker-status.ts";
import type { DownMessage, UpMessage } from "./worker-channel.ts";
import type { WorkerLink } from "./worker-link.ts";

/** A running worker, wherever it runs. */
export interface WorkerEnd {
  /** Of its process. */
  readonly pid: number;
  send(message: DownMessage): void;
  /** At once, as SIGKILL does. */
  kill(): void;
}

/** What a worker's end tells of. */
export interface WorkerEvents {
  message(message: UpMessage): void;
  /** Once: `exit code 1`, `SIGKILL`. */
  exit(reason: string): void;
}

export type StartWorker = (worker: number, events: WorkerEvents) => WorkerEnd;

export type MemberState = "starting" | "serving" | "silent" | "draining";
export type Stats = Extract<UpMessage, { type: "stats" }>;

/** Ticks without an answer after which a worker counts as silent, and after which it is ended. */
const SILENT_TICKS = 3;
const ENDED_TICKS = 10;
/** How long a stall is remembered. */
const STALLS_MS = 30_000;

export class FleetMember {
  /** From 1; 0 in the supervisor's own process. */
  readonly worker: number;
  readonly startedAtMs: number;
  readonly end: WorkerEnd;
  readonly link: WorkerLink;
  /** What it counted, as of its last answer. */
  stats: Stats | null = null;
  /** Where it listens; null before it does. */
  listening: Extract<UpMessage, { type: "listening" }> | null = null;
  /** What it said before it ended. */
  error: string | null = null;
  /** Why it is to be replaced. */
  leaving: string | null = null;
  heardAtMs: number | null = null;
  /** What it was told to accept from; null before it may accept. */
  sockets: readonly number[] | null = null;
  /** It was ended because it did not answer. */
  givenUp = false;
  #draining = false;
  #unanswered = 0;
  #askedAtMs = 0;
  #answerMs: number | null = null;
  #answered = 0;
  /** Of the last reports, those that no later one exceeds: the longest first. */
  #stalls: { readonly atMs: number; readonly seconds: number }[] = [];

  constructor(worker: number, end: WorkerEnd, link: WorkerLink, startedAtMs: number) {
    this.worker = worker;
    this.end = end;
    this.link = link;
    this.startedAtMs = startedAtMs;
  }

  get state(): MemberState {
    if (this.#unanswered >= SILENT_TICKS) return "silent";
    if (this.#draining) return "draining";
    return this.listening === null ? "starting" : "serving";
  }

  /** Accepts connections and answers. */
  get serves(): boolean {
    return this.state === "serving";
  }

  /** Clients may already be connected to it, whether it has said so or not. */
  get mayHaveClients(): boolean {
    return this.serves || this.state === "starting" && this.sockets !== null;
  }

  /** The serial of the last `collect` that it has answered. */
  get answered(): number {
    return this.#answered;
  }

  /** Answers whether it is time to give it up. */
  tick(): boolean {
    if (this.#askedAtMs > 0) this.#unanswered++;
    return this.#unanswered >= ENDED_TICKS;
  }

  /** Tells it which sockets to accept from, where that has changed. */
  accept(sockets: readonly number[]): void {
    if (this.sockets !== null && this.sockets.join() === sockets.join()) return;
    this.sockets = sockets;
    this.end.send({ type: "listen", sockets });
  }

  giveUp(): void {
    this.givenUp = true;
    this.end.kill();
  }

  collect(serial: number, nowMs: number): void {
    if (this.#askedAtMs === 0) this.#askedAtMs = nowMs;
    this.end.send({ type: "collect", serial });
  }

  hear(stats: Stats, nowMs: number): void {
    this.stats = stats;
    this.#answered = stats.serial;
    this.#answerMs = nowMs - this.#askedAtMs;
    this.#askedAtMs = 0;
    this.#unanswered = 0;
    this.heardAtMs = nowMs;
    this.#keepStall(nowMs, stats.process.stallSeconds);
  }

  /** Whoever looks comes less often than the reports, and several look. */
  #keepStall(atMs: number, seconds: number): void {
    this.#stalls = this.#stalls.filter((stall) => stall.seconds > seconds && atMs - stall.atMs < STALLS_MS);
    this.#stalls.push({ atMs, seconds });
  }

  drain(graceMs: number, succeeded: boolean): void {
    this.#draining = true;
    this.end.send({ type: "drain", graceMs, succeeded });
  }

  status(revision: number, restarts: number): WorkerStatus {
    const { stats } = this;
    return {
      worker: this.worker,
      pid: this.end.pid,
      state: this.state,
      startedAtMs: this.startedAtMs,
      restarts,
      revision: this.link.appliedRevision,
      revisionsBehind: revision - this.link.appliedRevision,
      heardAtMs: this.heardAtMs,
      answerMs: this.#answerMs,
      figures: stats?.process ?? null,
      longestStallSeconds: this.#stalls[0]?.seconds ?? null,
      metrics: stats?.metrics ?? null,
      policed: stats?.policed ?? null,
    };
  }
}
