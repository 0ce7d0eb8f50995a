/*  Readings in one session with the database, and where they are in its log.
 *
 *            set up                    all                     since
 *   opened ----------> no position ----------> positioned -----------------> positioned
 *      feed? LISTEN?        ^                      |
 *                           '----------------------'  promoted, restarted behind a pooler, log pruned, changes beyond the log: `all`
 *
 *  A failure of any of them leaves the session and the state that it worked on useless.
 */
import { CHANNEL, FEED_QUERY, FEED_VERSION, type FeedFinding, feedFinding, isUsable } from "./change-feed.ts";
import { isSameServer, newsSince, policiesAfter, type Position, positionOf, positionQuery, stateAfter } from "./change-log.ts";
import type { DatabaseClient, DatabaseRow } from "./database-client.ts";
import { REGIONS_QUERY } from "./postgres-queries.ts";
import { allPolicies, POLICY_TABLE_QUERY, type PolicyNews } from "./policy-table.ts";
import type { ReadingTools, RouteState } from "./route-reading.ts";
import type { RegionRow } from "./source.ts";
import type { TableDigests } from "./table-digests.ts";
import { type Answer, EVERYTHING, ReadTransaction, stateOfAll } from "./table-reading.ts";

/** Everything, and where the log was then. */
export interface WholeReading {
  readonly state: RouteState;
  readonly regions: readonly RegionRow[];
  /** null: there is no feed that can be used. */
  readonly position: Position | null;
  readonly feed: FeedFinding | null;
  readonly policies: PolicyNews;
}

/** What a reading of the log has come to. */
export interface NewsReading {
  readonly state: RouteState;
  /** New rows of the log. */
  readonly rows: number;
  /** What the given reading of everything is by now. */
  readonly compared: RouteState | null;
  /** null: nothing about them. */
  readonly policies: PolicyNews | null;
}

export type NoNews = "insufficient" | "elsewhere";

export interface SessionOptions {
  readonly tools: ReadingTools;
  readonly statementTimeoutMs: number;
  /** The log is a small table: who does not answer by then is not there. */
  readonly logTimeoutMs: number;
  /** Of the policies as they were last read. */
  readonly policyDigest: () => string | null;
  readonly policiesUnreadable: () => boolean;
}

/** Rows of the log live twice as long. */
const MOST_AWAY_MS = 15 * 60_000;

export class PostgresSession {
  readonly client: DatabaseClient;
  /** null: the database has none. */
  readonly feed: FeedFinding | null;
  readonly #options: SessionOptions;
  /** Up to where the log is read; null: everything must be read. */
  #position: Position | null = null;
  #readAtMs = 0;

  constructor(client: DatabaseClient, feed: FeedFinding | null, options: SessionOptions) {
    this.client = client;
    this.feed = feed;
    this.#options = options;
  }

  /** Fails, and ends the client, where a session cannot listen. */
  async listen(signal: AbortSignal): Promise<void> {
    await this.client.query(`listen ${CHANNEL}`, () => {}, signal);
  }

  /** The feed, if it can be used. */
  get usableFeed(): FeedFinding | null {
    return this.feed !== null && isUsable(this.feed) ? this.feed : null;
  }

  /** Whether `readNews` can be asked. */
  get isPositioned(): boolean {
    return this.#position !== null && performance.now() - this.#readAtMs < MOST_AWAY_MS;
  }

  get position(): Position | null {
    return this.#position;
  }

