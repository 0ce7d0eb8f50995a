/*  Keeps the served table as the source says it.
 *
 *           timer, onChange, refreshNow       ok: until the interval, the source's own pace, or onChange
 *   idle ----------------------------> reading ------------------------------------------> idle
 *                                      |  ^  '-- failed: after a back-off ---------------> idle, the table stays as it was
 *         onChange, refreshNow meanwhile '--'    (exactly one more reading, however many ask)
 *   stop: stopped, final
 *
 *  All delays have 10 % jitter, so that a fleet that lost its database does not come back in step. A source that is told of
 *  changes is read as soon as it says so, `GAP_MS` after the last reading at the earliest: a storm of commits shares readings.
 *  The last good table on disk is read beside the first reading; it is served when that fails, takes long, or lacks most of it
 *  (`first-table`).
 */
import { DurationCounts } from "../observation/duration-counts.ts";
import type { Log } from "../observation/log.ts";
import { OneAtATime } from "../runtime/one-at-a-time.ts";
import type { CancelTimer, Timers } from "../runtime/timers.ts";
import type { Routes } from "../table/routes.ts";
import { describeError } from "./database-client.ts";
import { ExclusionReport } from "./exclusion-report.ts";
import { FirstTable } from "./first-table.ts";
import type { LastGood } from "./last-good.ts";
import type { SavedTable } from "./last-good-file.ts";
import { PolicyOutage } from "./policy-outage.ts";
import type { RefreshStatus } from "./refresh-status.ts";
import type { RevisionHistory } from "./revision-history.ts";
import { type PoliciesByHost, PolicyGuard } from "./policy-guard.ts";
import { type PinAnswer, ServedTable } from "./served-table.ts";
import { SourceHealth, type TellState } from "./source-health.ts";
import type { Exclusion, RegionRow, Source, SourceReading } from "./source.ts";

/** What a reading says of domains. */
export type ReadPolicies = Pick<SourceReading, "policies" | "policyRows">;

/** Where policies of domains are in force. */
export interface DomainPolicies {
  /** What was last taken; before that, what was in force before this process. */
  readonly domains: PoliciesByHost;
  /**
   * What a reading says of domains, before its routes are in force; and once more when they are. `whole`: those that it does not name have
   * none any more.
   */
  takeDomains(reading: ReadPolicies, whole: boolean, reason: string): Promise<void>;
}

export interface RefresherOptions {
  readonly source: Source;
  readonly intervalMs: number;
  readonly log: Log;
  readonly timers: Timers;
  /** 0 to 1. */
  readonly random: () => number;
  /** Before a revision is in force. */
  readonly prepare?: (before: Routes, after: Routes) => Promise<void> | void;
  /** Called with each revision, in order, when `table` has it already. `before`: the routes without it, none before revision 1. */
  readonly publish: (before: Routes) => void;
  readonly policies: DomainPolicies;
  readonly tell?: TellState;
  /** What was served before this process, and what the next one will begin with. */
  readonly lastGood?: Pick<LastGood, "read" | "keep">;
}

const FIRST_RETRY_MS = 250;
const JITTER = 0.1;
/** Between two readings that changes have caused. */
const GAP_MS = 5;

/** From any reading to one that a suspicion causes, at least. */
const SUSPICION_MS = 1000;
/** Between two that suspicions have caused, that many times what a reading takes. */
const SUSPICION_TIMES = 10;

/** A reading that is due. */
interface Wish {
  readonly reason: string;
  readonly whole: boolean;
}

