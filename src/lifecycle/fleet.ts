/*  The workers of a supervisor: started, told what changes, watched, replaced.
 *
 *  A place in the fleet has one worker at a time that is meant to serve, and any number that still drain:
 *
 *   empty ---> worker ---- ended, or is leaving ----> empty: a new one at once, or after a back-off when the last one has lived
 *                                                     for less than 10 s: 0.1 s, doubling up to 10 s
 *
 *  Who is leaving (it was asked to end, or an error nobody caught has shown that its state may be wrong) serves until its
 *  replacement does, and only then drains. When no worker has ever served and one place has failed three times, or a worker says why
 *  it cannot start, the supervisor is told to give up.
 */
import type { Log } from "../observation/log.ts";
import { Metrics, type MetricsSnapshot, retire, sumSnapshots } from "../observation/metrics.ts";
import { noRestarts, type RestartReason, type Restarts, type WorkerStatus } from "../observation/worker-status.ts";
import type { Timers } from "../runtime/timers.ts";
import type { Verdict } from "../upstream/endpoint-findings.ts";
import { Asking, type Whom, type WorkerAnswer } from "./asking.ts";
import { Changes } from "./changes.ts";
import { FleetMember, type StartWorker } from "./fleet-member.ts";
import { FleetPlace } from "./fleet-place.ts";
import { FleetPulse } from "./fleet-pulse.ts";
import { assignSockets } from "./socket-assignment.ts";
import type { Question, StandingOrders, UpMessage } from "./worker-channel.ts";
import type { Workers } from "./control-plane.ts";
import type { PolicySnapshot } from "./policy-transfer.ts";
import type { Snapshot } from "./route-transfer.ts";
import { WorkerLink } from "./worker-link.ts";

export interface FleetOptions {
  /** The numbers of the workers: 1 to N, or only 0 in the supervisor's own process. */
  readonly workers: readonly number[];
  /** Listening sockets that every worker inherits; 0 where each opens its own. */
  readonly sockets: number;
  readonly start: StartWorker;
  readonly snapshot: () => Snapshot;
  /** Absent: there are none. */
  readonly policies?: () => PolicySnapshot;
  readonly orders: () => StandingOrders;
  /** `wanted`, `failed`, `turned`, `contradicted`, `seen` and `stats` of any worker. */
  readonly receive: (message: UpMessage) => void;
  /** For those who watch live. */
  readonly tell?: (worker: number, state: string, reason: string) => void;
  /** No worker can be started. */
  readonly failed: (reason: string) => void;
  /** What exchanges of a worker that is replaced have to finish. */
  readonly graceMs: number;
  readonly log: Log;
  readonly timers: Timers;
}

const FAILED_STARTS = 3;
/** How long a scrape waits for an answer. */
const COLLECT_MS = 250;
/** How long anybody waits for a worker to take a revision. */
const APPLIED_MS = 10_000;
/** How much longer than its grace a drain may take. */
const DRAIN_MARGIN_MS = 2000;

export class Fleet implements Workers {
  readonly #options: FleetOptions;
  readonly #places: readonly FleetPlace[];
  readonly #members: Set<FleetMember> = new Set();
  readonly #restarts: Record<RestartReason, number> = noRestarts();
  readonly #changes: Changes;
  readonly #asking: Asking;
  readonly #pulse: FleetPulse;
  #retired: MetricsSnapshot = new Metrics().snapshot();
  /** Workers may accept connections. */
  #listening = false;
  #everServed = false;
  #stopping = false;
  #cut = 0;

