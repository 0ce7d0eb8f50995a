/*  The access log: one JSON line per exchange, when it is on (contract, section 11).
 *
 *  Not through LogTape: at 50,000 lines a second a general logger costs a seventh to a quarter of a core, string
 *  concatenation into a shared buffer 2 % (runtime facts, 3 Logging). Lines leave with the buffer: every 64 KiB or 100 ms.
 */
import { jsonString } from "./json-text.ts";
import { type LineWriter, standardOutput } from "./line-writer.ts";

/** One finished exchange. Texts are as they came from the wire; empty where there was none. */
export interface AccessEntry {
  readonly method: string;
  readonly host: string;
  readonly path: string;
  /** 0 when no head was sent. */
  readonly status: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
  readonly durationMs: number;
  /** `address:port` of the endpoint that answered or failed last. */
  readonly upstream: string;
  readonly region: string;
  readonly requestId: string;
  /** An error code, or empty. */
  readonly error: string;
}

export interface AccessLogOptions {
  /** Share of exchanges written: 0 = off, 1 = all. */
  readonly share: number;
  /** The number of the worker whose exchanges these are; absent where everything is one process. */
  readonly worker?: number;
  readonly writer?: LineWriter;
  readonly nowMs?: () => number;
  readonly random?: () => number;
}

export class AccessLog {
  /** False: nothing is ever written; check it before building an entry. */
  readonly enabled: boolean;
  readonly #share: number;
  readonly #writer: LineWriter;
  readonly #nowMs: () => number;
  readonly #random: () => number;
  /** The end of every line. */
  readonly #ending: string;
  #timeMs = Number.NaN;
  #time = "";

  constructor(options: AccessLogOptions) {
    this.enabled = options.share > 0;
    this.#share = options.share;
    this.#writer = options.writer ?? standardOutput;
    this.#nowMs = options.nowMs ?? Date.now;
    this.#random = options.random ?? Math.random;
    this.#ending = options.worker === undefined ? "}" : `,"worker":${options.worker}}`;
  }

  record(entry: AccessEntry): void {
    if (!this.enabled || (this.#share < 1 && this.#random() >= this.#share)) return;
    this.#writer.write(
      `{"time":"${this.#timeText()}","level":"info","msg":"access","method":${jsonString(entry.method)},"host":${
        jsonString(entry.host)
      }` +
        `,"path":${jsonString(entry.path)},"status":${entry.status},"bytes_in":${entry.bytesIn},"bytes_out":${entry.bytesOut}` +
        `,"duration_ms":${Math.round(entry.durationMs * 1000) / 1000},"upstream":${jsonString(entry.upstream)}` +
        `,"region":${jsonString(entry.region)},"request_id":${jsonString(entry.requestId)},"error":${
          jsonString(entry.error)
        }${this.#ending}`,
    );
  }

  /** Gives what is buffered to the kernel, waiting a moment for a slow reader. */
  close(): void {
    this.#writer.close();
  }

  /** Busy logs write many lines per millisecond; formatting a date is the dearest part of a line. */
  #timeText(): string {
    const nowMs = this.#nowMs();
    if (nowMs !== this.#timeMs) {
      this.#timeMs = nowMs;
      this.#time = new Date(nowMs).toISOString();
    }
    return this.#time;
  }
}
