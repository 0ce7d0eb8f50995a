/** The reading of bytes by llhttp, in a child process of Node.js (oracle.mjs). */
import { type ChildProcessWithoutNullStreams, spawn, spawnSync } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

export type OracleJob =
  | { readonly kind: "requests"; readonly bytes: string }
  | { readonly kind: "answers"; readonly bytes: string; readonly methods: readonly string[]; readonly ended: boolean };

interface OracleMessage {
  readonly minor: number;
  /** Names and values alternate. */
  readonly fields: readonly string[];
  readonly body: string;
  readonly trailers: readonly string[];
  readonly complete: boolean;
  readonly keepAlive: boolean;
}

export interface OracleRequest extends OracleMessage {
  readonly method: string;
  readonly target: string;
}

export interface OracleAnswer {
  readonly informational: readonly { readonly status: number; readonly fields: readonly string[] }[];
  /** null while the final head has not come. */
  readonly message: (OracleMessage & { readonly status: number; readonly reason: string }) | null;
  readonly error: string | null;
  /** It was 101: what comes behind `end` is not HTTP. */
  readonly tunnel: boolean;
  readonly start: number;
  readonly end: number;
  /** Complete only because the connection ended. */
  readonly untilClose: boolean;
}

export interface OracleReading {
  readonly messages: readonly OracleRequest[];
  readonly error: string | null;
  readonly answers: readonly OracleAnswer[];
}

const NODE = "node";
const OLDEST_MAJOR = 20;

/** Why there is no oracle on this machine; null when there is one. */
export function oracleMissing(): string | null {
  const { stdout, error } = spawnSync(NODE, ["--version"], { encoding: "utf8" });
  if (error !== undefined) return `Cannot run ${NODE}: ${error.message}`;
  const major = Number(/^v(\d+)\./.exec(stdout)?.[1] ?? 0);
  return major >= OLDEST_MAJOR ? null : `Node.js ${OLDEST_MAJOR} is needed, got ${stdout.trim()}`;
}

export class Oracle implements AsyncDisposable {
  /** What reads: `Node.js 20.20.2, llhttp 9.3.1`. */
  readonly name: string;
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #lines: AsyncIterator<string>;
  #complaints = "";

  constructor() {
    const versions = "`Node.js ${process.versions.node}, llhttp ${process.versions.llhttp}`";
    this.name = spawnSync(NODE, ["-p", versions], { encoding: "utf8" }).stdout.trim();
    this.#child = spawn(NODE, [fileURLToPath(new URL("oracle.mjs", import.meta.url))]);
    this.#child.stderr.on("data", (text) => this.#complaints += String(text));
    this.#lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
  }

  /** One reading per job, in order. */
  async read(jobs: readonly OracleJob[]): Promise<OracleReading[]> {
    if (jobs.length === 0) return [];
    this.#child.stdin.write(`${JSON.stringify(jobs)}\n`);
    const line = await this.#lines.next();
    if (line.done === true) throw new Error(`The oracle has ended: ${this.#complaints}`);
    return JSON.parse(line.value) as OracleReading[];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#child.once("close", () => resolve());
    this.#child.stdin.end();
    await promise;
  }
}
