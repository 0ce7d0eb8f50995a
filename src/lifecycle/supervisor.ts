/*  One generation of the proxy: the control plane, its workers, the admin address, readiness, and their ends.
 *
 *            start                 table in force, all workers serve        drain, succeeded
 *   created -------> starting -------------------------------------> ready ------------------> draining ---> stopped    final
 *                        '---------------------------------------------------------------------^
 */
import { type AdminApp, adminApp } from "../admin/app.ts";
import { AccessLog } from "../observation/access-log.ts";
import { type DrainStatus, workLeft } from "../observation/drain-status.ts";
import { EventLog } from "../observation/event-log.ts";
import type { AdjustableLog } from "../observation/log.ts";
import { STEP_MS, TrafficHistory } from "../observation/traffic-history.ts";
import type { ListeningSocket } from "../runtime/listening-sockets.ts";
import { type CancelTimer, systemTimers } from "../runtime/timers.ts";
import type { FirstFile } from "../sources/config-file.ts";
import { LAST_GOOD } from "../sources/first-table.ts";
import { AdminAddress } from "./admin-address.ts";
import { adminDependencies } from "./admin-dependencies.ts";
import { Metrics } from "../observation/metrics.ts";
import { noRestarts } from "../observation/worker-status.ts";
import { type CellFile, openCellFile } from "./cell-file.ts";
import { ControlPlane } from "./control-plane.ts";
import { Drain, type DrainManner } from "./drain.ts";
import type { ErrorPageFiles } from "./error-page-folder.ts";
import { Fleet } from "./fleet.ts";
import { type Generation, totalOf } from "./generation.ts";
import { generationSockets } from "./generation-sockets.ts";
import { type DrainReport, Generations } from "./generations.ts";
import type { CheckedGeneration } from "./self-check.ts";
import { statusLine } from "./status-line.ts";
import type { Settings } from "./settings.ts";
import { Steering } from "./steering.ts";
import { type TraceExporter, traceExporter } from "./trace-exporter.ts";
import { otlpLoaded } from "./trace-settings.ts";
import { workerNumbers, workerStart } from "./worker-start.ts";

/** How long clients who wait in a socket that was there before us do so for the first table, before they are told that there is none. */
const WAITING_MS = 3000;
/** What a successor that is to end with us has for that beyond its drain. */
const DISMISS_MS = 2000;
/** What the last spans have to reach their collector when all else has ended. */
const TRACES_MS = 2000;
/** How long a generation may wait for its workers once it has a table. */
const SERVE_MS = 24 * 3_600_000;

export class Supervisor {
  readonly control: ControlPlane;
  /** Resolves with the reason when no worker can be started. */
  readonly failed: Promise<string>;
  /** Resolves with the reason when an operator wants it to drain. */
  readonly drainAsked: Promise<string>;
  readonly #settings: Settings;
  readonly #log: AdjustableLog;
  readonly #accessLog: AccessLog;
  readonly #events: EventLog = new EventLog();
  readonly #traffic: TrafficHistory;
  #cancelSample: CancelTimer = () => {};
  readonly #steering: Steering;
  readonly #drain: Drain;
  readonly #admin: AdminAddress;
  #takingAdmin: Promise<void> | null = null;
  readonly #generations: Generations;
  #fail: (reason: string) => void = () => {};
  #askDrain: (reason: string) => void = () => {};
  #sockets: readonly ListeningSocket[] = [];
  #isReady = false;
  /** The service manager has opened the sockets. */
  #activated = false;
  #cells: CellFile | null = null;
  #fleet: Fleet | null = null;
  /** null: nothing is exported, or not yet. */
  #traces: TraceExporter | null = null;

  /** `pages`: of the settings' folder. `file`: of the settings' routes file; null: there is none. */
  constructor(settings: Settings, log: AdjustableLog, pages: ErrorPageFiles, file: FirstFile | null) {
    this.#settings = settings;
    this.#log = log;
    this.#accessLog = new AccessLog({ sampling: settings.accessLog });
    this.#admin = new AdminAddress(settings, log);
    this.#generations = new Generations(settings, log, systemTimers);
    this.failed = new Promise((resolve) => this.#fail = resolve);
    this.drainAsked = new Promise((resolve) => this.#askDrain = resolve);
    this.#steering = new Steering({
      settings,
      log,
      events: this.#events,
      pages,
      changed: () => this.#fleet?.ordersChanged(),
      obeyed: async () => await this.#fleet?.ask({ kind: "nothing" }),
    });
    this.control = new ControlPlane(
      settings,
      {
        routesChanged: () => this.#fleet?.routesChanged(),
        healthChanged: (verdicts) => this.#fleet?.healthChanged(verdicts),
        applied: async (revision) => await this.#fleet?.applied(revision) ?? true,
        policiesApplied: async (revision) => await this.#fleet?.policiesApplied(revision) ?? true,
      },
      log,
      this.#events,
      file,
    );
    this.#traffic = new TrafficHistory(() => totalOf(this.generation), systemTimers.nowMs);
    const { drainDelayMs: delayMs, shutdownTimeoutMs: graceMs } = settings;
    const work = {
      finish: (withinMs: number, succeeded: boolean) => this.#finish(withinMs, succeeded),
      left: () => workLeft(totalOf(this.generation)),
      collect: () => this.generation.collect(),
      kill: () => this.#fleet?.kill(),
    };
    this.#drain = new Drain(work, { delayMs, graceMs, log, timers: systemTimers });
  }

