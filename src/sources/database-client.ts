// deno-lint-ignore-file camelcase -- the option names of postgres.js
/*  One session with the database: opened on the first host that will do, thrown away at the first sign of trouble.
 *
 *  opening --> ready --- query ---> ready
 *     |          '------ closed by the server, failed, given up ---> closed      closed is final: open another one
 *     '-- refused: next kind of encryption, next host; none left: failed
 *
 *  Reconnecting is left to the caller, because a postgres.js 3.4.9 client that has lost its connection may reject the next
 *  query with the old farewell, or write to a socket that is gone and end the process. So a client lives as long as its
 *  connection; and each call is one message of the simple protocol: no prepared statement that a pooler would lose, no step
 *  of a transaction that could be written after the connection broke.
 */
import type { Socket } from "node:net";
import postgres from "postgres";
import { later } from "../runtime/later.ts";
import { type Encryption, openSocket } from "./database-socket.ts";
import { type DatabaseHost, type DatabaseTarget, nameOf, type SessionKind, type SslMode } from "./database-url.ts";

export type DatabaseRow = Readonly<Record<string, unknown>>;

/** What the server says about the session. */
export interface Session {
  readonly host: DatabaseHost;
  readonly encrypted: boolean;
  readonly serverVersion: string;
  readonly user: string;
  readonly database: string;
  readonly standby: boolean;
  readonly readOnly: boolean;
}

/** In the order of trial. */
const ENCRYPTIONS: Readonly<Record<SslMode, readonly [Encryption, Encryption?]>> = {
  "disable": ["none"],
  "allow": ["none", "required"],
  "prefer": ["offered", "none"],
  "require": ["required"],
  "verify-ca": ["required"],
  "verify-full": ["required"],
};

/** How long rows are taken without a pause. */
const TURN_MS = 0.5;

/** SQLSTATE of `no pg_hba.conf entry for host ..., no encryption`. */
const NOT_AUTHORISED = "28000";

const SESSION_QUERY = `select pg_is_in_recovery() as standby, current_setting('transaction_read_only') = 'on' as read_only,
  current_setting('server_version') as version, current_user::text as user, current_database()::text as database`;

/** Rejects with every host's reason. One that `isWanted` does not take is second choice: used if no other will do. */
export async function openDatabase(
  target: DatabaseTarget,
  signal: AbortSignal,
  isWanted: (client: DatabaseClient) => Promise<boolean> = () => Promise.resolve(true),
): Promise<DatabaseClient> {
  const failures: string[] = [];
  let last: unknown;
  let second: DatabaseClient | null = null;
  const kinds = target.session === "prefer-standby" ? ["standby", "any"] as const : [target.session];
  for (const { host, wanted } of kinds.flatMap((wanted) => target.hosts.map((host) => ({ host, wanted })))) {
    try {
      const client = await openHost(target, host, wanted, signal);
      if (await isWanted(client)) {
        await second?.close();
        return client;
      }
      if (second === null) second = client;
      else await client.close();
    } catch (error) {
      if (signal.aborted) {
        second?.destroy();
        throw signal.reason;
      }
      last = error;
      failures.push(`${nameOf(host)}: ${describeError(error)}`);
      // The server knows us and says no: the other hosts would say the same (as in libpq).
      if (/^(28|3D)/.test(sqlState(error))) break;
    }
  }
  if (second !== null) return second;
  throw connectError(failures, last);
}

/** The session ended, whatever was asked: on a session that had been idle, worth asking again in a new one. */
export class ConnectionLost extends Error {
  constructor(cause: unknown) {
    super(`The database closed the connection: ${describeError(cause)}`, { cause });
    this.name = "ConnectionLost";
  }
}

export class DatabaseClient {
  /** Called with each notification of a channel that was listened to. */
  onNotification: () => void = () => {};
  /** Called when the session has ended, whoever ended it. */
  onEnd: () => void = () => {};
  readonly #sql: postgres.Sql;
  readonly #closing = new AbortController();
  #socket: Socket | null = null;
  #session: Session | null = null;
  #paused = false;
  #resumedAtMs = 0;

  constructor(target: DatabaseTarget, host: DatabaseHost, encryption: Encryption) {
    const options = {
      host: [host.host],
      port: [host.port],
      ...(target.user === null ? {} : { user: target.user }),
      ...(target.password === null ? {} : { password: target.password }),
      ...(target.database === null ? {} : { database: target.database }),
      connection: target.startup,
      socket: () => this.#connect(target, host, encryption),
      onclose: () => this.destroy(),
      onnotice: () => {},
      // Undocumented: postgres.js listens in sessions of its own, which a notification about ours would not help.
      onnotify: () => this.onNotification(),
      // All are spelled out: postgres.js would take absent ones from variables such as PGMAX.
      ssl: false,
      sslnegotiation: null,
      max: 1,
      max_lifetime: null,
      max_pipeline: 100,
      idle_timeout: null,
      keep_alive: 30,
      connect_timeout: target.connectTimeoutMs / 1000,
      backoff: (failures: number) => Math.min(0.1 * 2 ** failures, 1),
      prepare: false,
      fetch_types: false,
      debug: false,
      publications: "",
      no_subscribe: true,
    };
    // `socket` and lists of hosts are documented, but missing in the types of postgres.js 3.4.9.
    this.#sql = postgres(options as unknown as postgres.Options<Record<string, never>>);
  }

  get closed(): boolean {
    return this.#closing.signal.aborted;
  }

