/*  The control plane: sources, refresh and probes. It tells workers what changed and hears what traffic saw, through the
 *  typed messages of `worker-channel`, so it does not matter in which process a worker runs, or how many there are: it talks to
 *  all of them at once (`WorkerLinks`), and whoever owns them passes on what they say (`receive`).
 *
 *  A verdict goes to every worker, whoever asked: a connection that one of them saw refused is news for the others.
 */
import { ADDRCONFIG } from "node:dns";
import { lookup } from "node:dns/promises";
import type { EndpointTurn, EventLog } from "../observation/event-log.ts";
import { HostTraffic } from "../observation/host-traffic.ts";
import type { Log } from "../observation/log.ts";
import { collectGarbage } from "../runtime/garbage.ts";
import { piecesInSlices } from "../runtime/in-slices.ts";
import { type CancelTimer, systemTimers } from "../runtime/timers.ts";
import { VERSION } from "../runtime/version.ts";
import type { FirstFile } from "../sources/config-file.ts";
import { LastGood, type LastGoodFigures } from "../sources/last-good.ts";
import { LastGoodPolicies } from "../sources/last-good-policies.ts";
import { LastGoodFolder } from "../sources/last-good-folder.ts";
import { NoSource } from "../sources/no-source.ts";
import { PostgresSource } from "../sources/postgres.ts";
import { PolicyTable } from "../sources/policy-table.ts";
import { Refresher } from "../sources/refresh.ts";
import type { PinAnswer } from "../sources/served-table.ts";
import type { Source } from "../sources/source.ts";
import type { Policies } from "../table/policies.ts";
import { tlsPeer } from "../table/policy.ts";
import { type Routes, serviceChanges } from "../table/routes.ts";
import { type Service, Services } from "../table/services.ts";
import { type HealthOf, httpProbe, type TlsOf } from "../upstream/probe.ts";
import type { EndpointHealth, Verdict } from "../upstream/endpoint-findings.ts";
import { Prober, type ProberFigures } from "../upstream/prober.ts";
import type { ProbeHistory } from "../upstream/probe-history.ts";
import { EndpointDirectory } from "./endpoint-directory.ts";
import { PolicyPlane } from "./policy-plane.ts";
import type { PolicySnapshot } from "./policy-transfer.ts";
import { ownPorts, type Settings } from "./settings.ts";
import { targetTraffic } from "./target-traffic.ts";
import type { Snapshot } from "./route-transfer.ts";
import type { UpMessage } from "./worker-channel.ts";

/** All of them. */
export interface Workers {
  /** `snapshot` or `policySnapshot` has a new revision. */
  routesChanged(): void;
  healthChanged(verdicts: readonly Verdict[]): void;
  /** Resolves when a revision is in force everywhere (true), or when that has taken too long. */
  applied(revision: number): Promise<boolean>;
  policiesApplied(revision: number): Promise<boolean>;
}

/** The 10 s for which workers fall back to where a host led before, and what they may need to take the change. */
const KEPT_MS = 15_000;
/** Changes that leave enough behind to be tidied up. */
const MANY = 50_000;

const TURN_TEXTS: Readonly<Record<EndpointTurn, string>> = {
  "ejected": "endpoint ejected",
  "returned": "endpoint returned",
  "breaker_open": "breaker opened",
  "breaker_half_open": "breaker half-open",
  "breaker_closed": "breaker closed",
};

export class ControlPlane {
  readonly #workers: Workers;
  readonly #events: EventLog;
  readonly #log: Log;
  readonly #source: Source;
  readonly #lastGood: LastGood | null;
  readonly #lastGoodPolicies: LastGoodPolicies | null;
  /** Also for the admin address. */
  readonly refresher: Refresher;
  /** What all workers have counted of single hosts. */
  readonly hosts: HostTraffic;
  /** Likewise of targets of routes under policies. */
  readonly targets: HostTraffic;
  readonly #prober: Prober;
  /** No request is served in this process. */
  readonly #mayPause: boolean;
  readonly #directory: EndpointDirectory = new EndpointDirectory();
  /** Also for the admin address. */
  readonly policies: PolicyPlane;
  #cancelRelease: CancelTimer | null = null;

