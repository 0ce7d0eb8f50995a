/*  Lines to a file descriptor, many per system call.
 *
 *      write ──► text (string) ──flush──► rest (bytes) ──writeSync──► descriptor
 *                  64 KiB or 100 ms          what the kernel did not take yet
 *
 *  Every line for standard output passes through one writer, so a short write never tears a line of another log. Nor of another
 *  process: supervisor and workers share one pipe, which takes up to 4096 bytes (PIPE_BUF) whole or not at all, so that many leave at
 *  a time, cut at line ends. A longer line goes alone, and may be torn where the pipe is full. A file takes all at once: then
 *  the writing of an access log's line costs 0.2 us in place of 0.75.
 *
 *  A reader that stands still (EAGAIN) costs memory up to a limit, then lines, which are counted and owned up to; it never blocks
 *  traffic. A reader that is gone (EPIPE) costs all further lines. Only `close` waits, for a bounded time.
 */
import { wholeBytes, writeOutput } from "../runtime/standard-output.ts";

/** Writes bytes [offset, end) of the buffer and returns how many it took; throws as `fs.writeSync` does. */
export type WriteBytes = (bytes: Uint8Array, offset: number) => number;

export interface LineWriterOptions {
  /** Default: standard output. */
  readonly write?: WriteBytes;
  /** What it takes whole or not at all. Default: what standard output does. */
  readonly wholeBytes?: number;
  /** Flushed as soon as this much is buffered. */
  readonly flushChars?: number;
  /** Flushed at the latest after this long. */
  readonly everyMs?: number;
  /** Beyond this much unwritten, lines are dropped. */
  readonly limitChars?: number;
}

/** How long `close` waits for a reader that stands still. */
const CLOSE_WAIT_MS = 1_000;
const RETRY_WAIT_MS = 5;
const NEWLINE = 10;

export class LineWriter {
  readonly #write: WriteBytes;
  #wholeBytes: number | undefined;
  readonly #flushChars: number;
  readonly #everyMs: number;
  readonly #limitChars: number;
  #text = "";
  #rest: Uint8Array = new Uint8Array(0);
  #restOffset = 0;
  /** Lines that nobody has read in time, in all, or ever will. */
  lost = 0;
  /** Of these, not owned up to yet. */
  #dropped = 0;
  #broken = false;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(options: LineWriterOptions = {}) {
    this.#write = options.write ?? writeOutput;
    this.#wholeBytes = options.wholeBytes;
    this.#flushChars = options.flushChars ?? 64 * 1024;
    this.#everyMs = options.everyMs ?? 100;
    this.#limitChars = options.limitChars ?? 8 * 1024 * 1024;
  }

  /** Appends a line (without its newline); it leaves within `everyMs`. */
  write(line: string): void {
    if (this.#broken) return void this.lost++;
    if (this.#text.length + this.#rest.length - this.#restOffset + line.length > this.#limitChars) {
      this.#dropped++;
      this.lost++;
      return;
    }
    this.#text += line + "\n";
    if (this.#text.length >= this.#flushChars && this.#rest.length === 0) this.flush();
    else this.#schedule();
  }

  /** Appends a line and gives everything to the kernel now: for lines that must survive a crash. */
  writeNow(line: string): void {
    this.write(line);
    this.flush();
  }

  /** Gives the kernel what it takes without waiting. True when nothing is left. */
  flush(): boolean {
    while (this.#fill()) {
      try {
        while (this.#restOffset < this.#rest.length) this.#restOffset += this.#write(this.#piece(), this.#restOffset);
        this.#rest = new Uint8Array(0);
      } catch (error) {
        if (codeOf(error) === "EINTR") continue;
        if (codeOf(error) !== "EAGAIN") this.#breakOff();
        else this.#schedule();
        return this.#broken;
      }
    }
    this.#cancel();
    return true;
  }

  /** Flushes, waiting up to a second for a slow reader. Lines written later still go out with the next flush. */
  close(): void {
    for (let waitedMs = 0; !this.flush() && waitedMs < CLOSE_WAIT_MS; waitedMs += RETRY_WAIT_MS) {
      // The process is ending: blocking is what is wanted here.
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, RETRY_WAIT_MS);
    }
    this.#cancel();
  }

  /** The rest up to the end of the last line that still fits, or of the first if that is too long. */
  #piece(): Uint8Array {
    const rest = this.#rest, offset = this.#restOffset;
    const most = this.#wholeBytes ??= wholeBytes();
    if (rest.length - offset <= most) return rest;
    const last = rest.lastIndexOf(NEWLINE, offset + most - 1);
    return rest.subarray(0, (last >= offset ? last : rest.indexOf(NEWLINE, offset + most)) + 1);
  }

  /** Turns the text into bytes once the last bytes have left. False when there is nothing to write. */
  #fill(): boolean {
    if (this.#rest.length > 0) return true;
    if (this.#text === "") {
      if (this.#dropped === 0) return false;
      this.#text = droppedLine(this.#dropped);
      this.#dropped = 0;
    }
    this.#rest = Buffer.from(this.#text);
    this.#restOffset = 0;
    this.#text = "";
    return true;
  }

  #breakOff(): void {
    this.#broken = true;
    this.#text = "";
    this.#rest = new Uint8Array(0);
    this.#cancel();
  }

  #schedule(): void {
    if (this.#timer !== undefined) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.flush();
    }, this.#everyMs);
    this.#timer.unref();
  }

  #cancel(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }
}

/** The one writer of this process's standard output; the process's end flushes it. */
export const standardOutput: LineWriter = new LineWriter();
process.on("exit", () => standardOutput.close());

function droppedLine(count: number): string {
  return `{"time":"${new Date().toISOString()}","level":"warn","msg":"log lines dropped","lines":${count}}\n`;
}

function codeOf(error: unknown): string {
  const code = (error as { code?: unknown }).code;
  // Deno names it by class.
  return typeof code === "string" ? code : error instanceof Error && error.name === "WouldBlock" ? "EAGAIN" : "";
}