  constructor(options: FleetOptions) {
    this.#options = options;
    this.#changes = new Changes(options.timers);
    this.#asking = new Asking(options.timers);
    this.#pulse = new FleetPulse({
      members: this.#members,
      turned: (member, state, reason) => this.#turned(member, state, reason),
      log: options.log,
      timers: options.timers,
    });
    this.#places = options.workers.map((worker) => new FleetPlace(worker, options.timers));
  }

  start(): void {
    for (const place of this.#places) this.#fill(place);
    this.#pulse.start();
  }

  /** Lets workers accept connections, those that have no table yet as soon as they have the present one. */
  listen(): void {
    this.#listening = true;
    this.#assign();
  }

  /** Nobody else serves these addresses any more: workers are to go on without us, should we die. */
  takeCharge(): void {
    for (const member of this.#members) member.end.send({ type: "in-charge" });
  }

  /** Routes, policies or both. */
  routesChanged(): void {
    for (const member of this.#members) member.link.routesChanged();
  }

  healthChanged(verdicts: readonly Verdict[]): void {
    for (const member of this.#members) member.link.healthChanged(verdicts);
  }

  /** What operators have decided; workers that start later are told at their start. */
  ordersChanged(): void {
    const orders = this.#options.orders();
    for (const member of this.#members) member.end.send({ type: "standing", orders });
  }

  /** What the workers that serve answer to a question, in time; each knows only of its own. */
  ask<Kind extends Question["kind"]>(
    question: Extract<Question, { kind: Kind }>,
    whom: Whom = "all",
  ): Promise<WorkerAnswer<Kind>[]> {
    const serving = [...this.#members].filter(({ serves }) => serves).sort((a, b) => a.worker - b.worker);
    if (whom === "first") return this.#asking.ask(serving.slice(0, 1), question);
    return this.#asking.ask(whom === "all" ? serving : serving.filter(({ worker }) => worker === whom), question);
  }

  /** Nobody waits for a worker that has no clients (yet, or any more). */
  applied(revision: number): Promise<boolean> {
    return this.until(
      () => [...this.#members].every((member) => !member.mayHaveClients || member.link.appliedRevision >= revision),
      APPLIED_MS,
    );
  }

  /** The same of a revision of the policies. */
  policiesApplied(revision: number): Promise<boolean> {
    return this.until(
      () => [...this.#members].every((member) => !member.mayHaveClients || member.link.appliedPolicies >= revision),
      APPLIED_MS,
    );
  }

  /** Resolves once the condition holds, or after `withinMs`; it is looked at when a worker has said something or has ended. */
  until(condition: () => boolean, withinMs: number): Promise<boolean> {
    return this.#changes.until(condition, withinMs);
  }

  /** Asks all workers for their figures; resolves when those that answer have. */
  async collect(): Promise<void> {
    const serial = this.#pulse.ask();
    await this.until(
      () => [...this.#members].every((member) => member.state === "silent" || member.answered >= serial),
      COLLECT_MS,
    );
  }

  /** What workers that are gone have counted. */
  get retired(): MetricsSnapshot {
    return this.#retired;
  }

  statuses(): WorkerStatus[] {
    const { revision } = this.#options.snapshot();
    const absent = this.#places.filter(({ member }) => member === null);
    const present = [...this.#members].map((member) => member.status(revision, this.#placeOf(member).restarts));
    return [...absent.map((place) => place.status(revision)), ...present]
      .sort((a, b) => a.worker - b.worker || a.startedAtMs - b.startedAtMs);
  }

  get restarts(): Restarts {
    return this.#restarts;
  }

  /** Every worker serves. */
  get complete(): boolean {
    return this.#places.every(({ member }) => member?.serves === true);
  }

  /** Begins nothing new; resolves to the number of exchanges that had to be cut after `graceMs`. */
  async drain(graceMs: number, succeeded: boolean): Promise<number> {
    this.#stopping = true;
    for (const place of this.#places) place.close();
    for (const member of this.#members) member.drain(graceMs, succeeded);
    await this.until(() => this.#members.size === 0, graceMs + DRAIN_MARGIN_MS);
    this.kill();
    return this.#cut;
  }

  /** Ends every worker now. */
  kill(): void {
    this.#stopping = true;
    this.#pulse.stop();
    for (const place of this.#places) place.close();
    for (const member of this.#members) member.end.kill();
  }

  #fill(place: FleetPlace): void {
    const { start, snapshot, policies, timers } = this.#options;
    const end = start(place.worker, {
      message: (message) => this.#receive(member, message),
      exit: (reason) => this.#ended(member, reason),
    });
    const link = new WorkerLink({ send: (message) => end.send(message), snapshot, ...policies !== undefined && { policies } });
    const member: FleetMember = new FleetMember(place.worker, end, link, timers.nowMs());
    place.member = member;
    this.#members.add(member);
    this.#tell(member, "starting");
    end.send({ type: "standing", orders: this.#options.orders() });
    link.start();
    this.#assign();
  }

  #receive(member: FleetMember, message: UpMessage): void {
    member.link.receive(message);
    switch (message.type) {
      case "taken":
        if (member.sockets === null) this.#assign();
        break;
      case "listening":
        if (member.listening === null) this.#tell(member, "serving");
        member.listening = message;
        this.#serves(member);
        break;
      case "failed-to-start":
        member.error = message.error;
        break;
      case "leaving":
        this.#replace(member, message.reason);
        break;
      case "drained":
        this.#cut += message.cut;
        break;
      case "stats":
        this.#pulse.heard(member, message, () => this.#options.receive(message));
        break;
      case "wanted":
      case "failed":
      case "turned":
      case "contradicted":
      case "seen":
        this.#options.receive(message);
        break;
      case "answer":
        this.#asking.answered(member, message.serial, message.answer);
        break;
      case "policies-taken":
      case "resync":
      case "judged":
        break; // for the link
    }
    this.#changes.tell();
  }

  /** It does not answer any more, or again: others accept what it would, or need not any more. */
  #turned(member: FleetMember, state: string, reason: string): void {
    this.#tell(member, state, reason);
    this.#assign();
  }

  /** It accepts connections; whoever it replaces need not any more. */
  #serves(member: FleetMember): void {
    this.#everServed = true;
    this.#assign();
    const { port, sockets } = member.listening!;
    this.#options.log.info("worker serves", { worker: member.worker, pid: member.end.pid, "http_port": port, sockets });
    for (const other of this.#members) {
      if (other.worker === member.worker && other.leaving !== null && other !== member) other.drain(this.#options.graceMs, true);
    }
  }

  /** Tells workers which sockets to accept from, where that has changed. A worker without the present table does not accept yet. */
  #assign(): void {
    if (!this.#listening || this.#stopping) return;
    const { workers, sockets } = this.#options;
    const members = this.#places.flatMap(({ member }) => member ?? []);
    const everybody = assignSockets(sockets, workers.length, workers.keys().toArray());
    for (const member of members) if (this.#mayStart(member)) member.accept(everybody[workers.indexOf(member.worker)]!);
    const serving = members.filter(({ serves }) => serves);
    const assigned = assignSockets(sockets, workers.length, serving.map(({ worker }) => workers.indexOf(worker)));
    for (const [index, member] of serving.entries()) member.accept(assigned[index]!);
  }

  #mayStart(member: FleetMember): boolean {
    return member.state === "starting" && (this.#options.snapshot().revision === 0 || member.link.appliedRevision > 0);
  }

  #replace(member: FleetMember, reason: string): void {
    const place = this.#placeOf(member);
    if (this.#stopping || place.member !== member) return;
    member.leaving = reason;
    this.#options.log.info("worker is leaving", { worker: member.worker, pid: member.end.pid, reason });
    this.#tell(member, "leaving", reason);
    this.#restart(place, member, "asked");
  }

  #ended(member: FleetMember, reason: string): void {
    const { log } = this.#options;
    const place = this.#placeOf(member);
    this.#members.delete(member);
    this.#asking.gone(member);
    member.link.close();
    if (member.stats !== null) this.#retired = sumSnapshots([this.#retired, retire(member.stats.metrics)]);
    const fields = {
      worker: member.worker,
      pid: member.end.pid,
      reason,
      ...(member.error === null ? {} : { error: member.error }),
    };
    const isExpected = place.member !== member || this.#stopping;
    this.#tell(member, isExpected ? "ended" : "died", member.error ?? reason);
    if (isExpected) log.info("worker ended", fields);
    else {
      log.error("worker died", fields);
      this.#restart(place, member, member.givenUp ? "silent" : reason.startsWith("SIG") ? "killed" : "error");
      this.#checkStart(place, member, reason);
    }
    this.#assign();
    this.#changes.tell();
  }

  #restart(place: FleetPlace, member: FleetMember, reason: RestartReason): void {
    place.vacate(member, () => {
      this.#restarts[reason]++;
      this.#fill(place);
    });
  }

  /** Where the first workers cannot start, others will not either. */
  #checkStart(place: FleetPlace, { error }: FleetMember, reason: string): void {
    if (this.#everServed || (error === null && place.misses < FAILED_STARTS)) return;
    this.#options.failed(error ?? `worker ${place.worker} ended ${place.misses} times before it served, last by ${reason}`);
  }

  #tell({ worker }: FleetMember, state: string, reason = ""): void {
    this.#options.tell?.(worker, state, reason);
  }

  #placeOf({ worker }: FleetMember): FleetPlace {
    return this.#places.find((place) => place.worker === worker)!;
  }
}
