/** Byte streams as our own parser reads them: the same steps as the connections of the data plane, without sockets. */
import { BodyReader } from "../../src/wire/h1/body-reader.ts";
import { requestBodyLength, responseBodyLength, UNTIL_CLOSE } from "../../src/wire/h1/framing.ts";
import { parseRequestHead, parseResponseHead } from "../../src/wire/h1/head-parser.ts";
import {
  type HeadLimits,
  type MessageHead,
  NEED_MORE,
  REFUSED,
  RequestHead,
  ResponseHead,
} from "../../src/wire/h1/message-head.ts";
import { normaliseHost } from "../../src/wire/host.ts";
import type { HeaderList } from "../../src/wire/header-list.ts";

/** One message, as far as it was read. Names and values alternate in `fields` and `trailers`. */
export interface ReadMessage {
  /** A method, or the digits of a status. */
  readonly start: string;
  /** A target, or a reason phrase. */
  readonly text: string;
  readonly minor: number;
  readonly fields: readonly string[];
  readonly keepAlive: boolean;
  /** 101: what comes behind is not HTTP. */
  readonly upgrade: boolean;
  /** Where the head begins in the stream. */
  readonly at: number;
  /** Behind its last byte, once complete. */
  end: number;
  body: string;
  trailers: readonly string[];
  complete: boolean;
}

export interface Reading {
  readonly messages: ReadMessage[];
  /** Why the rest was refused; empty when it was not. */
  problem: string;
  /** The error code of the refusal. */
  refusal: string;
  /** Bytes read as messages. */
  end: number;
}

export type ParseRequestHead = typeof parseRequestHead;

/** Reads messages until it has all, refuses one, or meets one that is the last of its connection. */
abstract class MessageStream {
  readonly reading: Reading = { messages: [], problem: "", refusal: "", end: 0 };
  protected readonly limits: HeadLimits;
  protected last = false;
  readonly #body: BodyReader;
  #kept: Buffer = Buffer.alloc(0);
  #current: ReadMessage | null = null;

  constructor(limits: HeadLimits) {
    this.limits = limits;
    this.#body = new BodyReader(limits);
  }

  get over(): boolean {
    return this.last || this.reading.problem !== "";
  }

  feed(part: Buffer): void {
    const bytes = this.#kept.length === 0 ? part : Buffer.concat([this.#kept, part]);
    let at = 0;
    while (at < bytes.length && !this.over) {
      const next = this.#current === null ? this.#readHead(bytes, at) : this.#readBody(bytes, at, this.#current);
      if (next < 0) break;
      this.reading.end += next - at;
      at = next;
    }
    this.#kept = bytes.subarray(at);
  }

  /** The sender has ended its connection. */
  finish(): void {
    if (this.#current !== null && this.#body.length === UNTIL_CLOSE && !this.over) this.#complete(this.#current, this.reading.end);
  }

  /** The offset behind a head, NEED_MORE or REFUSED. */
  protected abstract parse(bytes: Buffer, at: number): number;
  /** The head that was parsed, and the length of its body. */
  protected abstract begun(at: number): readonly [ReadMessage, number];
  protected abstract readonly head: MessageHead;

  #readHead(bytes: Buffer, at: number): number {
    const end = this.parse(bytes, at);
    if (end === NEED_MORE) return -1;
    if (end === REFUSED) return this.#refuse(this.head.problem, this.head.refusal);
    const [message, length] = this.begun(this.reading.end + this.head.start - at);
    this.reading.messages.push(message);
    this.#current = message;
    this.#body.begin(length);
    if (this.#body.done) this.#complete(message, this.reading.end + end - at);
    return end;
  }

  #readBody(bytes: Buffer, at: number, message: ReadMessage): number {
    const end = this.#body.read(bytes, at, { onBody: (chunk) => void (message.body += chunk.toString("latin1")) });
    if (end === REFUSED) return this.#refuse(this.#body.problem, this.#body.refusal);
    if (this.#body.done) this.#complete(message, this.reading.end + end - at);
    return end;
  }

  #complete(message: ReadMessage, end: number): void {
    message.complete = true;
    message.end = end;
    message.trailers = pairs(this.#body.trailers);
    this.#current = null;
    if (!message.keepAlive && !this.informational(message)) this.last = true;
  }

  protected informational(_message: ReadMessage): boolean {
    return false;
  }

  #refuse(problem: string, refusal: string): number {
    this.reading.problem = problem;
    this.reading.refusal = refusal;
    return -1;
  }
}

class RequestStream extends MessageStream {
  protected readonly head: RequestHead = new RequestHead();
  readonly #parse: ParseRequestHead;

  constructor(limits: HeadLimits, parse: ParseRequestHead) {
    super(limits);
    this.#parse = parse;
  }

  protected parse(bytes: Buffer, at: number): number {
    const end = this.#parse(bytes, at, bytes.length, this.limits, this.head);
    const { authority, minor } = this.head;
    if (end <= 0 || normaliseHost(authority) !== null || (authority === "" && minor === 0)) return end;
    return this.head.refuse("The Host is malformed");
  }

  protected begun(at: number): readonly [ReadMessage, number] {
    const { head } = this;
    return [{ ...messageOf(head, at), start: head.method, text: head.target }, requestBodyLength(head)];
  }
}

class AnswerStream extends MessageStream {
  protected readonly head: ResponseHead = new ResponseHead();
  readonly #methods: readonly string[];
  #answered = 0;

  constructor(limits: HeadLimits, methods: readonly string[]) {
    super(limits);
    this.#methods = methods;
  }

  override get over(): boolean {
    return super.over || this.#answered > this.#methods.length;
  }

  protected parse(bytes: Buffer, at: number): number {
    return this.#answered === this.#methods.length ? NEED_MORE : parseResponseHead(bytes, at, bytes.length, this.limits, this.head);
  }

  protected begun(at: number): readonly [ReadMessage, number] {
    const { head } = this;
    const length = responseBodyLength(head, this.#methods[this.#answered]!);
    const message = messageOf(head, at);
    if (head.status >= 200) this.#answered++;
    if (head.status === 101) this.last = true;
    return [{
      ...message,
      start: String(head.status),
      text: head.fields.bytes.toString("latin1", Math.min(head.statusStart + 4, head.reasonEnd), head.reasonEnd),
      keepAlive: message.keepAlive && length !== UNTIL_CLOSE,
      upgrade: head.status === 101,
    }, length];
  }

  protected override informational(message: ReadMessage): boolean {
    return Number(message.start) < 200;
  }
}

/** `parse` is the parser under test. */
export function readRequests(parts: readonly Buffer[], limits: HeadLimits, parse: ParseRequestHead = parseRequestHead): Reading {
  const stream = new RequestStream(limits, parse);
  for (const part of parts) stream.feed(part);
  return stream.reading;
}

export function readAnswers(parts: readonly Buffer[], limits: HeadLimits, methods: readonly string[], ended: boolean): Reading {
  const stream = new AnswerStream(limits, methods);
  for (const part of parts) stream.feed(part);
  if (ended) stream.finish();
  return stream.reading;
}

function messageOf(head: MessageHead, at: number): ReadMessage {
  const keepAlive = head.minor === 1 ? !head.close : head.keepAlive && !head.close;
  const rest = { start: "", text: "", body: "", trailers: [], complete: false, upgrade: false };
  return { ...rest, minor: head.minor, fields: pairs(head.fields), keepAlive, at, end: at };
}

function pairs(fields: HeaderList | null): string[] {
  return fields === null ? [] : Array.from({ length: fields.count }, (_, i) => [fields.name(i), fields.value(i)]).flat();
}
