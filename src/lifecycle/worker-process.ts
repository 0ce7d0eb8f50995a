/*  A process that is one worker, started and told what to do by a supervisor.
 *
 *            settings              listen             drain
 *   waiting ----------> starting ---------> serving ---------------------------> draining ---> ended     final
 *      |                   |                   '--- the supervisor is gone ---> orphaned --------^
 *      '--- the supervisor is gone: ended          a successor is ready, SIGTERM, the bound has passed,
 *                                                  or at once: the generation before this one still serves
 *
 *  An orphan that has a table serves on with it, probes for itself, and offers its listening sockets to the next generation. SIGTERM to a
 *  worker with a supervisor is passed on to that one, which starts a replacement and then says `drain`; only if it has been silent
 *  for long does the worker act by itself.
 */
import process from "node:process";
import { AccessLog } from "../observation/access-log.ts";
import { type AdjustableLog, createLog } from "../observation/log.ts";
import type { ParentChannel } from "../runtime/child-process.ts";
import { closeDescriptor } from "../runtime/listening-sockets.ts";
import { onSignals } from "../runtime/signals.ts";
import { systemTimers } from "../runtime/timers.ts";
import { socketDoors } from "../runtime/sockets.ts";
import { cellTable } from "./cell-file.ts";
import { identityOf } from "./generations.ts";
import { handOverKey } from "./hand-over.ts";
import { offerSuccession, type SuccessionOffer } from "./succession-offer.ts";
import type { Channel, DownMessage, UpMessage, WorkerSettings } from "./worker-channel.ts";
import { Worker } from "./worker.ts";

/** A supervisor that has said nothing for so long does not answer `leaving` either. */
const SUPERVISOR_SILENT_MS = 10_000;
/** When to try again to accept from a socket: files may be wanting for the moment. */
const LISTEN_AGAIN_MS = 1000;

type Phase = "waiting" | "starting" | "serving" | "orphaned" | "draining" | "ended";

export class WorkerProcess {
  readonly #parent: ParentChannel;
  readonly #ended: PromiseWithResolvers<number> = Promise.withResolvers();
  readonly #channel: Channel<UpMessage, DownMessage>;
  #phase: Phase = "waiting";
  #settings: WorkerSettings | null = null;
  #descriptors: readonly number[] = [];
  /** Of the memory that workers share; null: none. */
  #memory: number | null = null;
  #log: AdjustableLog = createLog("info");
  #worker: Worker | null = null;
  #accessLog: AccessLog | null = null;
  #heardAtMs = performance.now();
  #leaving = false;
  #listenAgain: ReturnType<typeof setTimeout> | undefined;
  /** Another generation accepts from the same sockets. */
  #beside = false;
  #offer: SuccessionOffer | null = null;

  constructor(parent: ParentChannel) {
    this.#parent = parent;
    this.#channel = { send: (message) => parent.send(message), onMessage: () => {} };
  }

