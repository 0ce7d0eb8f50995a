/*  A PostgreSQL server of our own on loopback, for as long as a demo or a test runs.
 *
 *  initdb --> running --- kill (as a crash would) ---> down --- restart ---> running      stop: ended and removed
 *
 *  Port and data survive `kill` and `restart`. Nothing is forced to the disk, as the data is thrown
 *  away anyway; commits still reach the kernel, so that they survive a kill.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { rmSync } from "node:fs";
import { chmod, chown, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { freePort } from "./demo-ports.ts";
import { everyoneCanEnter, reachableBinaries, type ServerUser, serverUser } from "./demo-postgres-binaries.ts";

const READY = "database system is ready to accept connections";
/** Backends of a killed server hold its shared memory until they notice; another process may take our port. */
const PASSING = /shared memory block|already in use|could not create any TCP\/IP sockets/;
const START_ATTEMPTS = 100;
const ATTEMPT_PAUSE_MS = 50;

const PARAMETERS = [
  "listen_addresses=127.0.0.1",
  "unix_socket_directories=",
  "fsync=off",
  "full_page_writes=off",
  "shared_buffers=32MB",
  "max_connections=100",
];

export class PostgresServer implements AsyncDisposable {
  readonly port: number;
  /** With user and password; the database is `postgres`. */
  readonly url: string;
  readonly #folder: string;
  readonly #binaries: string;
  readonly #user: ServerUser;
  #child: ChildProcess | null = null;

  private constructor(port: number, password: string, folder: string, binaries: string, user: ServerUser) {
    this.port = port;
    this.url = `postgres://postgres:${password}@127.0.0.1:${port}/postgres`;
    this.#folder = folder;
    this.#binaries = binaries;
    this.#user = user;
    process.once("exit", this.#abandon);
  }

  /** A new, empty server from the folder with `initdb` and `postgres`. `port`: of 127.0.0.1; absent: any that is free. */
  static async start(binaries: string, port?: number): Promise<PostgresServer> {
    const user = await serverUser();
    const folder = await temporaryFolder();
    try {
      const password = randomBytes(12).toString("hex");
      const reachable = await reachableBinaries(binaries, user, folder);
      await initialise(reachable, folder, password, user);
      const server = new PostgresServer(port ?? await freePort(), password, folder, reachable, user);
      await server.restart();
      return server;
    } catch (error) {
      await rm(folder, { recursive: true, force: true });
      throw error;
    }
  }

  /** Ends the server as a crash would; resolves once it is gone. */
  async kill(): Promise<void> {
    await this.#end("SIGKILL");
  }

  /** Starts the server again, with its port and its data; resolves once it accepts connections. */
  async restart(): Promise<void> {
    for (let attempt = 1;; attempt++) {
      const refusal = await this.#launch();
      if (refusal === null) return;
      if (attempt === START_ATTEMPTS || !PASSING.test(refusal)) throw new Error(`Cannot start PostgreSQL: ${refusal}`);
      await wait(ATTEMPT_PAUSE_MS);
    }
  }

  /** Ends the server and removes its data. */
  async stop(): Promise<void> {
    await this.#end("SIGQUIT");
    process.off("exit", this.#abandon);
    await rm(this.#folder, { recursive: true, force: true, maxRetries: 10 });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  /** null once the server is ready, else what it said before it ended. */
  async #launch(): Promise<string | null> {
    const flags = ["-D", join(this.#folder, "data"), "-p", String(this.port), ...PARAMETERS.flatMap((one) => ["-c", one])];
    const child = spawn(join(this.#binaries, "postgres"), flags, {
      ...this.#user,
      cwd: this.#folder,
      // A process group of its own: Ctrl-C is for us, and we end the server in its turn.
      detached: true,
      env: serverEnvironment(),
      stdio: ["ignore", "ignore", "pipe"],
    });
    const { promise, resolve } = Promise.withResolvers<string | null>();
    let said = "";
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      if (said.length < 10_000) said += text;
      if (said.includes(READY)) resolve(null);
    });
    child.once("error", (error) => resolve(error.message));
    child.once("close", () => resolve(said.trim()));
    const refusal = await promise;
    this.#child = refusal === null ? child : null;
    return refusal;
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child;
    this.#child = null;
    if (child === null || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, "exit");
    child.kill(signal);
    await ended;
  }

  /** This process ends without `stop`: leave nothing behind. */
  readonly #abandon = (): void => {
    this.#child?.kill("SIGKILL");
    rmSync(this.#folder, { recursive: true, force: true });
  };
}

async function initialise(binaries: string, folder: string, password: string, user: ServerUser): Promise<void> {
  const data = join(folder, "data");
  const passwordFile = join(folder, "password");
  await mkdir(data, { mode: 0o700 });
  await writeFile(passwordFile, `${password}\n`, { mode: 0o600 });
  if (user !== null) await Promise.all([data, passwordFile].map((path) => chown(path, user.uid, user.gid)));
  const child = spawn(join(binaries, "initdb"), [
    `--pgdata=${data}`,
    "--username=postgres",
    `--pwfile=${passwordFile}`,
    "--auth=scram-sha-256",
    "--encoding=UTF8",
    "--locale=C",
    "--no-sync",
  ], { ...user, cwd: folder, env: serverEnvironment(), stdio: ["ignore", "ignore", "pipe"] });
  let said = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => said += text);
  const [code] = await once(child, "close") as [number | null];
  if (code !== 0) throw new Error(`Cannot initialise a PostgreSQL database: ${said.trim()}`);
  await rm(passwordFile);
}

/** Messages are read, so their language is fixed; nothing else of our environment concerns the server. */
function serverEnvironment(): Record<string, string> {
  return { PATH: process.env["PATH"] ?? "/usr/bin:/bin", LC_ALL: "C", TZ: "UTC" };
}

/** A new folder that the server's user can enter. */
async function temporaryFolder(): Promise<string> {
  const parent = await everyoneCanEnter(tmpdir()) ? tmpdir() : "/tmp";
  const folder = await mkdtemp(join(parent, "edgeproxy-postgres-"));
  await chmod(folder, 0o755);
  return folder;
}
