/*  A worker: the data plane of one process, put together. It knows the table and the verdicts only from the messages of the
 *  control plane, and never talks to the database.
 */
import { pseudonym } from "../decision/loop.ts";
import { RateLimits } from "../decision/rate-limits.ts";
import { trustedProxies } from "../downstream/client-address.ts";
import type { DownstreamListener } from "../downstream/listener.ts";
import { forwardingIdentity } from "../forwarding/request-fields.ts";
import type { AccessLog } from "../observation/access-log.ts";
import { HostCounts } from "../observation/host-counts.ts";
import { standardOutput } from "../observation/line-writer.ts";
import type { Log } from "../observation/log.ts";
import { Metrics } from "../observation/metrics.ts";
import { TargetCounts } from "../observation/target-counts.ts";
import type { Tracing } from "../observation/tracing.ts";
import { RateLimitedLog } from "../observation/rate-limited-log.ts";
import { Sweep } from "../runtime/clock.ts";
import { later } from "../runtime/later.ts";
import { socketDoors } from "../runtime/sockets.ts";
import { watchStallsByTimer } from "../runtime/stalls.ts";
import { systemTimers } from "../runtime/timers.ts";
import { VERSION } from "../runtime/version.ts";
import { RoutingTable } from "../table/routing-table.ts";
import { CellTable } from "../upstream/cell-table.ts";
import { Endpoints } from "../upstream/endpoint-state.ts";
import { httpProbe } from "../upstream/probe.ts";
import { RetryBudgets } from "../upstream/retry-budget.ts";
import { Balancing } from "./balancing.ts";
import { ExchangeObserver } from "./exchange-observer.ts";
import { explain, type ExplainParts } from "./explaining.ts";
import { Obedience } from "./obedience.ts";
import { Outbox } from "./outbox.ts";
import { StandInProber } from "./stand-in-prober.ts";
import { TableUpkeep } from "./table-upkeep.ts";
import { tracingOf } from "./trace-settings.ts";
import { Watches } from "./watches.ts";
import type { Answer, Channel, DownMessage, Question, UpMessage, WorkerSettings } from "./worker-channel.ts";
import { workerListener } from "./worker-listener.ts";
import { workerFigures } from "./worker-resources.ts";
import { liveSurroundings, onlookersSurroundings, type SurroundingsParts } from "./worker-surroundings.ts";

/** Between two hints that the table may be behind. */
const CONTRADICTION_MS = 250;
/** Verdicts that are worked in within a turn that has other things to do. */
const FEW_VERDICTS = 100;

export class Worker {
  readonly #settings: WorkerSettings;
  readonly #log: Log;
  /** Listening sockets; none where it binds one by itself. */
  readonly #descriptors: readonly number[];
  readonly #channel: Channel<UpMessage, DownMessage>;
  readonly #tracing: Tracing | null;
  readonly #outbox: Outbox;
  readonly #observer: ExchangeObserver;
  readonly #metrics: Metrics = new Metrics();
  readonly #sweep: Sweep = new Sweep();
  readonly #table: RoutingTable = new RoutingTable();
  readonly #hosts: HostCounts = new HostCounts(this.#table);
  readonly #targets: TargetCounts = new TargetCounts();
  /** What all workers count together. */
  readonly #cells: CellTable;
  readonly #watches: Watches;
  readonly #balancing: Balancing;
  readonly #limits: RateLimits;
  readonly #obedience: Obedience;
  readonly #standIn: StandInProber;
  readonly #endpoints: Endpoints;
  readonly #upkeep: TableUpkeep;
  /** Of the last `collect`. */
  #serial = 0;
  #contradictedAtMs = -Infinity;
  readonly #listener: DownstreamListener;
  readonly #explainParts: ExplainParts;
  readonly #stopStalls: () => void;

