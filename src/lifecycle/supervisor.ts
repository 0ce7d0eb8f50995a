/*  One generation of the proxy: the control plane, its workers, the admin address, readiness, and their ends.
 *
 *            start                 table in force, a worker serves         drain
 *   created -------> starting -------------------------------------> ready -------> draining ---> stopped    final
 *                        '----------------------------------------------------------^
 */
import process from "node:process";
import { adminApp } from "../admin/app.ts";
import { AccessLog } from "../observation/access-log.ts";
import { type DrainStatus, workLeft } from "../observation/drain-status.ts";
import type { Log } from "../observation/log.ts";
import { inheritedListeningSockets, type ListeningSocket, openListeningSockets } from "../runtime/listening-sockets.ts";
import { socketDoors } from "../runtime/sockets.ts";
import { type FetchServer, serveFetch } from "../runtime/serve.ts";
import { systemTimers } from "../runtime/timers.ts";
import { adminDependencies, type Generation, totalOf } from "./admin-dependencies.ts";
import { Metrics } from "../observation/metrics.ts";
import { noRestarts } from "../observation/worker-status.ts";
import { childWorker } from "./child-worker.ts";
import { ControlPlane } from "./control-plane.ts";
import { Drain, type DrainManner } from "./drain.ts";
import { Fleet } from "./fleet.ts";
import { localWorker } from "./local-worker.ts";
import type { CheckedGeneration } from "./self-check.ts";
import { statusLine } from "./status-line.ts";
import type { Settings } from "./settings.ts";
import type { WorkerSettings } from "./worker-channel.ts";

/** How long a generation may wait for its workers once it has a table. */
const SERVE_MS = 24 * 3_600_000;

export class Supervisor {
  readonly control: ControlPlane;
  /** Resolves with the reason when no worker can be started. */
  readonly failed: Promise<string>;
  readonly #settings: Settings;
  readonly #log: Log;
  readonly #accessLog: AccessLog;
  readonly #drain: Drain;
  #fail: (reason: string) => void = () => {};
  #sockets: readonly ListeningSocket[] = [];
  #fleet: Fleet | null = null;
  #admin: FetchServer | null = null;

  constructor(settings: Settings, log: Log) {
    this.#settings = settings;
    this.#log = log;
    this.#accessLog = new AccessLog({ share: settings.accessLogShare });
    this.failed = new Promise((resolve) => this.#fail = resolve);
    this.control = new ControlPlane(settings, {
      routesChanged: (delta, revision) => this.#fleet?.routesChanged(delta, revision),
      healthChanged: (verdicts) => this.#fleet?.healthChanged(verdicts),
      applied: async (revision) => await this.#fleet?.applied(revision) ?? true,
    }, log);
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

  /** Opens both addresses and begins to read routes; until the first table requests get 503. Rejects when an address is taken. */
  async start(): Promise<void> {
    this.#sockets = this.#openSockets();
    this.#fleet = this.#createFleet();
    this.#fleet.start();
    this.#fleet.listen();
    this.control.start();
    await this.#openAdmin();
  }

  /** For the admin address, the self-check and the service manager. */
  get generation(): Generation & CheckedGeneration {
    return {
      collect: async () => await this.#fleet?.collect(),
      workers: () => this.#fleet?.statuses() ?? [],
      restarts: () => this.#fleet?.restarts ?? noRestarts(),
      retired: () => this.#fleet?.retired ?? new Metrics().snapshot(),
      drain: () => this.draining,
      predecessors: () => [],
      refreshNow: (reason) => this.control.refreshNow(reason),
      revision: () => this.control.snapshot.revision,
      nowMs: () => systemTimers.nowMs(),
    };
  }

  /** For `systemctl status`. */
  statusLine(): string {
    const { routes, lastSuccessAtMs } = this.control.refreshStatus();
    const tableAgeMs = lastSuccessAtMs === null ? null : systemTimers.nowMs() - lastSuccessAtMs;
    return statusLine({ routes, tableAgeMs, workers: this.generation.workers(), drain: this.draining });
  }

  /** How long the end may take. */
  get mostDrainMs(): number {
    return this.#drain.mostMs;
  }

  /** Resolves once the table is in force and a worker serves it. */
  async ready(): Promise<void> {
    await this.control.loaded();
    await this.#fleet!.until(() => this.#fleet!.serving > 0, SERVE_MS);
    await this.#fleet!.applied(this.control.snapshot.revision);
  }

  /** Readiness turns false at once; resolves when everything is closed. Answers how many exchanges were cut. */
  async stop(reason: string, how: DrainManner = {}): Promise<number> {
    const cut = await this.#drain.begin(reason, how);
    await this.control.close();
    await this.#admin?.close();
    this.#accessLog.close();
    return cut;
  }

  /** Ends workers and this generation at once. */
  kill(): void {
    this.#fleet?.kill();
  }

  /** None where workers bind sockets of their own. */
  #openSockets(): readonly ListeningSocket[] {
    const { httpAddr, workers } = this.#settings;
    const given = inheritedListeningSockets(process.env);
    const sockets = given ?? openListeningSockets({ ...httpAddr, count: Math.max(workers, 1), reusePort: true }) ?? [];
    this.#log.info("listening", {
      address: sockets[0]?.host ?? httpAddr.host,
      "http_port": sockets[0]?.port ?? httpAddr.port,
      workers,
      sockets: socketDoors()[0]!.name,
      ...given !== null && { from: "service manager" },
    });
    return sockets;
  }

  #createFleet(): Fleet {
    const { shutdownTimeoutMs: graceMs, workers } = this.#settings;
    const settings = workerSettings(this.#settings);
    const descriptors = this.#sockets.map(({ fd }) => fd);
    const start = workers === 0
      ? localWorker({ settings, descriptors, log: this.#log, accessLog: this.#accessLog })
      : childWorker(settings, descriptors);
    return new Fleet({
      workers: workers === 0 ? [0] : Array.from({ length: workers }, (_, index) => index + 1),
      sockets: descriptors.length,
      start,
      snapshot: () => this.control.snapshot,
      receive: (message) => this.control.receive(message),
      failed: (reason) => this.#fail(reason),
      graceMs,
      log: this.#log,
      timers: systemTimers,
    });
  }

  async #openAdmin(): Promise<void> {
    const { adminAddr } = this.#settings;
    if (adminAddr === null) return;
    const app = adminApp(adminDependencies(this.control, this.#settings, this.#log, this.generation));
    this.#admin = await serveFetch({ host: adminAddr.host, port: adminAddr.port, fetch: (request) => app.fetch(request) });
    this.#log.info("admin listening", { address: adminAddr.host, "admin_port": this.#admin.port });
  }

  #finish(graceMs: number, succeeded: boolean): Promise<number> {
    // Ours first: the workers empty the queues before they close the last copies
    for (const socket of this.#sockets) socket.close();
    return this.#fleet?.drain(graceMs, succeeded) ?? Promise.resolve(0);
  }
}

function workerSettings(settings: Settings): WorkerSettings {
  const { databaseUrl: _database, adminAddr: _address, adminToken: _token, ...rest } = settings;
  return rest;
}
