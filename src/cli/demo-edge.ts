/** One edgeproxy of the demo: this program once more, as a child process. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import { setTimeout as wait } from "node:timers/promises";
import { freshCommand, inheritableEnvironment } from "../runtime/processes.ts";
import type { EdgeAddress } from "./demo-layout.ts";

const READY_LIMIT_MS = 20_000;
const READY_POLL_MS = 20;
const STOP_LIMIT_MS = 5_000;
const KEPT_LINES = 20;

export interface DemoEdgeOptions {
  readonly address: EdgeAddress;
  readonly adminPort: number;
  readonly region: string;
  /** The port at which the other regions listen. */
  readonly regionPort: number;
  readonly databaseUrl: string;
  /** Called with each line of its log. */
  readonly onLine: (line: string) => void;
  /** Called when it ends without being asked to. */
  readonly onLoss: (reason: string) => void;
}

export class DemoEdge implements AsyncDisposable {
  readonly url: string;
  readonly adminUrl: string;
  readonly #child: ChildProcess;
  readonly #said: string[] = [];
  #stopping = false;

  private constructor(options: DemoEdgeOptions) {
    const { address } = options;
    this.url = `http://${address.host}${address.port === 80 ? "" : `:${address.port}`}`;
    this.adminUrl = `http://127.0.0.1:${options.adminPort}`;
    this.#child = launch(options);
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      if (stream !== null) readLines(stream, (line) => this.#hear(line, options.onLine));
    }
    this.#child.once("exit", (code, signal) => {
      if (!this.#stopping) {
        options.onLoss(`The edge at ${this.url} ended (${signal ?? `exit code ${code}`})\n${this.#said.join("\n")}`);
      }
    });
    process.once("exit", this.#abandon);
  }

  /** Resolves once the edge has loaded its routes. */
  static async start(options: DemoEdgeOptions): Promise<DemoEdge> {
    const edge = new DemoEdge(options);
    try {
      await edge.#becomeReady();
      return edge;
    } catch (error) {
      await edge[Symbol.asyncDispose]();
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping = true;
    process.off("exit", this.#abandon);
    if (!this.#runs()) return;
    const ended = once(this.#child, "exit");
    this.#child.kill("SIGTERM");
    const impatience = setTimeout(() => this.#child.kill("SIGKILL"), STOP_LIMIT_MS);
    await ended;
    clearTimeout(impatience);
  }

  async #becomeReady(): Promise<void> {
    const deadlineMs = performance.now() + READY_LIMIT_MS;
    while (this.#runs() && performance.now() < deadlineMs) {
      const ready = await fetch(`${this.adminUrl}/readyz`).then((response) => response.ok, () => false);
      if (ready) return;
      await wait(READY_POLL_MS);
    }
    throw new Error(`The edge at ${this.url} did not become ready\n${this.#said.join("\n")}`);
  }

  #runs(): boolean {
    return this.#child.pid !== undefined && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  #hear(line: string, onLine: (line: string) => void): void {
    this.#said.push(line);
    if (this.#said.length > KEPT_LINES) this.#said.shift();
    onLine(line);
  }

  /** This process ends without `dispose`: leave nothing behind. */
  readonly #abandon = (): void => {
    this.#child.kill("SIGKILL");
  };
}

/** In a process group of its own, so that Ctrl-C reaches only the demo, which ends its edges in order. */
function launch(options: DemoEdgeOptions): ChildProcess {
  const [program, ...parameters] = freshCommand();
  return spawn(program, [...parameters, "serve"], {
    detached: true,
    env: {
      ...inheritableEnvironment(process.env),
      EDGEPROXY_HTTP_ADDR: `${options.address.host}:${options.address.port}`,
      EDGEPROXY_ADMIN_ADDR: `127.0.0.1:${options.adminPort}`,
      EDGEPROXY_DATABASE_URL: options.databaseUrl,
      EDGEPROXY_REGION_ID: options.region,
      EDGEPROXY_REGION_PORT: String(options.regionPort),
      EDGEPROXY_UPDATE_INTERVAL: "1s",
      EDGEPROXY_SHUTDOWN_TIMEOUT: "1s",
      EDGEPROXY_TRUSTED_PROXIES: "127.0.0.0/8",
      EDGEPROXY_ACCESS_LOG: "on",
      EDGEPROXY_WORKERS: "0",
    },
    stdio: ["ignore", "pipe", "pipe"],
  });
}

function readLines(stream: NodeJS.ReadableStream, onLine: (line: string) => void): void {
  let rest = "";
  stream.setEncoding("utf8");
  stream.on("data", (text: string) => {
    const lines = (rest + text).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) onLine(line);
  });
}
