/*  Routes from the platform's tables (contract, section 4).
 *
 *            none, or lost                     whole
 *   closed ----------------> set up a session -------> following --- read: what the log says changed ---> following
 *                            feed? LISTEN?                |   '----- read whole; promoted; log too old --> set up anew
 *                                                         '-- lost, failed: closed, once more at once if the session was not new
 *
 *  "notifications": the log is read when the server announces a change, and once a second in case that it does not; "change log": the
 *  log alone (a standby cannot listen, a pooler passes nothing on); "tables": there is no feed that can be used, so each reading
 *  compares the tables.
 *
 *  A position in the log belongs to one server process: with a new session, or after a promotion, everything is compared once.
 *  A comparison later on (`compare`) runs beside the readings in a session of its own. The next reading then brings both up to the
 *  same moment: if they differ, the log does not tell everything.
 */
import type { Log } from "../observation/log.ts";
import { type CancelTimer, systemTimers, type Timers } from "../runtime/timers.ts";
import type { Here } from "../table/compile.ts";
import { Routes } from "../table/routes.ts";
import { Services } from "../table/services.ts";
import { Announcements } from "./announcements.ts";
import { type FeedFinding, isUsable } from "./change-feed.ts";
import { Complaints } from "./complaints.ts";
import { type DatabaseClient, describeError, isRefusal, openHost, sqlState } from "./database-client.ts";
import { type DatabaseHost, type DatabaseTarget, nameOf, parseDatabaseUrl } from "./database-url.ts";
import { askForFeed, PostgresSession, type SessionOptions, type WholeReading, whyUnusable } from "./postgres-session.ts";
import { HostPreference } from "./host-preference.ts";
import type { ReadingTools, RouteState } from "./route-reading.ts";
import { PolicyTable, type PolicyTableState } from "./policy-table.ts";
import { isPassing } from "./table-reading.ts";
import { TableDigests } from "./table-digests.ts";
import { type TimeLimit, timeLimit } from "./time-limit.ts";
import type { ChangesFollowed, Exclusion, RegionRow, Source, SourceReading } from "./source.ts";

const STATEMENT_TIMEOUT_MS = 15_000;
const READ_TIMEOUT_MS = 30_000;
const LOG_TIMEOUT_MS = 5_000;
/** With notifications it is for those that are lost. */
const POLL_MS: Readonly<Record<ChangesFollowed, number | null>> = { "notifications": 1_000, "change log": 250, "tables": null };
const COMPARE_INTERVAL_MS = 10 * 60_000;
const RETRY_EARLIER_MS = 30_000;
const JITTER = 0.1;
/** PostgreSQL before 14 has no hashes of rows. */
const UNDEFINED_FUNCTION = "42883";
const UNUSABLE_DIGESTS = "digests of the tables cannot be used: they are read whole each time";
const NO_FEED = "there is no change feed: the tables are compared";
const UNUSABLE_FEED = "the change feed cannot be used: the tables are compared";
const MISSED = "the change feed missed changes: its triggers may have been disabled";
const NO_POLICIES = "no policy of a domain is in force";
const NOT_COMPARED = "cannot compare everything";
const MOST_ATTEMPTS = 4;

export interface PostgresOptions {
  /** A URL that `parseDatabaseUrl` accepts. */
  readonly url: string;
  readonly here: Here;
  /** Absent: nobody is told of what is odd about the database. */
  readonly log?: Log;
  readonly timers?: Timers;
  /** To be shared with other tables that are compared with this one's. */
  readonly services?: Services;
  /** May hold what the table said before this process. */
  readonly policies?: PolicyTable;
  /** Called after much was read, or worked in; may take its time. Absent where nothing may. */
  readonly tidy?: () => void;
  readonly statementTimeoutMs?: number;
  readonly readTimeoutMs?: number;
  /** After which a session that does not answer about the log is taken for dead. */
  readonly logTimeoutMs?: number;
  /** How often hosts that were passed over are tried again. */
  readonly retryEarlierMs?: number;
  /** How often everything is compared although there is a feed. */
  readonly compareIntervalMs?: number;
}