  /** Resolves to the exit code. */
  run(): Promise<number> {
    this.#parent.onMessage((message) => this.#receive(message as DownMessage));
    this.#parent.onClose(() => this.#orphan());
    onSignals({ SIGTERM: () => this.#asked("SIGTERM"), SIGINT: () => {}, SIGHUP: () => {}, SIGUSR2: () => {} });
    process.on("uncaughtException", (error) => this.#fault("uncaught exception", error));
    process.on("unhandledRejection", (error) => this.#fault("unhandled rejection", error));
    return this.#ended.promise;
  }

  #receive(message: DownMessage): void {
    this.#heardAtMs = performance.now();
    switch (message.type) {
      case "settings":
        return this.#begin(message);
      case "listen":
        return void this.#listen(message.sockets);
      case "in-charge":
        this.#beside = false;
        return;
      case "standing":
        this.#log.level = message.orders.logLevel ?? this.#settings!.logLevel;
        return this.#channel.onMessage(message);
      case "drain":
        return void this.#drain(message.graceMs, message.succeeded);
      default:
        this.#channel.onMessage(message);
    }
  }

  #begin({ worker, settings, descriptors, cells = null, beside }: Extract<DownMessage, { type: "settings" }>): void {
    this.#phase = "starting";
    this.#settings = settings;
    this.#beside = beside;
    this.#descriptors = descriptors;
    this.#log = createLog(settings.logLevel, undefined, { worker });
    this.#accessLog = new AccessLog({ sampling: settings.accessLog });
    this.#memory = cells;
    const table = cellTable(cells, this.#log);
    this.#worker = new Worker(settings, this.#channel, this.#log, this.#accessLog, descriptors, worker, table);
  }

  /** A worker that serves does not end because one more socket cannot be had: the connections that it has are worth more. */
  async #listen(sockets: readonly number[]): Promise<void> {
    clearTimeout(this.#listenAgain);
    if (!this.#accepts) return;
    try {
      const port = await this.#worker!.listen(sockets);
      if (this.#phase !== "starting") return;
      this.#phase = "serving";
      this.#channel.send({ type: "listening", port, sockets: socketDoors()[0]!.name });
    } catch (error) {
      if (!this.#accepts) return;
      const { message } = error as Error;
      if (this.#phase !== "starting") {
        this.#log.error("cannot accept from other sockets, trying again", { error: message });
        this.#listenAgain = setTimeout(() => void this.#listen(sockets), LISTEN_AGAIN_MS);
        return;
      }
      this.#channel.send({ type: "failed-to-start", error: message });
      this.#end(1);
    }
  }

  get #accepts(): boolean {
    return this.#phase === "starting" || this.#phase === "serving" || this.#phase === "orphaned";
  }

  /** The supervisor is gone. */
  #orphan(): void {
    this.#worker?.orphaned(); // also while it drains: what is left may need a probe
    if (this.#phase === "draining") return;
    // Without a table it would serve nobody, and the next generation waits for one before it takes over
    if (this.#phase !== "serving" || !this.#worker!.hasTable) return this.#end(1);
    const { orphanTimeoutMs, shutdownTimeoutMs } = this.#settings!;
    if (this.#beside) {
      // Others serve, with a table that somebody keeps up to date
      this.#log.warn("the supervisor is gone before it took over, draining");
      return void this.#drain(shutdownTimeoutMs, false);
    }
    this.#phase = "orphaned";
    this.#log.warn("the supervisor is gone, serving on", { for_ms: orphanTimeoutMs });
    // Who else accepted from them may be gone, and nobody is there to say who does now
    if (this.#descriptors.length > 0) void this.#listen([...this.#descriptors.keys()]);
    this.#offerSockets(this.#settings!);
    setTimeout(() => {
      if (this.#phase !== "orphaned") return;
      this.#log.warn("orphaned for too long, draining");
      void this.#drain(shutdownTimeoutMs, false);
    }, orphanTimeoutMs);
  }

  /** A new supervisor's workers accept from our sockets, then tell us to drain. */
  #offerSockets(settings: WorkerSettings): void {
    const key = handOverKey(settings.httpAddr.host, settings.httpAddr.port);
    if (key === null || this.#descriptors.length === 0) return;
    this.#offer = offerSuccession({
      key,
      identity: identityOf(settings, performance.timeOrigin, "worker"),
      listeners: () => this.#descriptors,
      memory: () => this.#memory,
      readyWithinMs: settings.handOverTimeoutMs,
      onSucceeded: ({ pid, close }) => {
        this.#log.info("a new supervisor has taken over, draining", { pid });
        void this.#drain(settings.shutdownTimeoutMs, true).then(close);
      },
      log: this.#log,
      timers: systemTimers,
    });
  }

  /** Somebody wants this process to end. */
  #asked(signal: string): void {
    if (this.#phase === "orphaned") return void this.#drain(this.#settings!.shutdownTimeoutMs, false);
    if (this.#leaving || this.#phase === "draining") {
      this.#log.warn("second signal, exiting at once", { signal });
      return this.#end(1);
    }
    this.#leave(signal);
    setInterval(() => {
      if (this.#phase !== "serving" || performance.now() - this.#heardAtMs < SUPERVISOR_SILENT_MS) return;
      void this.#drain(this.#settings!.shutdownTimeoutMs, false);
    }, SUPERVISOR_SILENT_MS).unref();
  }

  #leave(reason: string): void {
    if (this.#leaving || this.#phase !== "serving") return;
    this.#leaving = true;
    this.#channel.send({ type: "leaving", reason });
  }

  /** A bug in one request must not end the others; but what it may have left behind ends with this process, once that is replaced. */
  #fault(name: string, error: unknown): void {
    this.#log.error(name, { error });
    this.#leave(name);
  }

  async #drain(graceMs: number, succeeded: boolean): Promise<void> {
    if (this.#phase === "draining" || this.#phase === "ended") return;
    this.#phase = "draining";
    if (!succeeded) this.#offer?.close(); // those are about to be closed
    // What the worker accepts from it has copies of; who closes the last one empties the queue before
    for (const descriptor of this.#descriptors) closeDescriptor(descriptor);
    const cut = await this.#worker?.drain(graceMs, succeeded) ?? 0;
    this.#channel.send({ type: "drained", cut });
    this.#offer?.close();
    this.#end(0);
  }

  #end(exitCode: number): void {
    this.#phase = "ended";
    this.#accessLog?.close();
    this.#ended.resolve(exitCode);
  }
}