  async readAll(before: RouteState | null, signal: AbortSignal): Promise<WholeReading> {
    const { tools, statementTimeoutMs } = this.#options;
    const feed = this.usableFeed;
    const startedAtMs = performance.now();
    const transaction = new ReadTransaction(this.client, statementTimeoutMs, signal);
    const answer = await transaction.ask(
      FEED_QUERY,
      POLICY_TABLE_QUERY,
      ...feed === null ? [] : [positionQuery(feed)],
      ...EVERYTHING,
    );
    const state = await stateOfAll(transaction, answer, tools, before);
    const policies = await this.#allPolicies(transaction, answer);
    await transaction.commit();
    this.#position = feed === null ? null : positionOf(answer);
    this.#readAtMs = startedAtMs;
    return { state, regions: answer.regions, position: this.#position, feed: feedIn(answer.others), policies };
  }

  /** Without a feed: what the digests of the tables say, everything if there are none. */
  async readTables(before: RouteState | null, digests: TableDigests, signal: AbortSignal): Promise<WholeReading> {
    const { tools, statementTimeoutMs } = this.#options;
    const questions = digests.questions();
    if (questions.length === 0) return await this.readAll(before, signal);
    const transaction = new ReadTransaction(this.client, statementTimeoutMs, signal);
    const answer = await transaction.ask(FEED_QUERY, POLICY_TABLE_QUERY, ...questions, REGIONS_QUERY);
    const state = await digests.bringUp(transaction, answer, tools, before);
    const policies = await this.#allPolicies(transaction, answer);
    await transaction.commit();
    return { state, regions: answer.regions, position: null, feed: feedIn(answer.others), policies };
  }

  /**
   * By the log since the last reading. `insufficient`: it does not say enough; `elsewhere`: another server answers, or it was promoted.
   * The state that it begins with is used up, and so is `compared`.
   */
  async readNews(state: RouteState, compared: WholeReading | null, signal: AbortSignal): Promise<NewsReading | NoNews> {
    const { tools, statementTimeoutMs, logTimeoutMs } = this.#options;
    const feed = this.usableFeed;
    const since = this.#position;
    if (feed === null || since === null) throw new Error("Cannot read the changes since nothing");
    const startedAtMs = performance.now();
    this.#position = null;
    const transaction = new ReadTransaction(this.client, statementTimeoutMs, signal);
    const news = await newsSince(transaction, feed, since, AbortSignal.any([signal, AbortSignal.timeout(logTimeoutMs)]));
    if (!isSameServer(news.position, since)) return await give(transaction, "elsewhere");
    if (news.insufficient) return await give(transaction, "insufficient");
    const now = news.rows === 0 ? state : await stateAfter(transaction, feed, since, tools, { base: state, before: state });
    if (now === null) return await give(transaction, "insufficient");
    const later = compared === null ? null : await this.#bringUp(compared, transaction, feed, now, signal);
    const policies = await this.#policyNews(transaction, feed, since, news.policies, compared !== null);
    await transaction.commit();
    this.#position = news.position;
    this.#readAtMs = startedAtMs;
    return { state: now, rows: news.rows, compared: later, policies };
  }

  async #allPolicies(transaction: ReadTransaction, { others }: Answer): Promise<PolicyNews> {
    return await allPolicies(transaction, others, this.#options.policyDigest());
  }

  /** Compared as a whole where everything is, too. The log does not tell when a table can be read again: it is looked at each time. */
  async #policyNews(
    transaction: ReadTransaction,
    feed: FeedFinding,
    since: Position,
    some: boolean,
    all: boolean,
  ): Promise<PolicyNews | null> {
    if (all || this.#options.policiesUnreadable()) {
      return await this.#allPolicies(transaction, await transaction.ask(POLICY_TABLE_QUERY));
    }
    return some ? await policiesAfter(transaction, feed, since) : null;
  }

  /** What was read beside the readings, as of this transaction; null: the log does not say enough. */
  async #bringUp(
    { state, position }: WholeReading,
    transaction: ReadTransaction,
    feed: FeedFinding,
    before: RouteState,
    signal: AbortSignal,
  ): Promise<RouteState | null> {
    if (position === null) return null;
    const news = await newsSince(transaction, feed, position, signal);
    if (news.insufficient || !isSameServer(news.position, position)) return null;
    return await stateAfter(transaction, feed, position, this.#options.tools, { base: state, before });
  }
}

async function give(transaction: ReadTransaction, value: NoNews): Promise<NoNews> {
  await transaction.commit();
  return value;
}

/** What the server says about its feed. */
export async function askForFeed(client: DatabaseClient, signal: AbortSignal): Promise<FeedFinding | null> {
  const others: Record<string, unknown> = {};
  await client.query(FEED_QUERY, (row) => Object.assign(others, row), signal);
  return feedIn(others);
}

/** Of a feed that is present; null: it can be used. */
export function whyUnusable(feed: FeedFinding): string | null {
  if (isUsable(feed)) return null;
  const { readable, version, missingTriggers } = feed;
  if (!readable) return "this user may not read it";
  if (version !== FEED_VERSION) return `its version is ${version}, not ${FEED_VERSION}`;
  return `triggers are missing or disabled: ${missingTriggers.join(", ")}`;
}

function feedIn(row: DatabaseRow): FeedFinding | null {
  return "feed_schema" in row ? feedFinding(row) : null;
}