export class Refresher {
  /** Resolves once there is a table. */
  readonly loaded: Promise<void>;
  readonly #options: RefresherOptions;
  readonly #stopping = new AbortController();
  readonly #setLoaded: () => void;
  readonly #served: ServedTable;
  readonly #policyGuard: PolicyGuard;
  readonly #policyOutage: PolicyOutage;
  /** Until there is a table; it holds the one of the file. */
  #firstTable: FirstTable | null = null;
  readonly #readings: OneAtATime = new OneAtATime(() => this.#readNext());
  /** For the next reading; null: nobody waits for one. */
  #wish: Wish | null = null;
  readonly #comparisons: OneAtATime = new OneAtATime(() => this.#compare());
  #compareReason = "";
  #isComparing = false;
  #cancelTimer: CancelTimer = () => {};
  /** The timer is that of a reading that a change has caused. */
  #isDueSoon = false;
  #endedAtMs = -Infinity;
  /** When everything is read again because a reading is held back; what is read before confirms nothing. */
  #secondOpinionAtMs: number | null = null;
  readonly #exclusions: ExclusionReport;
  readonly #health: SourceHealth;
  #regions: readonly RegionRow[] = [];
  /** When the good table was last known to be what the source says. */
  #goodAtMs: number | null = null;
  #lastAttemptAtMs: number | null = null;
  #lastDurationMs = 0;
  /** When a suspicion has last caused a reading. */
  #suspectedAtMs = -Infinity;
  readonly #durations: DurationCounts = new DurationCounts();

  constructor(options: RefresherOptions) {
    const { intervalMs, log, policies, source, timers, publish, prepare = () => {}, tell = () => {} } = options;
    this.#options = options;
    this.#served = new ServedTable({ intervalMs, log, timers, prepare, publish, tell });
    this.#policyGuard = new PolicyGuard({ good: () => policies.domains, log, tell });
    this.#policyOutage = new PolicyOutage(log, timers, tell);
    this.#exclusions = new ExclusionReport(log);
    this.#health = new SourceHealth(log, timers, source.name, tell);
    const { promise, resolve } = Promise.withResolvers<void>();
    this.loaded = promise;
    this.#setLoaded = resolve;
    source.onChange = () => this.#readSoon("change");
    source.like = () => this.#served.revision === 0 ? this.#firstTable?.routes ?? this.#served.good : this.#served.good;
  }