  /** How far the end is; null while it serves. */
  get draining(): DrainStatus | null {
    return this.#drain.status;
  }

  /**
   * Opens both addresses and begins to read routes; until the first table requests get 503. Where another generation serves, that one
   * goes on until we are ready. Rejects when an address is taken.
   */
  async start(): Promise<void> {
    await Promise.all([this.#takeSockets(), this.#steering.load()]);
    if (this.draining !== null) return this.#generations.leave(); // there is nothing else yet
    this.#cells = openCellFile(this.#generations.memory, this.#settings.workers, this.#log);
    this.#generations.offer(this.#sockets, this.#cells?.descriptor ?? null);
    this.#traces = traceExporter(this.#settings, this.#log);
    this.#fleet = this.#createFleet();
    this.#fleet.start();
    this.#listenInTime();
    this.control.start();
    this.#sampleTraffic();
    if (!this.#generations.adminHeld) await this.#admin.openAlone(this.#adminApp(), () => this.#generations.adminLeft);
  }

  /** For the admin address, the self-check and the service manager. */
  get generation(): Generation & CheckedGeneration {
    return {
      collect: async () => await this.#fleet?.collect(),
      workers: () => this.#fleet?.statuses() ?? [],
      restarts: () => this.#fleet?.restarts ?? noRestarts(),
      retired: () => this.#fleet?.retired ?? new Metrics().snapshot(),
      drain: () => this.draining,
      predecessors: () => this.#generations.predecessors(),
      refreshNow: (reason) => this.control.refreshNow(reason),
      events: this.#events,
      traffic: this.#traffic,
      closing: this.#admin.closing,
      logLevel: this.#steering.logLevel,
      beginDrain: (reason) => this.#askDrain(reason),
      cordons: this.#steering.cordons,
      policyOrders: this.#steering.policyOrders,
      ask: async (question, whom) => await this.#fleet?.ask(question, whom) ?? [],
      spans: () => this.#traces?.figures ?? null,
      revision: () => this.control.snapshot.revision,
      nowMs: () => systemTimers.nowMs(),
    };
  }

  /** For `systemctl status`. */
  statusLine(): string {
    const { routes, lastSuccessAtMs, pinned, tableSource } = this.control.refresher.status();
    const tableAgeMs = lastSuccessAtMs === null ? null : systemTimers.nowMs() - lastSuccessAtMs;
    const tableIs = pinned !== null ? `pinned to revision ${pinned.revision}` : tableSource === LAST_GOOD ? LAST_GOOD : null;
    return statusLine({ routes, tableAgeMs, tableIs, workers: this.generation.workers(), drain: this.draining });
  }

  /** How long the end may take. */
  get mostDrainMs(): number {
    return this.#drain.mostMs;
  }

  /**
   * Resolves once the table is in force and every worker serves it; those before us are then told to drain. Rejects when the admin address,
   * which one of them had, cannot be had.
   */
  async ready(): Promise<void> {
    const fleet = this.#fleet;
    if (fleet === null) return;
    await this.control.loaded();
    fleet.listen();
    await fleet.until(() => fleet.complete, SERVE_MS);
    await fleet.applied(this.control.snapshot.revision);
    if (!this.#admin.isOpen) await this.#takeAdmin();
    this.#isReady = true;
    fleet.takeCharge(); // in this order: two that serve are better than none, should we die in between
    this.#generations.ready();
  }

  /** Starts the next generation, which takes over from us once it is ready. */
  handOver(): void {
    if (this.draining === null) this.#generations.startSuccessor();
  }

  /** Resolves when a successor has taken over; `own` if we have started it ourselves. */
  get succeeded(): Promise<{ readonly pid: number; readonly own: boolean }> {
    return this.#generations.succeeded.then((successor) => ({ pid: successor.pid, own: this.#generations.isChild(successor) }));
  }

  /** One that we have started is a child of the service manager from then on. */
  releaseSuccessor(): Promise<void> {
    return this.#generations.releaseSuccessor();
  }

  /** Readiness turns false at once; resolves when everything is closed. Answers how many exchanges were cut. */
  async stop(reason: string, how: DrainManner = {}): Promise<number> {
    const { drainDelayMs, shutdownTimeoutMs } = this.#settings;
    const dismissed = how.succeeded === true
      ? null
      : this.#generations.dismissSuccessor(drainDelayMs + shutdownTimeoutMs + DISMISS_MS);
    const over = this.#drain.begin(reason, how);
    if (how.succeeded === true) {
      this.control.succeeded();
      this.#steering.retire();
      // The successor has the address, too, and should be the only one who answers there
      await this.#admin.close({ succeeded: true });
      this.#generations.report(() => drainReport(this.draining!));
    }
    const cut = await over;
    const exported = this.#traces?.close(TRACES_MS);
    await dismissed;
    await this.control.close();
    await this.#admin.close();
    this.#cancelSample();
    this.#steering.close();
    this.#generations.leave();
    this.#cells?.close();
    await exported;
    this.#log.debug("traces", { opentelemetry_loaded: otlpLoaded(), ...this.#traces?.figures });
    this.#accessLog.close();
    return cut;
  }

  /** What the configuration says counts again, and what the source and the error pages say now. */
  async reload(reason: string): Promise<void> {
    await Promise.all([this.control.refreshNow(reason), this.#steering.reload(reason)]);
  }

  #sampleTraffic(): void {
    this.#cancelSample = systemTimers.after(STEP_MS, () => {
      this.#traffic.sample();
      this.#sampleTraffic();
    });
  }

  /** Ends workers and this generation at once. */
  kill(): void {
    this.#fleet?.kill();
  }

  async #takeSockets(): Promise<void> {
    const over = (): boolean => this.draining !== null;
    const taken = await generationSockets({ settings: this.#settings, generations: this.#generations, over, log: this.#log });
    this.#sockets = taken.sockets;
    this.#activated = taken.activated;
  }

  /**
   * Requests that find no table get 503 at once, so that a load balancer learns of it. But where others serve, nobody is to get that from
   * us; and who waits in a socket of the service manager has waited already, for the rest of a restart: a moment more is better.
   */
  #listenInTime(): void {
    const { handOverTimeoutMs } = this.#settings;
    if (this.#generations.preceded) {
      systemTimers.after(handOverTimeoutMs, () => {
        if (this.#isReady || this.draining !== null || !this.#generations.preceded) return;
        this.#fail(`Cannot take over: not ready within ${handOverTimeoutMs} ms`);
      });
      this.#generations.onAlone = () => this.#listenAlone();
    } else if (this.#activated) systemTimers.after(WAITING_MS, () => this.#fleet?.listen());
    else this.#fleet?.listen();
  }

  /** Those before us are gone, and nobody is left whom our failure would leave in place: now it is as at any start. */
  #listenAlone(): void {
    systemTimers.after(WAITING_MS, () => this.#fleet?.listen());
    if (!this.#admin.isOpen) this.#takeAdmin().catch((error: Error) => this.#fail(error.message));
  }

  #createFleet(): Fleet {
    const settings = this.#settings;
    const descriptors = this.#sockets.map(({ fd }) => fd);
    const beside = () => this.#generations.preceded && !this.#isReady;
    return new Fleet({
      workers: workerNumbers(settings),
      sockets: descriptors.length,
      start: workerStart({ settings, descriptors, cells: this.#cells, beside, log: this.#log, accessLog: this.#accessLog }),
      snapshot: () => this.control.snapshot,
      policies: () => this.control.policySnapshot,
      orders: () => this.#steering.orders,
      tell: (worker, state, reason) => this.#events.publish({ type: "worker", worker, state, reason }),
      receive: (message) => {
        if (message.type === "seen") this.#traces?.add(message.traced, message.spansLost);
        this.control.receive(message);
      },
      failed: (reason) => this.#fail(reason),
      graceMs: settings.shutdownTimeoutMs,
      log: this.#log,
      timers: systemTimers,
    });
  }

  /** Until now those before us had it, and could change the cordons. */
  #takeAdmin(): Promise<void> {
    return this.#takingAdmin ??= this.#steering.load().then(() => this.#admin.open(this.#adminApp(), true));
  }

  #adminApp(): AdminApp {
    return adminApp(adminDependencies(this.control, this.#settings, this.#log, this.generation));
  }

  #finish(graceMs: number, succeeded: boolean): Promise<number> {
    this.#generations.close(); // until now a successor could come
    // Ours first: the workers empty the queues before they close the last copies
    for (const socket of this.#sockets) socket.close();
    return this.#fleet?.drain(graceMs, succeeded) ?? Promise.resolve(0);
  }
}

function drainReport({ left, deadlineAtMs }: DrainStatus): DrainReport {
  return { left, remainingMs: Math.max(0, deadlineAtMs - systemTimers.nowMs()) };
}