  constructor(
    settings: WorkerSettings,
    channel: Channel<UpMessage, DownMessage>,
    log: Log,
    accessLog: AccessLog,
    descriptors: readonly number[] = [],
    number = 0,
    cells: CellTable = new CellTable(),
  ) {
    this.#cells = cells;
    this.#limits = new RateLimits(cells);
    cells.attend();
    this.#settings = settings;
    this.#log = log;
    this.#descriptors = descriptors;
    this.#channel = channel;
    this.#tracing = tracingOf(settings, settings.exportsSpans === true);
    this.#outbox = new Outbox((seen) => channel.send({ type: "seen", ...seen }));
    const trafficLog = new RateLimitedLog(log);
    this.#observer = new ExchangeObserver({
      worker: number,
      metrics: this.#metrics,
      hosts: this.#hosts,
      targets: this.#targets,
      log: trafficLog,
      accessLog,
      tracing: this.#tracing,
      outbox: this.#outbox,
      routeOf: (host) => this.#table.match(host) ?? "",
    });
    this.#watches = new Watches({
      table: this.#table,
      cells,
      metrics: this.#metrics,
      timers: systemTimers,
      send: (message) => channel.send(message),
    });
    this.#standIn = this.#createStandIn(log);
    this.#endpoints = new Endpoints(this.#standIn);
    this.#balancing = new Balancing({
      table: this.#table,
      endpoints: this.#endpoints,
      cells,
      placesOf: this.#watches.placesOf,
      secret: settings.secret,
      random: Math.random,
      nowMs: () => this.#sweep.nowMs,
    });
    this.#obedience = new Obedience({ endpoints: this.#endpoints, listener: () => this.#listener, timers: systemTimers });
    this.#endpoints.watchOf = this.#watches.watchOf;
    this.#watches.outsideOf = (key) => this.#endpoints.outsideOf(key);
    this.#endpoints.healthOf = this.#watches.healthOf;
    this.#endpoints.tlsOf = this.#watches.tlsOf;
    this.#upkeep = new TableUpkeep({
      table: this.#table,
      metrics: this.#metrics,
      timers: systemTimers,
      policiesChanged: () => this.#policiesChanged(),
      policed: () => this.#endpoints.policed(),
      forget: (keys) => this.#forget(keys),
      send: (message) => channel.send(message),
    });
    const isTrusted = trustedProxies(settings.trustedProxies);
    const name = pseudonym(settings.regionId);
    const identity = forwardingIdentity(name, isTrusted, settings.secret);
    const around = this.#surroundingsParts(name);
    this.#listener = workerListener({
      settings,
      log: trafficLog,
      sweep: this.#sweep,
      metrics: this.#metrics,
      targets: this.#targets,
      tracing: this.#tracing,
      identity,
      surroundings: liveSurroundings(around),
      endpoints: this.#endpoints,
      queues: this.#watches.queues,
      budgets: new RetryBudgets(cells),
      balancing: this.#balancing,
      contradicted: () => this.#contradicted(),
      exchangeEnded: (exchange) => this.#observer.ended(exchange),
    });
    this.#explainParts = { limits: settings, tracing: this.#tracing, identity, surroundings: onlookersSurroundings(around) };
    this.#stopStalls = socketDoors()[0]!.name === "epoll" ? () => {} : watchStallsByTimer();
    channel.onMessage = (message) => this.#receive(message);
  }

  /** Accepts from these of the listening sockets, by their places. Rejects when the address cannot be bound. Answers the port. */
  listen(sockets: readonly number[]): Promise<number> {
    if (this.#descriptors.length === 0) return this.#listener.listen();
    return this.#listener.acceptFrom(sockets.map((place) => this.#descriptors[place]!));
  }

  /** Begins nothing new; answers how many exchanges had to be cut after `graceMs`. `succeeded`: others accept from the same sockets. */
  async drain(graceMs: number, succeeded: boolean): Promise<number> {
    const cut = await this.#listener.drain(graceMs, { succeeded });
    this.#outbox.flush();
    this.#sendStats(this.#serial, true); // nobody asks any more
    this.#standIn.stop();
    this.#upkeep.stop();
    this.#obedience.stop();
    this.#endpoints.close();
    this.#sweep.close();
    this.#stopStalls();
    this.#cells.leave();
    return cut;
  }

  #forget(keys: readonly string[]): void {
    this.#endpoints.forget(keys);
    this.#watches.forget(keys);
    this.#standIn.forget(keys);
  }

  #policiesChanged(): void {
    this.#watches.tidy();
    this.#targets.tidy();
    this.#endpoints.watchAnew();
    this.#standIn.healthChanged();
    this.#listener.routesHaveTerms = !this.#table.policies.empty;
  }

  /** Without one every answer is 503. */
  get hasTable(): boolean {
    return this.#table.revision > 0;
  }

  /** The supervisor is gone for good: from now on the worker probes by itself. */
  orphaned(): void {
    this.#standIn.orphaned();
  }

  #createStandIn(log: Log): StandInProber {
    const { healthPath, healthTimeoutMs, healthIntervalMs } = this.#settings;
    return new StandInProber({
      endpoints: () => this.#endpoints,
      send: (message) => this.#channel.send(message),
      probe: httpProbe(
        { path: healthPath, timeoutMs: healthTimeoutMs, version: VERSION },
        systemTimers,
        this.#watches.healthOf,
        this.#watches.tlsOf,
      ),
      healthOf: this.#watches.healthOf,
      intervalMs: healthIntervalMs,
      log,
      timers: systemTimers,
      random: Math.random,
    });
  }

  #surroundingsParts(name: string): SurroundingsParts {
    return {
      table: this.#table,
      endpoints: this.#endpoints,
      balancing: this.#balancing,
      limits: this.#limits,
      ordered: this.#obedience.policies,
      sweep: this.#sweep,
      pseudonym: name,
      secret: this.#settings.secret,
    };
  }

  /** Requests that wait for another table ask again and again. */
  #contradicted(): void {
    const { nowMs } = this.#sweep;
    if (nowMs - this.#contradictedAtMs < CONTRADICTION_MS) return;
    this.#contradictedAtMs = nowMs;
    this.#channel.send({ type: "contradicted" });
  }

  #receive(message: DownMessage): void {
    this.#standIn.heard();
    this.#outbox.heard();
    switch (message.type) {
      case "routes":
      case "policies":
        return this.#upkeep.receive(message);
      case "health":
        this.#standIn.judged(message.verdicts);
        return this.#answerVerdicts(message.verdicts.length);
      case "heard":
        return;
      case "collect":
        return this.#sendStats(message.serial);
      case "standing":
        return this.#obedience.obey(message.orders);
      case "ask":
        return this.#answerTo(message.serial, message.question);
      case "drain":
        return void this.drain(message.graceMs, message.succeeded);
      case "settings":
      case "listen":
      case "in-charge":
        return; // told to the process, before there is a worker
    }
  }

  /** Curiosity must not end a worker. */
  #answerTo(serial: number, question: Question): void {
    try {
      this.#channel.send({ type: "answer", serial, answer: this.#answer(question) });
    } catch (error) {
      this.#log.error("cannot answer a question", { question: question.kind, error });
    }
  }

  #answer(question: Question): Answer {
    switch (question.kind) {
      case "nothing":
        return { kind: "nothing" };
      case "explain":
        return { kind: "explain", explanation: explain(question.question, this.#explainParts) };
      case "connections":
        return { kind: "connections", list: this.#listener.list(question.wish) };
      case "breakers":
        return { kind: "breakers", breakers: this.#watches.breakers() };
      case "reset-breaker":
        return { kind: "reset-breaker", found: this.#watches.resetBreaker(question.name) };
      case "endpoints":
        return { kind: "endpoints", uses: this.#endpoints.uses(question.keys) };
    }
  }

  /** In one process, too, thousands of verdicts must come in several turns. */
  #answerVerdicts(count: number): void {
    const answer = () => this.#channel.send({ type: "judged" });
    if (count <= FEW_VERDICTS) answer();
    else later(answer);
  }

  #sendStats(serial: number, last = false): void {
    this.#serial = serial;
    this.#metrics.upstreamIdle = this.#endpoints.idleConnections();
    this.#metrics.revision = this.#table.revision;
    this.#metrics.routes = this.#table.size;
    this.#metrics.logLinesDropped = standardOutput.lost;
    const metrics = this.#metrics.snapshot();
    const hosts = this.#hosts.take(systemTimers.nowMs());
    const policed = { targets: this.#targets.take(last), ...this.#watches.report() };
    const process = workerFigures();
    this.#channel.send({ type: "stats", serial, metrics, hosts, policed, process, used: this.#standIn.takeUsed() });
  }
}