  get session(): Session {
    if (this.#session === null) throw new Error("Cannot describe a session that was never opened");
    return this.#session;
  }

  /** Runs SQL text, one statement or several; each row of each result goes to `onRow`. Any failure closes the client. */
  async query(text: string, onRow: (row: DatabaseRow) => void, signal: AbortSignal): Promise<void> {
    const abandoned = Promise.withResolvers<never>();
    const abandon = () => {
      this.destroy();
      abandoned.reject(signal.reason);
    };
    signal.addEventListener("abort", abandon, { once: true });
    try {
      signal.throwIfAborted();
      // A race, so that not even a client that loses track of its query can hold up the caller.
      const paced = (row: DatabaseRow): void => {
        this.#pace();
        onRow(row);
      };
      await Promise.race([this.#sql.unsafe(text).forEach(paced), abandoned.promise]);
    } catch (error) {
      this.destroy();
      throw isLoss(error) ? new ConnectionLost(error) : error;
    } finally {
      signal.removeEventListener("abort", abandon);
    }
  }

  /** A server that has much to say would not let anybody else have a turn. */
  #pace(): void {
    const socket = this.#socket;
    if (this.#paused || socket === null || performance.now() - this.#resumedAtMs < TURN_MS) return;
    this.#paused = true;
    socket.pause();
    later(() => {
      this.#paused = false;
      this.#resumedAtMs = performance.now();
      socket.resume();
    });
  }

  /** Opens the connection: nothing is sent before. Asks the server who we are. */
  async begin(host: DatabaseHost, signal: AbortSignal): Promise<Session> {
    const rows: DatabaseRow[] = [];
    await this.query(SESSION_QUERY, (row) => rows.push(row), signal);
    const row = rows[0] ?? {};
    this.#session = {
      host,
      encrypted: this.#socket !== null && "encrypted" in this.#socket,
      serverVersion: String(row["version"]),
      user: String(row["user"]),
      database: String(row["database"]),
      standby: row["standby"] === true,
      readOnly: row["read_only"] === true,
    };
    return this.#session;
  }

  /** Says goodbye and closes. */
  async close(): Promise<void> {
    if (!this.closed) await this.#sql.end({ timeout: 1 }).catch(() => {});
    this.destroy();
  }

  /** Closes at once. */
  destroy(): void {
    if (this.closed) return;
    this.#closing.abort(new Error("The connection is closed"));
    this.onEnd();
    this.#socket?.destroy();
    this.#sql.end({ timeout: 0 }).catch(() => {});
  }

  /** Called by postgres.js, a second time if the server hangs up before the session has begun: then there is no hope. */
  async #connect(target: DatabaseTarget, host: DatabaseHost, encryption: Encryption): Promise<Socket> {
    if (this.#socket !== null) throw new Error("The server closed the connection before the session began");
    this.#socket = await openSocket(target, host, encryption, this.#closing.signal);
    return this.#socket;
  }
}

/** What went wrong, for people: `connect` to a name with several addresses fails with an empty message of its own. */
export function describeError(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0) return describeError(error.errors[0]);
  if (!(error instanceof Error)) return String(error);
  const code = "code" in error && typeof error.code === "string" ? error.code : "";
  return error.message || code || error.name;
}

/** The other kind of encryption is tried when the server allows us in by that one only. */
export async function openHost(
  target: DatabaseTarget,
  host: DatabaseHost,
  wanted: SessionKind,
  signal: AbortSignal,
): Promise<DatabaseClient> {
  const [first, second] = ENCRYPTIONS[target.sslMode];
  try {
    return await openOnce(target, host, first, wanted, signal);
  } catch (error) {
    if (second === undefined || sqlState(error) !== NOT_AUTHORISED) throw error;
    return await openOnce(target, host, second, wanted, signal);
  }
}

async function openOnce(
  target: DatabaseTarget,
  host: DatabaseHost,
  encryption: Encryption,
  wanted: SessionKind,
  signal: AbortSignal,
): Promise<DatabaseClient> {
  const timeout = new AbortController();
  const expire = () => timeout.abort(new Error(`No connection within ${target.connectTimeoutMs} ms`));
  const timer = setTimeout(expire, target.connectTimeoutMs);
  const client = new DatabaseClient(target, host, encryption);
  try {
    const session = await client.begin(host, AbortSignal.any([signal, timeout.signal]));
    if (!suits(session, wanted)) throw new Error(`The server is not ${wanted}`);
    return client;
  } catch (error) {
    client.destroy();
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

function suits(session: Session, wanted: SessionKind): boolean {
  switch (wanted) {
    case "any":
    case "prefer-standby":
      return true;
    case "primary":
      return !session.standby;
    case "standby":
      return session.standby;
    case "read-write":
      return !session.readOnly;
    case "read-only":
      return session.readOnly;
  }
}

/** The socket broke, or the server said goodbye (SQLSTATE 57P01, 57P02, 57P05). */
function isLoss(error: unknown): boolean {
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  return /^(CONNECTION_(CLOSED|DESTROYED|ENDED)|ECONNRESET|EPIPE|57P0[125])$/.test(code);
}

/** SQLSTATE of what another attempt may not meet: lost, out of step with others, short of something, interrupted, broken. */
const ACCIDENT = /^($|08|40|53|55|57|58|XX)/;

/** The server, or a pooler before it, has understood and does not want to. */
export function isRefusal(error: unknown): boolean {
  return !(error instanceof ConnectionLost) && !ACCIDENT.test(sqlState(error));
}

export function sqlState(error: unknown): string {
  const refusal = error instanceof ConnectionLost ? error.cause : error;
  return refusal instanceof postgres.PostgresError ? refusal.code : "";
}

function connectError(failures: readonly string[], cause: unknown): Error {
  return new Error(`Cannot connect to the database at ${[...new Set(failures)].join("; ")}`, { cause });
}