  /** `file`: the routes file as it was read at the start; null: there is none. */
  constructor(settings: Settings, workers: Workers, log: Log, events: EventLog, file: FirstFile | null) {
    const { databaseUrl, regionId, regionPort, stateDir, healthPath, healthTimeoutMs, healthIntervalMs, updateIntervalMs } =
      settings;
    const here = { regionId, regionPort, ownPorts: ownPorts(settings) };
    const services = new Services();
    this.#workers = workers;
    this.#events = events;
    this.#log = log;
    this.#mayPause = settings.workers > 0;
    const tidy = this.#mayPause ? { tidy: collectGarbage } : {};
    const policies = new PolicyTable(here, tidy.tidy);
    this.#source = databaseUrl === ""
      ? new NoSource()
      : new PostgresSource({ url: databaseUrl, here, services, policies, log, ...tidy });
    this.#lastGood = stateDir === "" || databaseUrl === ""
      ? null
      : new LastGood({ folder: new LastGoodFolder(stateDir, here), services, log, timers: systemTimers });
    this.#lastGoodPolicies = stateDir === "" ? null : new LastGoodPolicies(stateDir, here, systemTimers, log);
    this.policies = new PolicyPlane({
      settings,
      file,
      lastGood: this.#lastGoodPolicies,
      table: policies,
      log,
      events,
      timers: systemTimers,
      lookup: async (name) => (await lookup(name, { all: true, hints: ADDRCONFIG })).map(({ address }) => address),
      changed: (after) => this.#policiesChanged(after),
      applied: (revision) => workers.policiesApplied(revision),
    });
    this.refresher = new Refresher({
      source: this.#source,
      intervalMs: updateIntervalMs,
      log,
      timers: systemTimers,
      random: Math.random,
      prepare: (before, after) => this.#prepare(before, after),
      publish: () => this.#publish(),
      policies: this.policies,
      tell: (state, problem) => events.publish({ type: "source", state, problem }),
      ...this.#lastGood !== null && { lastGood: this.#lastGood },
    });
    this.hosts = new HostTraffic({
      revision: () => this.refresher.revision,
      hasRoute: (key) => this.refresher.table.get(key) !== undefined,
      nowMs: systemTimers.nowMs,
    });
    this.targets = targetTraffic(() => this.policySnapshot, systemTimers.nowMs);
    const healthOf: HealthOf = (key) => this.#directory.policyOf(key)?.health ?? null;
    const tlsOf: TlsOf = (record) => tlsPeer(record, this.#directory.policyOf(record.key));
    this.#prober = new Prober({
      probe: httpProbe({ path: healthPath, timeoutMs: healthTimeoutMs, version: VERSION }, systemTimers, healthOf, tlsOf),
      healthOf,
      intervalMs: healthIntervalMs,
      log,
      timers: systemTimers,
      random: Math.random,
      publish: (verdicts) => workers.healthChanged(verdicts),
      changed: ({ endpoint: { key, region }, verdict, reason }) => events.publish({ type: "health", key, region, verdict, reason }),
    });
  }

  start(): void {
    // First: no request is to find a route that its policy has not reached
    void this.policies.start().then(() => this.refresher.start());
  }

  /** Resolves once there is a table, in force in every worker that answers. */
  async loaded(): Promise<void> {
    await this.refresher.loaded;
    await this.#workers.applied(this.refresher.revision);
  }

  get table(): Routes {
    return this.refresher.table;
  }

  /** For links to workers; a reader may keep it, it does not change. */
  get snapshot(): Snapshot {
    return { revision: this.refresher.revision, routes: this.refresher.table };
  }

  /** Likewise. */
  get policySnapshot(): PolicySnapshot {
    return this.policies.snapshot;
  }

  /** Resolves after a reading that began after this call, when what it found is in force in every worker that answers. */
  async refreshNow(reason: string): Promise<void> {
    await Promise.all([this.refresher.refreshNow(reason), this.policies.reload(reason)]);
    await this.#workers.applied(this.refresher.revision);
  }

  /** Serves an old revision; resolves when it is in force in every worker that answers. */
  async pin(revision: number, forMs: number): Promise<PinAnswer> {
    const answer = await this.refresher.pin(revision, forMs);
    await this.#workers.applied(this.refresher.revision);
    return answer;
  }

  async unpin(): Promise<void> {
    await this.refresher.unpin();
    await this.#workers.applied(this.refresher.revision);
  }

  /** null where none is kept. */
  lastGoodFigures(): LastGoodFigures | null {
    return this.#lastGood?.figures() ?? null;
  }

  endpointHealth(): EndpointHealth[] {
    return this.#prober.list();
  }

  /** Of an endpoint that is watched. */
  historyOf(key: string): ProbeHistory | undefined {
    return this.#prober.history(key);
  }

  /** Which endpoints the table leads to. */
  get endpoints(): Pick<EndpointDirectory, "find" | "routesTo" | "leads" | "regions"> {
    return this.#directory;
  }

  /** Of an endpoint that is watched. */
  healthOf(key: string): EndpointHealth | undefined {
    return this.#prober.find(key);
  }

  proberFigures(): ProberFigures {
    return this.#prober.figures();
  }

  /** A successor serves: the table on disk is its own now. */
  succeeded(): void {
    this.#lastGood?.retire();
    this.#lastGoodPolicies?.retire();
  }

  async close(): Promise<void> {
    this.#cancelRelease?.();
    this.#prober.stop();
    await this.refresher.stop();
    await Promise.all([this.#source.close(), this.policies.close(), this.#lastGood?.close()]);
  }

  /** What any of the workers says. */
  receive(message: UpMessage): void {
    switch (message.type) {
      case "stats":
        this.#prober.used(message.used);
        this.targets.add(message.policed.targets);
        return this.hosts.add(message.hosts);
      case "wanted":
      case "failed":
        return this.#judge(message);
      case "turned":
        return this.#turned(message);
      case "contradicted":
        return this.refresher.suspect("contradiction");
      case "seen":
        for (const exchange of message.errors) this.#events.publish({ type: "error", exchange });
        this.#events.lose(message.errorsLost);
        return;
      case "answer":
      case "listening":
      case "failed-to-start":
      case "taken":
      case "policies-taken":
      case "resync":
      case "judged":
      case "leaving":
      case "drained":
        return; // for links and for whoever watches over the processes
    }
  }

  #turned({ key, turn, reason }: Extract<UpMessage, { type: "turned" }>): void {
    this.#events.publish({ type: "endpoint", key, turn, reason });
    const bad = turn === "ejected" || turn === "breaker_open";
    this.#log[bad ? "warn" : "info"](TURN_TEXTS[turn], { endpoint: key, reason });
  }

  #judge(message: Extract<UpMessage, { type: "wanted" | "failed" }>): void {
    const endpoint = this.#directory.find(message.key);
    // The worker is far behind the table, which no longer leads there
    if (endpoint === undefined) return this.#workers.healthChanged([[message.key, "unhealthy", "no route leads there any more"]]);
    if (message.type === "wanted") this.#prober.want(endpoint);
    else this.#prober.failed(endpoint, message.error);
  }

  async #prepare(before: Routes, after: Routes): Promise<void> {
    let count = 0;
    const apply = (was: Service | undefined, is: Service | undefined): void => {
      this.#directory.apply(was, is);
      count++;
    };
    await piecesInSlices(serviceChanges(before, after, apply));
    if (this.#mayPause && count > MANY) collectGarbage();
  }

  #publish(): void {
    this.#directory.settle(systemTimers.nowMs());
    this.#workers.routesChanged();
    this.#tellRevision();
    this.#releaseInTime();
  }

  #policiesChanged(after: Policies): void {
    this.#directory.take(after, systemTimers.nowMs());
    this.#prober.healthChanged();
    this.#workers.routesChanged();
    this.#releaseInTime();
  }

  #retain(): void {
    this.#prober.retain({ has: (key) => this.#directory.find(key) !== undefined });
  }

  #tellRevision(): void {
    const { history, table } = this.refresher;
    const [latest] = history.list(1);
    if (latest === undefined) return;
    const { revision, tally, reason } = latest;
    this.#events.publish({ type: "table", revision, routes: table.size, ...tally, reason });
  }

  /** VMs without a route are probed a while longer: workers fall back to them, and need not have taken the change yet. */
  #releaseInTime(): void {
    const sinceMs = this.#directory.unusedSinceMs;
    this.#cancelRelease?.();
    const delayMs = Math.max(0, (sinceMs ?? 0) + KEPT_MS - systemTimers.nowMs());
    this.#cancelRelease = sinceMs === null ? null : systemTimers.after(delayMs, () => {
      this.#directory.release(systemTimers.nowMs() - KEPT_MS);
      this.#retain();
      this.#releaseInTime();
    });
  }
}
