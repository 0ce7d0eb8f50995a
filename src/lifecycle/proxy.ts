/*  The whole proxy in one process: both planes, the admin address, readiness, and their ends.
 *
 *            start                 first table               drain
 *   created -------> starting ------------------> ready ----------------> draining ---> stopped    final
 *                        '-------------------------------------------------^
 */
import { adminApp } from "../admin/app.ts";
import { AccessLog } from "../observation/access-log.ts";
import { type DrainStatus, workLeft } from "../observation/drain-status.ts";
import type { Log } from "../observation/log.ts";
import { Metrics, type MetricsSnapshot } from "../observation/metrics.ts";
import { noRestarts, type WorkerStatus } from "../observation/worker-status.ts";
import { type FetchServer, serveFetch } from "../runtime/serve.ts";
import { socketDoors } from "../runtime/sockets.ts";
import { systemTimers } from "../runtime/timers.ts";
import { adminDependencies, type Generation } from "./admin-dependencies.ts";
import { ControlPlane } from "./control-plane.ts";
import { Drain, type DrainManner } from "./drain.ts";
import type { Settings } from "./settings.ts";
import { type Channel, type DownMessage, inProcessChannel, type UpMessage } from "./worker-channel.ts";
import { WorkerLink } from "./worker-link.ts";
import { WorkerLinks } from "./worker-links.ts";
import { Worker } from "./worker.ts";

/** How often the worker tells which endpoints had traffic. */
const COLLECT_MS = 1000;

export class Proxy {
  readonly control: ControlPlane;
  readonly #settings: Settings;
  readonly #log: Log;
  readonly #accessLog: AccessLog;
  readonly #channel: Channel<DownMessage, UpMessage>;
  readonly #worker: Worker;
  readonly #drain: Drain;
  readonly #collecting: ReturnType<typeof setInterval>;
  #metrics: MetricsSnapshot = new Metrics().snapshot();
  readonly #startedAtMs: number = systemTimers.nowMs();
  #admin: FetchServer | null = null;

  constructor(settings: Settings, log: Log) {
    const channel = inProcessChannel();
    this.#settings = settings;
    this.#log = log;
    this.#accessLog = new AccessLog({ share: settings.accessLogShare });
    this.#channel = channel.control;
    const links = new WorkerLinks(systemTimers);
    this.control = new ControlPlane(settings, links, log);
    this.#worker = new Worker(settings, channel.worker, log, this.#accessLog);
    this.#linkWorker(links);
    this.#collecting = setInterval(() => this.#collect(), COLLECT_MS);
    this.#collecting.unref();
    const work = {
      finish: (graceMs: number) => this.#worker.drain(graceMs),
      left: () => workLeft(this.#collect()),
      kill: () => {},
    };
    const { drainDelayMs: delayMs, shutdownTimeoutMs: graceMs } = settings;
    this.#drain = new Drain(work, { delayMs, graceMs, log, timers: systemTimers });
  }

  /** Null while it serves. */
  get drain(): DrainStatus | null {
    return this.#drain.status;
  }

  /** Opens both addresses and begins to read routes; until the first table requests get 503. Rejects when an address is taken. */
  async start(): Promise<void> {
    const { adminAddr, httpAddr } = this.#settings;
    const port = await this.#worker.listen();
    this.#log.info("listening", { address: httpAddr.host, "http_port": port, sockets: socketDoors()[0]?.name });
    if (adminAddr !== null) {
      const app = adminApp(adminDependencies(this.control, this.#settings, this.#log, this.#generation()));
      this.#admin = await serveFetch({ host: adminAddr.host, port: adminAddr.port, fetch: (request) => app.fetch(request) });
      this.#log.info("admin listening", { address: adminAddr.host, "admin_port": this.#admin.port });
    }
    this.control.start();
  }

  /** Readiness turns false at once; resolves when everything is closed. Answers how many exchanges were cut. */
  async stop(reason: string, how: DrainManner = {}): Promise<number> {
    const cut = await this.#drain.begin(reason, how);
    clearInterval(this.#collecting);
    await this.control.close();
    await this.#admin?.close();
    this.#accessLog.close();
    return cut;
  }

  #linkWorker(links: WorkerLinks): void {
    const link = new WorkerLink({ send: (message) => this.#channel.send(message), snapshot: () => this.control.snapshot });
    this.#channel.onMessage = (message) => {
      if (link.receive(message)) return;
      if (message.type === "stats") this.#metrics = message.metrics;
      this.control.receive(message);
    };
    links.add(link);
    link.start();
  }

  /** As of now: in one process the answer is here before `send` returns. */
  #collect(): MetricsSnapshot {
    this.#channel.send({ type: "collect", serial: 0 });
    return this.#metrics;
  }

  #generation(): Generation {
    return {
      collect: () => Promise.resolve(),
      refreshNow: (reason) => this.control.refreshNow(reason),
      workers: () => [this.#workerStatus()],
      restarts: noRestarts,
      retired: () => new Metrics().snapshot(),
      drain: () => this.drain,
      predecessors: () => [],
    };
  }

  #workerStatus(): WorkerStatus {
    const metrics = this.#collect();
    return {
      worker: 0,
      pid: process.pid,
      state: this.drain === null ? "serving" : "draining",
      startedAtMs: this.#startedAtMs,
      restarts: 0,
      revision: metrics.revision,
      revisionsBehind: this.control.refreshStatus().revision - metrics.revision,
      heardAtMs: systemTimers.nowMs(),
      answerMs: 0,
      figures: null,
      metrics,
    };
  }
}
