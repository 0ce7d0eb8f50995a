/*  Server-sent events by fetch: the browser's own EventSource cannot send the token.
 *
 *              answered                 ended, failed, or silent
 *  connecting ----------> live ---------------------------------> waiting --- a while ---> connecting        closed is final
 *
 *  Each try asks for what came after the last event that was seen. The server says something at least every 15 s, so a longer silence is a
 *  connection that nobody holds any more.
 */
import { ApiFailure, open } from "./api-client.ts";

export type StreamState = "connecting" | "live" | "waiting";

export interface StreamListener {
  /** `name`: the event's type, or `lost`. */
  readonly onEvent: (name: string, data: unknown) => void;
  readonly onState: (state: StreamState, failure: ApiFailure | null) => void;
}

const SILENCE_MS = 40_000;
const FIRST_WAIT_MS = 1000;
const MOST_WAIT_MS = 15_000;

export class EventStream {
  readonly #path: string;
  readonly #listener: StreamListener;
  readonly #closing: AbortController = new AbortController();
  #lastId: string;
  #waitMs = FIRST_WAIT_MS;

  /** `after`: the events kept since that one come first; `0`: all that are kept. */
  constructor(path: string, after: string, listener: StreamListener) {
    this.#path = path;
    this.#lastId = after;
    this.#listener = listener;
    void this.#run();
  }

  close(): void {
    this.#closing.abort();
  }

  async #run(): Promise<void> {
    const { signal } = this.#closing;
    while (!signal.aborted) {
      this.#listener.onState("connecting", null);
      const failure = await this.#follow(signal).then(() => null, (error: unknown) => error);
      if (signal.aborted) return;
      this.#listener.onState("waiting", failure instanceof ApiFailure ? failure : null);
      await pause(this.#waitMs, signal);
      this.#waitMs = Math.min(2 * this.#waitMs, MOST_WAIT_MS);
    }
  }

  async #follow(closing: AbortSignal): Promise<void> {
    const silence = new AbortController();
    let timer = setTimeout(() => silence.abort(), SILENCE_MS);
    try {
      const headers: Record<string, string> = { Accept: "text/event-stream" };
      if (this.#lastId !== "") headers["Last-Event-ID"] = this.#lastId;
      const response = await open(this.#path, { headers, signal: AbortSignal.any([closing, silence.signal]) });
      this.#listener.onState("live", null);
      this.#waitMs = FIRST_WAIT_MS;
      const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
      let rest = "";
      for (let read = await reader?.read(); read !== undefined && !read.done; read = await reader?.read()) {
        clearTimeout(timer);
        timer = setTimeout(() => silence.abort(), SILENCE_MS);
        const blocks = (rest + read.value).replaceAll("\r\n", "\n").split("\n\n");
        rest = blocks.pop() ?? "";
        for (const block of blocks) this.#take(block);
      }
    } finally {
      clearTimeout(timer);
    }
  }

  #take(block: string): void {
    const lines = block.split("\n").map((line) => /^(\w+): ?(.*)$/.exec(line));
    const id = lines.findLast((line) => line?.[1] === "id")?.[2];
    if (id !== undefined) this.#lastId = id;
    const data = lines.filter((line) => line?.[1] === "data").map((line) => line?.[2] ?? "").join("\n");
    const name = lines.findLast((line) => line?.[1] === "event")?.[2] ?? "message";
    if (data !== "") this.#listener.onEvent(name, JSON.parse(data));
  }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      resolve();
    }, { once: true });
  });
}