  start(): void {
    const { lastGood, timers } = this.#options;
    if (lastGood !== undefined) {
      this.#firstTable = new FirstTable({
        lastGood,
        served: this.#served,
        loaded: this.loaded,
        stopping: this.#stopping.signal,
        timers,
        begun: (saved, doubted) => this.#begunWithLastGood(saved, doubted),
      });
    }
    void this.loaded.then(() => this.#firstTable = null);
    const first = this.refreshNow("start");
    void this.#firstTable?.standInFor(first);
  }

  /** Resolves, never rejects, after a reading of everything that began after this call. */
  refreshNow(reason: string): Promise<void> {
    if (this.#isHolding) this.#secondOpinionAtMs = this.#options.timers.nowMs();
    if (this.#options.source.compare === null || this.#health.refreshes === 0) return this.#read({ reason, whole: true });
    this.#compareReason = reason;
    return this.#comparisons.run();
  }

  /** What stays of a table of policies that cannot be read any more goes with the next reading. */
  letPoliciesGo(): void {
    if (this.#policyOutage.kept !== null) this.#options.source.letPoliciesGo?.();
  }

  /** The source may say something else, though it has not told: reads soon, unless it has been read just now. */
  suspect(reason: string): void {
    const nowMs = this.#options.timers.nowMs();
    // A slow reading by itself must not put the next one off beyond what a request waits for it (forwarding/passage.ts)
    if (nowMs - (this.#lastAttemptAtMs ?? 0) < SUSPICION_MS) return;
    if (nowMs - this.#suspectedAtMs < SUSPICION_TIMES * this.#lastDurationMs) return;
    this.#suspectedAtMs = nowMs;
    this.#readSoon(reason);
  }

  /** The routes served now. */
  get table(): Routes {
    return this.#served.routes;
  }

  /** Of the routes served now; 0 before the first table. */
  get revision(): number {
    return this.#served.revision;
  }

  /** As of the last reading; the first of them. */
  get excluded(): readonly Exclusion[] {
    return this.#exclusions.list(this.#served.flapping);
  }

  get history(): RevisionHistory {
    return this.#served.history;
  }

  /** Serves an old revision, under a new number, until it is unpinned or the time is over. */
  pin(revision: number, forMs: number): Promise<PinAnswer> {
    return this.#served.pinTo(revision, forMs);
  }

  /** Whether there was a pin. */
  unpin(): Promise<boolean> {
    return this.#served.unpin();
  }

  status(): RefreshStatus {
    const { comparedAtMs, following, server } = this.#options.source;
    const { pin } = this.#served;
    const pinned = pin.state === "pinned" ? pin : null;
    return {
      revision: this.#served.revision,
      routes: this.#served.routes.size,
      following,
      server,
      comparedAtMs,
      tableSource: this.#served.source,
      pinned,
      lastSuccessAtMs: pinned === null || this.#goodAtMs === null ? this.#goodAtMs : Math.min(this.#goodAtMs, pinned.sinceAtMs),
      lastAttemptAtMs: this.#lastAttemptAtMs,
      lastError: this.#health.lastError,
      refreshes: this.#health.refreshes,
      failures: this.#health.failures,
      held: this.#served.held,
      heldPolicies: this.#policyGuard.held,
      keptPolicies: this.#policyOutage.kept,
      badRows: this.#exclusions.count,
      excluded: this.#exclusions.counts(this.#served.flapping),
      lastDurationMs: this.#lastDurationMs,
      durations: this.#durations.sums(),
      regions: this.#regions,
    };
  }

  /** Gives up a running reading. The source is closed by whoever made it. */
  async stop(): Promise<void> {
    this.#stopping.abort(new Error("The refresher is stopped"));
    this.#cancelTimer();
    this.#served.close();
    await this.#readings.running;
  }

  get #stopped(): boolean {
    return this.#stopping.signal.aborted;
  }

  get #isHolding(): boolean {
    return this.#served.held + this.#policyGuard.held > 0;
  }

  /** While the last reading has failed, the back-off decides. */
  #readSoon(reason: string): void {
    if (this.#stopped || this.#health.misses > 0) return;
    const wish = { reason, whole: false };
    if (this.#readings.running !== null) return void this.#read(wish);
    if (this.#isDueSoon) return; // not put off by changes that go on
    const delayMs = this.#endedAtMs + GAP_MS - this.#options.timers.nowMs();
    if (delayMs <= 0) return void this.#read(wish);
    this.#schedule(delayMs, wish);
    this.#isDueSoon = true;
  }

  /** Resolves after a reading that began after this call. */
  #read(wish: Wish): Promise<void> {
    if (this.#wish?.whole !== true) this.#wish = wish;
    return this.#readings.run();
  }

  async #readNext(): Promise<void> {
    const wish = this.#wish!; // whoever asks for a reading has wished for it
    this.#wish = null;
    this.#cancelTimer();
    this.#isDueSoon = false;
    if (this.#stopped) return;
    await this.#refresh(wish);
    this.#endedAtMs = this.#options.timers.nowMs();
    if (this.#wish === null) this.#scheduleNext();
  }

  /** Beside the readings, so that changes do not wait for it. */
  async #compare(): Promise<void> {
    const { source } = this.#options;
    const reason = this.#compareReason;
    if (this.#stopped) return;
    if (source.compare === null) return await this.#read({ reason, whole: true });
    try {
      this.#isComparing = true;
      await source.compare(this.#stopping.signal).finally(() => this.#isComparing = false);
    } catch (error) {
      if (this.#stopped) return;
      this.#recordFailure(describeError(error));
      this.#secondOpinionAtMs = null; // it is due an interval later
      if (this.#readings.running === null) this.#scheduleNext();
      return;
    }
    await this.#read({ reason, whole: false });
  }

  #scheduleNext(): void {
    if (this.#stopped) return;
    const { intervalMs, random, source, timers } = this.#options;
    const jitter = 1 - JITTER + 2 * JITTER * random();
    const pollMs = source.pollMs === null ? Infinity : Math.min(source.pollMs, intervalMs) * jitter;
    if (this.#health.misses > 0) {
      const delayMs = Math.min(FIRST_RETRY_MS * 2 ** (this.#health.misses - 1), intervalMs);
      this.#schedule(delayMs * jitter, { reason: "retry", whole: false });
      return;
    }
    if (this.#isHolding && !this.#isComparing) {
      // Not put off by changes that come meanwhile
      this.#secondOpinionAtMs ??= timers.nowMs() + intervalMs * jitter;
      const delayMs = Math.max(0, this.#secondOpinionAtMs - timers.nowMs());
      if (delayMs <= pollMs) return void (this.#cancelTimer = timers.after(delayMs, () => this.#askAgain()));
    }
    if (pollMs < Infinity) this.#schedule(pollMs, { reason: "poll", whole: false });
    else this.#schedule(intervalMs * jitter, { reason: "interval", whole: false });
  }

  /** For the second opinion, while the readings go on. */
  #askAgain(): void {
    void this.refreshNow("interval");
    if (this.#readings.running === null) this.#scheduleNext();
  }

  #schedule(delayMs: number, wish: Wish): void {
    this.#cancelTimer();
    this.#isDueSoon = false;
    if (this.#stopped) return;
    this.#cancelTimer = this.#options.timers.after(delayMs, () => void this.#read(wish));
  }

  async #refresh({ reason, whole }: Wish): Promise<void> {
    const { source, timers } = this.#options;
    const startMs = timers.nowMs();
    this.#lastAttemptAtMs = startMs;
    try {
      const reading = await source.read({ whole: whole || this.#health.refreshes === 0 }, this.#stopping.signal);
      if (this.#stopped) return;
      this.#lastDurationMs = timers.nowMs() - startMs;
      this.#durations.recordMs(this.#lastDurationMs);
      const before = this.#servedNow;
      await this.#take(reading, reason);
      this.#health.succeeded(before);
    } catch (error) {
      if (!this.#stopped) this.#recordFailure(describeError(error));
    }
  }

  async #take(read: SourceReading, reason: string): Promise<void> {
    const { lastGood, policies, source, timers } = this.#options;
    const isDue = this.#secondOpinionAtMs !== null && timers.nowMs() >= this.#secondOpinionAtMs;
    const fresh = read.whole && isDue;
    const { heldReading: heldPolicies } = this.#policyGuard, { heldReading } = this.#served;
    if (read.policyTable !== undefined) this.#policyOutage.take(read.policyTable);
    const reading = await this.#policyGuard.judge(read, fresh);
    this.#regions = reading.regions;
    this.#exclusions.take(reading);
    const cause = { reason, source: source.name, durationMs: this.#lastDurationMs };
    if (this.#served.revision === 0) await this.#firstTable?.precede(reading.routes);
    await policies.takeDomains(reading, false, reason); // no request is to find a route that its policy has not reached
    const confirmed = fresh && heldPolicies !== null && this.#policyGuard.held === 0;
    const guarded = confirmed ? this.#policyGuard.routesKept(reading) : reading.routes;
    const isGood = await this.#served.offer({ routes: reading.routes, guarded, fresh }, cause);
    const holdsOthers = this.#served.heldReading !== heldReading || this.#policyGuard.heldReading !== heldPolicies;
    if (holdsOthers) this.#secondOpinionAtMs = null; // a full interval later
    if (!isGood) return;
    if (this.#policyGuard.held === 0) await policies.takeDomains(reading, true, reason);
    this.#goodAtMs = timers.nowMs();
    const { good: routes, revision } = this.#served;
    lastGood?.keep({ routes, revision, asOfMs: this.#goodAtMs, source: source.name });
    this.#setLoaded();
  }

  #begunWithLastGood({ header, routes }: SavedTable, doubted: boolean): void {
    const { log, timers } = this.#options;
    this.#goodAtMs ??= Math.min(header.asOfMs, timers.nowMs()); // not younger than now, whatever the clock was then
    const fields = { routes: routes.size, "age_seconds": ageSeconds(this.#goodAtMs, timers.nowMs()) };
    if (doubted) log.warn("serving the last good table: the source lacks most of it", fields);
    else if (this.#health.lastError === null) log.info("serving the last good table until the source answers", fields);
    else log.warn("serving the last good table: the source does not answer", fields);
    this.#setLoaded();
  }

  #recordFailure(message: string): void {
    this.#health.failed(message, this.#servedNow);
  }

  get #servedNow(): { readonly routes: number; readonly asOfMs: number | null } {
    return { routes: this.#served.routes.size, asOfMs: this.#goodAtMs };
  }
}

function ageSeconds(atMs: number, nowMs: number): number {
  return Math.round(Math.max(0, nowMs - atMs) / 1000);
}
