/*  Which of several hosts is spoken to: the first that suits and is not behind; one that is behind only if no other answers; an earlier
 *  one again when it is back.
 *
 *            refused, does not suit          behind what was read
 *   host ----------------------> next host <---------------------- host      none left: one that is behind, else failed
 *
 *    on a later host --- every 30 s: an earlier one suits and is not behind ---> on that one
 *
 *  Behind is whose log has not come as far as we have read, or is a primary of an older timeline: a former primary
 *  that came back does not know that it was replaced, and its tables would be served from then on as they were.
 */
import type { CancelTimer, Timers } from "../runtime/timers.ts";
import { isUsable } from "./change-feed.ts";
import { positionQuery } from "./change-log.ts";
import { type DatabaseClient, openDatabase, openHost, sqlState } from "./database-client.ts";
import { type DatabaseHost, type DatabaseTarget, nameOf } from "./database-url.ts";
import { askForFeed } from "./postgres-session.ts";

export interface HostPreferenceOptions {
  readonly target: DatabaseTarget;
  readonly timers: Timers;
  readonly retryEarlierMs: number;
  /** A host was passed over, or is used although it is behind. */
  readonly tell: (msg: string, host: string) => void;
  /** An earlier host is back: `take` gives its session. */
  readonly onBetter: () => void;
}

/** How far a server is. */
interface Progress {
  /** As a position's; null: it has no log that we could read. */
  readonly newest: number | null;
  /** null: of a standby. */
  readonly timeline: number | null;
}

const PROGRESS_QUERY = `select case when not pg_is_in_recovery()
  then ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int end as timeline`;

export class HostPreference {
  readonly #options: HostPreferenceOptions;
  readonly #closing: AbortController = new AbortController();
  #newest = 0;
  #timeline = 0;
  #asksTimeline = true;
  #better: DatabaseClient | null = null;
  #cancelTrial: CancelTimer = () => {};

  constructor(options: HostPreferenceOptions) {
    this.#options = options;
  }

  /** The log was read up to here. */
  hasRead(newest: number): void {
    this.#newest = newest;
  }

  /** An earlier host answers again. */
  get hasBetter(): boolean {
    return this.#better !== null && !this.#better.closed;
  }

  async open(signal: AbortSignal): Promise<DatabaseClient> {
    this.#cancelTrial();
    const { target, tell } = this.#options;
    const better = this.#better;
    this.#better = null;
    if (better !== null && !better.closed) return this.#settleOn(better);
    if (target.hosts.length === 1) return await openDatabase(target, signal);
    const behind = new Set<DatabaseClient>();
    const client = await openDatabase(target, signal, async (candidate) => {
      if (!await this.#isLevel(candidate, this.#within(signal))) behind.add(candidate);
      return !behind.has(candidate);
    });
    if (behind.has(client)) {
      // What the only one says is the truth from now on
      tell("only a database host that is behind answers", nameOf(client.session.host));
      this.#newest = 0;
      this.#timeline = 0;
    }
    return this.#settleOn(client);
  }

  async close(): Promise<void> {
    this.#closing.abort(new Error("The source is closed"));
    this.#cancelTrial();
    await this.#better?.close();
  }

  #settleOn(client: DatabaseClient): DatabaseClient {
    const earlier = this.#earlierThan(client);
    if (earlier.length > 0) this.#scheduleTrial(client, earlier);
    return client;
  }

  #earlierThan({ session }: DatabaseClient): readonly DatabaseHost[] {
    const { target } = this.#options;
    const isSecondChoice = target.session === "prefer-standby" && !session.standby;
    return isSecondChoice
      ? target.hosts.filter((host) => host !== session.host)
      : target.hosts.slice(0, target.hosts.indexOf(session.host));
  }

  #scheduleTrial(current: DatabaseClient, hosts: readonly DatabaseHost[]): void {
    this.#cancelTrial = this.#options.timers.after(this.#options.retryEarlierMs, async () => {
      if (current.closed || this.#closing.signal.aborted) return;
      const better = await this.#firstLevel(hosts);
      if (better === null) return this.#scheduleTrial(current, hosts);
      this.#better = better;
      better.onEnd = () => {
        if (this.#better === better) this.#scheduleTrial(current, hosts);
      };
      this.#options.onBetter();
    });
  }

  async #firstLevel(hosts: readonly DatabaseHost[]): Promise<DatabaseClient | null> {
    const { target } = this.#options;
    const { signal } = this.#closing;
    for (const host of hosts) {
      let client: DatabaseClient | null = null;
      try {
        client = await openHost(target, host, target.session === "prefer-standby" ? "standby" : target.session, signal);
        if (await this.#isLevel(client, this.#within(signal))) return client;
      } catch {
        // It is not back
      }
      await client?.close();
    }
    return null;
  }

  /** Who cannot say by then how far it is does not answer. */
  #within(signal: AbortSignal): AbortSignal {
    return AbortSignal.any([signal, AbortSignal.timeout(this.#options.target.connectTimeoutMs)]);
  }

  async #isLevel(client: DatabaseClient, signal: AbortSignal): Promise<boolean> {
    const { newest, timeline } = await this.#progressOf(client, signal);
    const isBehind = newest !== null && newest < this.#newest || timeline !== null && timeline < this.#timeline;
    if (isBehind) this.#options.tell("a database host is behind what was read from another", nameOf(client.session.host));
    else if (timeline !== null) this.#timeline = timeline;
    return !isBehind;
  }

  async #progressOf(client: DatabaseClient, signal: AbortSignal): Promise<Progress> {
    const answer: Record<string, unknown> = {};
    const feed = await askForFeed(client, signal);
    const queries: string[] = [];
    if (feed !== null && isUsable(feed)) queries.push(positionQuery(feed));
    if (this.#asksTimeline) queries.push(PROGRESS_QUERY);
    try {
      await client.query(queries.join(";"), (row) => Object.assign(answer, row), signal);
    } catch (error) {
      if (sqlState(error) !== "") this.#asksTimeline = false;
      throw error;
    }
    const { newest, timeline } = answer;
    return {
      newest: newest === undefined ? null : Number(newest ?? 0),
      timeline: typeof timeline === "number" ? timeline : null,
    };
  }
}