export class PostgresSource implements Source {
  readonly name = "postgres";
  onChange: () => void = () => {};
  like: () => Routes = () => Routes.none;
  readonly #target: DatabaseTarget;
  readonly #options: PostgresOptions;
  readonly #tools: ReadingTools;
  readonly #timers: Timers;
  readonly #closing: AbortController = new AbortController();
  readonly #hosts: HostPreference;
  readonly #announcements: Announcements = new Announcements();
  readonly #digests: TableDigests = new TableDigests();
  readonly #policies: PolicyTable;
  #session: PostgresSession | null = null;
  #listening = false;
  #isReading = false;
  #state: RouteState | null = null;
  #regions: readonly RegionRow[] = [];
  #excluded: readonly Exclusion[] = [];
  /** What it was made of. */
  #excludedOf: readonly (readonly Exclusion[])[] = [];
  /** Everything as it was beside the readings, for the next one to bring up to date. */
  #comparison: WholeReading | null = null;
  #cancelCompare: CancelTimer = () => {};
  /** Who refused LISTEN, as poolers may: the next session with it goes without. */
  #deafHost: DatabaseHost | null = null;
  /** In a row, without a refusal. */
  #listenFailures = 0;
  readonly #complaints: Complaints;
  #lastServer: string | null = null;
  #comparedAtMs: number | null = null;

