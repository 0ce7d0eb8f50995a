/*  The control plane: sources, refresh and probes. It tells workers what changed and hears what traffic saw, through the
 *  typed messages of `worker-channel`, so it does not matter in which process a worker runs.
 */
import type { Log } from "../observation/log.ts";
import type { MetricsSnapshot } from "../observation/metrics.ts";
import { Metrics } from "../observation/metrics.ts";
import { systemTimers } from "../runtime/timers.ts";
import { VERSION } from "../runtime/version.ts";
import { PostgresSource } from "../sources/postgres.ts";
import { Refresher, type RefreshStatus } from "../sources/refresh.ts";
import type { Source } from "../sources/source.ts";
import type { RouteDelta, RouteRecord } from "../table/record.ts";
import { httpProbe } from "../upstream/probe.ts";
import { type EndpointHealth, Prober, type ProberFigures } from "../upstream/prober.ts";
import { EndpointDirectory } from "./endpoint-directory.ts";
import type { Settings } from "./settings.ts";
import type { Channel, DownMessage, UpMessage } from "./worker-channel.ts";

/** Routes per message, so that no message is large. */
const BATCH = 5000;

export class ControlPlane {
  readonly #channel: Channel<DownMessage, UpMessage>;
  readonly #source: Source;
  readonly #refresher: Refresher;
  readonly #prober: Prober;
  readonly #directory: EndpointDirectory = new EndpointDirectory();
  #metrics: MetricsSnapshot = new Metrics().snapshot();

  constructor(settings: Settings, channel: Channel<DownMessage, UpMessage>, log: Log) {
    const { regionId, regionPort, healthPath, healthTimeoutMs, healthIntervalMs, updateIntervalMs } = settings;
    this.#channel = channel;
    this.#source = new PostgresSource({ url: settings.databaseUrl, here: { regionId, regionPort } });
    this.#refresher = new Refresher({
      source: this.#source,
      intervalMs: updateIntervalMs,
      log,
      timers: systemTimers,
      random: Math.random,
      publish: (delta, revision, whole) => this.#publish(delta, revision, whole),
    });
    this.#prober = new Prober({
      probe: httpProbe({ path: healthPath, timeoutMs: healthTimeoutMs, version: VERSION }, systemTimers),
      intervalMs: healthIntervalMs,
      log,
      timers: systemTimers,
      random: Math.random,
      publish: (verdicts) => channel.send({ type: "health", verdicts }),
    });
    channel.onMessage = (message) => this.#receive(message);
  }

  start(): void {
    this.#refresher.start();
  }

  /** Resolves once there is a table. */
  get loaded(): Promise<void> {
    return this.#refresher.loaded;
  }

  get table(): ReadonlyMap<string, RouteRecord> {
    return this.#refresher.table;
  }

  refreshNow(reason: string): Promise<void> {
    return this.#refresher.refreshNow(reason);
  }

  refreshStatus(): RefreshStatus {
    return this.#refresher.status();
  }

  endpointHealth(): EndpointHealth[] {
    return this.#prober.list();
  }

  proberFigures(): ProberFigures {
    return this.#prober.figures();
  }

  /** The workers' counters as of now. */
  collect(): MetricsSnapshot {
    this.#channel.send({ type: "collect", serial: 0 });
    return this.#metrics;
  }

  async close(): Promise<void> {
    this.#prober.stop();
    await this.#refresher.stop();
    await this.#source.close();
  }

  #receive(message: UpMessage): void {
    switch (message.type) {
      case "stats":
        this.#metrics = message.metrics;
        return this.#prober.used(message.used);
      case "wanted":
      case "failed":
        return this.#judge(message);
      case "listening":
      case "failed-to-start":
      case "taken":
      case "resync":
      case "leaving":
      case "drained":
        return; // for whoever watches over the processes
    }
  }

  #judge(message: Extract<UpMessage, { key: string }>): void {
    const endpoint = this.#directory.find(message.key);
    // The worker has not heard yet that the table no longer leads there
    if (endpoint === undefined) return this.#channel.send({ type: "health", verdicts: [[message.key, "unhealthy"]] });
    if (message.type === "wanted") this.#prober.want(endpoint);
    else this.#prober.failed(endpoint, message.error);
  }

  #publish(delta: RouteDelta, revision: number, whole: boolean): void {
    const gone = this.#directory.apply(delta, this.#refresher.table);
    const batches = Math.max(Math.ceil(delta.upserts.length / BATCH), 1);
    for (let batch = 0; batch < batches; batch++) {
      const upserts = batches === 1 ? delta.upserts : delta.upserts.slice(batch * BATCH, (batch + 1) * BATCH);
      const removals = batch === 0 ? delta.removals : [];
      this.#channel.send({
        type: "routes",
        revision,
        base: whole ? 0 : revision - 1,
        upserts,
        removals,
        last: batch === batches - 1,
      });
    }
    if (gone.length > 0) this.#prober.retain({ has: (key) => this.#directory.find(key) !== undefined });
  }
}
