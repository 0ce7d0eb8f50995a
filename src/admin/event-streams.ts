/*  Events as they happen, to each client that watches (Server-Sent Events).
 *
 *                       taken by the server when the client has room
 *   published ---> queue ---------------------------------------------> id: G-12 / event: table / data: {...}
 *                   '--- full: counted, and told once there is room ---> event: lost / data: {"lost":40}
 *
 *  A client that comes back says which event it saw last (`Last-Event-ID`) and gets what is kept of those after it; one that comes from
 *  another generation, whose ids meant something else, gets all that this one has kept. Where nothing happens a comment every 15 s shows
 *  both sides that the other is there (the server cuts connections that are silent for 60 s). Streams end with the admin address.
 */
import type { EventLog, EventType, StoredEvent } from "../observation/event-log.ts";
import { eventView } from "./event-view.ts";

export interface StreamWish {
  readonly types: readonly EventType[];
  /** The last event that was seen, as `id:` had it; empty: only those that come. */
  readonly after: string;
}

const MOST_STREAMS = 32;
const MOST_QUEUED = 500;
const MOST_QUEUED_LENGTH = 512 * 1024;
/** Of what is kept, for a client that comes back; targets may have 8 KiB each. */
const MOST_REPEATED = 1000;
const MOST_REPEATED_LENGTH = 2 * 1024 * 1024;
const COMMENT_MS = 15_000;
/** What a client waits before it comes back. */
const RETRY_MS = 2000;

export class EventStreams {
  readonly #events: EventLog;
  readonly #streams: Set<EventStream> = new Set();

  constructor(events: EventLog, closing: AbortSignal) {
    this.#events = events;
    closing.addEventListener("abort", () => {
      for (const stream of this.#streams) stream.end();
    });
  }

  get count(): number {
    return this.#streams.size;
  }

  /** null: there are too many. */
  open(wish: StreamWish): ReadableStream<Uint8Array> | null {
    if (this.#streams.size >= MOST_STREAMS) return null;
    const stream: EventStream = new EventStream(this.#events, wish, () => this.#streams.delete(stream));
    this.#streams.add(stream);
    return stream.readable;
  }
}

class EventStream {
  readonly readable: ReadableStream<Uint8Array>;
  readonly #events: EventLog;
  readonly #unsubscribe: () => void;
  readonly #comments: ReturnType<typeof setInterval>;
  readonly #ended: () => void;
  readonly #encoder = new TextEncoder();
  #queue: string[] = [];
  #queuedLength = 0;
  #lost = 0;
  #hasEnded = false;
  #isCancelled = false;
  /** The server waits for more. */
  #wake: (() => void) | null = null;

  constructor(events: EventLog, { types, after }: StreamWish, ended: () => void) {
    this.#events = events;
    this.#ended = ended;
    this.#queue.push(`retry: ${RETRY_MS}\n: edgeproxy\n\n`); // at once, so that the client has the head
    this.#repeat(types, after);
    const wanted = new Set(types);
    this.#unsubscribe = events.subscribe((event) => wanted.has(event.type) && this.#push(event));
    this.#comments = setInterval(() => this.#queue.length === 0 && this.#put(":\n\n"), COMMENT_MS);
    this.readable = new ReadableStream({ pull: (controller) => this.#pull(controller), cancel: () => this.#cancelled() }, {
      highWaterMark: 0, // nothing is taken before the client has room
    });
  }

  end(): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    clearInterval(this.#comments);
    this.#unsubscribe();
    this.#ended();
    this.#wake?.();
  }

  /** The client has gone: nothing can be written any more. */
  #cancelled(): void {
    this.#isCancelled = true;
    this.end();
  }

  async #pull(controller: ReadableStreamDefaultController<Uint8Array>): Promise<void> {
    while (this.#queue.length === 0 && !this.#hasEnded) await new Promise<void>((resolve) => this.#wake = resolve);
    this.#wake = null;
    if (this.#isCancelled) return;
    const text = this.#queue.join("") + this.#takeLost();
    this.#queue = [];
    this.#queuedLength = 0;
    if (text !== "") controller.enqueue(this.#encoder.encode(text));
    if (this.#hasEnded) controller.close();
  }

  #repeat(types: readonly EventType[], after: string): void {
    const events = this.#events;
    if (after === "") return;
    const [generation, id] = after.split("-");
    const kept = events.after(generation === events.generation ? Number(id) || 0 : 0, types);
    const newestFirst: string[] = [];
    for (let index = kept.length - 1, length = 0; index >= 0 && newestFirst.length < MOST_REPEATED; index--) {
      const text = this.#text(kept[index]!);
      length += text.length;
      if (length > MOST_REPEATED_LENGTH) break;
      newestFirst.push(text);
    }
    this.#lost = kept.length - newestFirst.length;
    if (this.#lost > 0) this.#queue.push(this.#takeLost());
    for (const text of newestFirst.reverse()) this.#queue.push(text);
  }

  #push(event: StoredEvent): void {
    if (this.#queue.length >= MOST_QUEUED || this.#queuedLength >= MOST_QUEUED_LENGTH) this.#lost++;
    else this.#put(this.#text(event));
  }

  #put(text: string): void {
    this.#queue.push(text);
    this.#queuedLength += text.length;
    this.#wake?.();
  }

  #text(event: StoredEvent): string {
    return `id: ${this.#events.generation}-${event.id}\nevent: ${event.type}\ndata: ${JSON.stringify(eventView(event))}\n\n`;
  }

  #takeLost(): string {
    if (this.#lost === 0) return "";
    const text = `event: lost\ndata: ${JSON.stringify({ lost: this.#lost })}\n\n`;
    this.#lost = 0;
    return text;
  }
}