  constructor(options: PostgresOptions) {
    const target = parseDatabaseUrl(options.url);
    if ("problem" in target) throw new Error(`Cannot use the database URL: it ${target.problem}`);
    this.#target = target;
    this.#options = options;
    this.#complaints = new Complaints(options.log);
    const { services = new Services(), here, tidy } = options;
    this.#tools = { services, here, like: () => this.like(), ...tidy !== undefined && { tidy } };
    this.#policies = options.policies ?? new PolicyTable(here);
    this.#timers = options.timers ?? systemTimers;
    this.#hosts = new HostPreference({
      target,
      timers: this.#timers,
      retryEarlierMs: options.retryEarlierMs ?? RETRY_EARLIER_MS,
      tell: (msg, server) => this.#complaints.say("warn", msg, { server }),
      onBetter: () => this.onChange(),
    });
  }

  get following(): ChangesFollowed {
    if (this.#session === null || this.#session.usableFeed === null) return "tables";
    return this.#listening && this.#announcements.reliable ? "notifications" : "change log";
  }

  get server(): string | null {
    const session = this.#session?.client.session;
    return session === undefined ? null : `${nameOf(session.host)}${session.standby ? " (standby)" : ""}`;
  }

  get pollMs(): number | null {
    return POLL_MS[this.following];
  }

  get compare(): Source["compare"] {
    return this.#session === null || this.#session.usableFeed === null ? null : (signal) => this.#compareAll(signal);
  }

  get comparedAtMs(): number | null {
    return this.following === "tables" ? null : this.#comparedAtMs;
  }

  async read({ whole }: { readonly whole: boolean }, signal: AbortSignal): Promise<SourceReading> {
    using limit = this.#limit(signal);
    for (let attempt = 1;; attempt++) {
      const isNew = this.#session === null || this.#session.client.closed;
      try {
        this.#isReading = true;
        return await this.#read(whole, limit.signal);
      } catch (error) {
        this.#endSession();
        // Pools and firewalls end idle sessions as they like: that is no outage
        const mayPass = isNew ? attempt < MOST_ATTEMPTS && isPassing(error) : attempt === 1;
        if (!mayPass || limit.signal.aborted) throw error;
      } finally {
        this.#isReading = false;
      }
    }
  }

  letPoliciesGo(): void {
    this.#policies.letGo();
  }

  async close(): Promise<void> {
    this.#closing.abort(new Error("The source is closed"));
    this.#cancelCompare();
    const client = this.#session?.client;
    this.#endSession();
    await Promise.all([client?.close(), this.#hosts.close()]);
  }

  async #read(whole: boolean, signal: AbortSignal): Promise<SourceReading> {
    if (this.#session?.client.closed === true || this.#hosts.hasBetter) this.#endSession();
    const session = this.#session ?? await this.#open(signal);
    if (session.usableFeed === null) return await this.#readTables(session, whole, signal);
    if (whole || this.#state === null || !session.isPositioned) return await this.#readAll(session, signal);
    const comparison = this.#comparison;
    this.#comparison = null;
    const news = await session.readNews(this.#state, comparison, signal);
    if (news === "insufficient") return await this.#readAll(session, signal);
    if (news === "elsewhere") {
      this.#endSession();
      return await this.#readAll(await this.#open(signal), signal);
    }
    if (session.position !== null) this.#hosts.hasRead(session.position.newest);
    if (news.rows > 0) this.#announcements.found();
    if (news.policies !== null) await this.#policies.take(news.policies);
    if (comparison === null) return this.#take(news.state, this.#regions, false);
    if (news.compared === null) return await this.#readAll(session, signal);
    if (news.compared.routes === news.state.routes) this.#complaints.settle(MISSED);
    else this.#complaints.say("warn", MISSED);
    return this.#take(news.compared, comparison.regions, true);
  }

  async #readTables(session: PostgresSession, whole: boolean, signal: AbortSignal): Promise<SourceReading> {
    if (whole) this.#digests.forget();
    try {
      const { state, regions, feed, policies } = await session.readTables(this.#state, this.#digests, signal);
      if (this.#digests.distrust !== null) this.#complaints.say("warn", UNUSABLE_DIGESTS, { reason: this.#digests.distrust });
      this.#takeFeed(session, feed);
      await this.#policies.take(policies);
      return this.#take(state, regions, true);
    } catch (error) {
      if (sqlState(error) === UNDEFINED_FUNCTION) this.#digests.giveUp(describeError(error));
      throw error;
    }
  }

  async #readAll(session: PostgresSession, signal: AbortSignal): Promise<SourceReading> {
    const { state, regions, feed, position, policies } = await session.readAll(this.#state, signal);
    await this.#policies.take(policies);
    if (position !== null) this.#hosts.hasRead(position.newest);
    this.#takeFeed(session, feed);
    return this.#take(state, regions, true);
  }

  #take(state: RouteState, regions: readonly RegionRow[], whole: boolean): SourceReading {
    this.#state = state;
    this.#regions = regions;
    if (whole) this.#comparedAtMs = this.#timers.nowMs();
    const { exclusions } = state;
    const { policies, exclusions: bad } = this.#policies;
    return {
      routes: this.#policies.exclude(state.routes),
      allRoutes: state.routes,
      excluded: this.#excludedWith(exclusions.list, bad),
      excludedCount: exclusions.count + bad.length,
      regions,
      whole,
      policies,
      policyRows: this.#policies.rows,
      policyTable: this.#policyState(),
    };
  }

  #policyState(): PolicyTableState {
    const state = this.#policies.takeState();
    if (state.problem === null || state.kept > 0) this.#complaints.settle(NO_POLICIES);
    else this.#complaints.say("warn", NO_POLICIES, { reason: state.problem });
    return state;
  }

  /** The same list as long as neither changes. */
  #excludedWith(rows: readonly Exclusion[], policies: readonly Exclusion[]): readonly Exclusion[] {
    if (policies.length === 0) return rows;
    const [first, second] = this.#excludedOf;
    if (first !== rows || second !== policies) {
      this.#excluded = [...policies, ...rows];
      this.#excludedOf = [rows, policies];
    }
    return this.#excluded;
  }

  async #open(signal: AbortSignal): Promise<PostgresSession> {
    const client = await this.#hosts.open(signal);
    const session = new PostgresSession(client, await askForFeed(client, signal), this.#sessionOptions);
    this.#describeFeed(session.feed);
    const mayListen = client.session.host !== this.#deafHost;
    this.#deafHost = null;
    if (session.usableFeed?.notifies === true && !client.session.standby && mayListen) {
      if (!await this.#listen(session, signal)) return await this.#open(signal);
    }
    client.onEnd = () => {
      if (!this.#isReading) this.onChange();
    };
    this.#session = session;
    this.#tellServer();
    if (session.usableFeed !== null) this.#scheduleComparison();
    return session;
  }

  /** After a failure, a promotion, and when an earlier host is back. */
  #tellServer(): void {
    const { server } = this;
    const before = this.#lastServer;
    this.#lastServer = server;
    if (before !== null && server !== before) this.#options.log?.info("another database server answers", { server, before });
  }

  /** Whether the session can go on. */
  async #listen(session: PostgresSession, signal: AbortSignal): Promise<boolean> {
    this.#announcements.reset();
    session.client.onNotification = () => {
      this.#announcements.heard();
      this.onChange();
    };
    try {
      await session.listen(signal);
      this.#listening = true;
      this.#listenFailures = 0;
    } catch (error) {
      // What fails each time is a refusal, too
      if (signal.aborted || !isRefusal(error) && ++this.#listenFailures < MOST_ATTEMPTS) throw error;
      this.#deafHost = session.client.session.host;
      this.#complaints.say("warn", "cannot listen for changes: their log is asked instead", { error: describeError(error) });
    }
    return this.#listening;
  }

  #endSession(): void {
    this.#digests.forget();
    const client = this.#session?.client;
    this.#session = null;
    this.#comparison = null;
    this.#listening = false;
    this.#cancelCompare();
    if (client === undefined) return;
    client.onEnd = () => {};
    client.destroy();
  }

  /** Beside the readings. Without a session there is nothing to do: the next one begins with everything. */
  async #compareAll(signal: AbortSignal): Promise<void> {
    const session = this.#session;
    if (session === null || session.usableFeed === null) return;
    this.#cancelCompare();
    using limit = this.#limit(signal);
    let client: DatabaseClient | null = null;
    try {
      client = await openHost(this.#target, session.client.session.host, "any", limit.signal);
      const aside = new PostgresSession(client, session.feed, this.#sessionOptions);
      const comparison = await aside.readAll(this.#state, limit.signal);
      if (this.#session !== session) return;
      if (this.#takeFeed(session, comparison.feed)) this.#comparison = comparison;
      this.#complaints.settle(NOT_COMPARED);
    } finally {
      await client?.close();
      if (this.#session === session) this.#scheduleComparison();
    }
  }

  #scheduleComparison(): void {
    const { compareIntervalMs = COMPARE_INTERVAL_MS } = this.#options;
    this.#cancelCompare();
    this.#cancelCompare = this.#timers.after(compareIntervalMs * (1 - JITTER + 2 * JITTER * Math.random()), () => {
      this.#compareAll(this.#closing.signal).then(() => this.onChange(), (error: unknown) => {
        if (!this.#closing.signal.aborted) this.#complaints.sayOnce("warn", NOT_COMPARED, { error: describeError(error) });
      });
    });
  }

  /** The feed came, went, or became useless: the next session takes it as it is. */
  #takeFeed(session: PostgresSession, feed: FeedFinding | null): boolean {
    const usable = feed !== null && isUsable(feed);
    if (usable === (session.usableFeed !== null)) return true;
    this.#endSession();
    this.onChange();
    return false;
  }

  #describeFeed(feed: FeedFinding | null): void {
    if (feed === null || !feed.present) return this.#complaints.say("info", NO_FEED);
    const reason = whyUnusable(feed);
    if (reason === null) this.#complaints.settle(NO_FEED, UNUSABLE_FEED);
    else this.#complaints.say("warn", UNUSABLE_FEED, { reason });
  }

  get #sessionOptions(): SessionOptions {
    const { statementTimeoutMs = STATEMENT_TIMEOUT_MS, logTimeoutMs = LOG_TIMEOUT_MS } = this.#options;
    return {
      tools: this.#tools,
      statementTimeoutMs,
      logTimeoutMs,
      policyDigest: () => this.#policies.digest,
      policiesUnreadable: () => this.#policies.unreadable,
    };
  }

  #limit(signal: AbortSignal): TimeLimit {
    const { readTimeoutMs = READ_TIMEOUT_MS } = this.#options;
    return timeLimit(readTimeoutMs, `No answer from the database within ${readTimeoutMs} ms`, signal, this.#closing.signal);
  }
}
