/*  What one client sends: its requests, one after the other.
 *
 *            head read                    no body / last body byte
 *   HEAD ----------------------> BODY --------------------------> COMPLETE --(answer ends)--> HEAD   keep-alive
 *    |                             |                                  \--(101 sent)---------> TUNNEL
 *    |                             \--(answer ends first)--> DISCARD --(body ends)----------> HEAD
 *    \--(refused)--> COMPLETE                        from anywhere --(stop)--> STOPPED   final: what comes is dropped
 *
 *  Bytes whose turn has not come are kept: pipelined requests until the answer before them is complete, a body until someone
 *  wants it. Beyond a bound the socket is paused.
 */
import type { Socket } from "../runtime/sockets.ts";
import { LF } from "../wire/bytes.ts";
import type { ChunkedEvents } from "../wire/h1/chunked.ts";
import { CHUNKED, requestBodyLength } from "../wire/h1/framing.ts";
import { isOnlyLineEnds, parseRequestHead } from "../wire/h1/head-parser.ts";
import { NEED_MORE, REFUSED, RequestHead } from "../wire/h1/message-head.ts";
import type { H1Environment } from "./h1-environment.ts";
import type { H1Exchange } from "./h1-exchange.ts";
import { KeptInput } from "./kept-input.ts";
import { RequestBody } from "./request-body.ts";
import type { RequestEvents } from "./request-events.ts";

export const HEAD = 0, BODY = 1, COMPLETE = 2, DISCARD = 3, TUNNEL = 4, STOPPED = 5;

/** Pipelined bytes kept while an answer is under way. */
const MAX_KEPT_BYTES = 64 * 1024;

/** Requests read in one go while each is answered at once: tens of thousands of refusals fit into one chunk. */
const MAX_HEADS = 8;

const NO_BYTES = Buffer.alloc(0);

export class ClientInput implements ChunkedEvents {
  readonly head: RequestHead = new RequestHead();
  phase = HEAD;
  headStarted = false;
  /** The client has sent FIN. */
  halfClosed = false;
  /** The exchange whose request is read; null between two. */
  exchange: H1Exchange | null = null;
  /** Request events are being delivered right now; `onRequestPause` follows. */
  reading = false;
  readonly #socket: Socket;
  readonly #environment: H1Environment;
  readonly #events: RequestEvents;
  readonly #body: RequestBody;
  readonly #kept: KeptInput;
  #requestPaused = false;
  #headsRead = 0;
  /** The client has no reason to wait with its body. */
  #invited = true;

  constructor(socket: Socket, environment: H1Environment, events: RequestEvents) {
    this.#socket = socket;
    this.#kept = new KeptInput(socket);
    this.#environment = environment;
    this.#events = events;
    this.#body = new RequestBody(environment.limits, environment.bodyPace);
  }

  // ---- what the connection and the exchange ask for

  receive(chunk: Buffer): void {
    if (this.phase === STOPPED) return;
    const kept = this.#kept;
    if (kept.bytes === null) return this.#process(chunk, false);
    const bytes = Buffer.concat([kept.bytes, chunk]);
    const partOfLine = this.headUnfinished && chunk.indexOf(LF) < 0 && bytes.length < this.#environment.limits.maxHeadBytes;
    kept.bytes = bytes;
    if (partOfLine || this.#requestPaused || kept.waitsTurn) return; // nothing new to parse, or not now
    kept.bytes = null;
    this.#process(bytes, true);
  }

  /** The client has sent FIN. */
  end(): void {
    this.halfClosed = true;
    if (!this.#waiting) this.#events.onInputEnd();
  }

  /** A request has begun whose head is not complete. */
  get headUnfinished(): boolean {
    return this.phase === HEAD && this.headStarted;
  }

  /** Bytes of a body are missing that the exchange wants now, and the client may send. */
  get starving(): boolean {
    return this.phase === BODY && !this.#requestPaused && this.exchange?.claimed === true && (this.#invited || this.#body.started);
  }

  /** When the body under way is too slow unless more comes. An answer that has begun says that it may be as slow as it likes. */
  get bodyTooSlowAtMs(): number {
    if (this.phase !== BODY || this.exchange?.answered !== false) return Infinity;
    this.#awaitBody();
    return this.#body.pace.tooSlowAtMs(this.#environment.sweep.nowMs, this.#body.receivedBytes);
  }

  /** Whether the rest of the request is small enough to be read and dropped. */
  get discardable(): boolean {
    return this.phase !== BODY || (this.#body.knownShortRest && this.restWillCome);
  }

  /**
   * Whether what is left of the request will come, within the bound as far as its length tells. A client that waits for 100 may
   * send its body or leave it (RFC 9110, 10.1.1), so nobody could tell what its next bytes are.
   */
  get restWillCome(): boolean {
    return this.phase !== BODY || (this.#body.shortRest && (!this.head.expectsContinue || this.#body.started));
  }

  /** Nothing but a request that was read whole has come. */
  get nothingBehind(): boolean {
    return this.phase === COMPLETE && this.#kept.bytes === null && !this.reading;
  }

  /** The exchange has a consumer: its body may flow. */
  claimed(): void {
    this.#awaitBody();
    this.resume();
  }

  /** The client has been told to go on with its body. */
  invite(): void {
    this.#invited = true;
    this.#awaitBody();
  }

  pause(): void {
    this.#requestPaused = true;
    if (this.phase !== BODY && this.phase !== TUNNEL) return;
    this.#body.pace.halt(this.#environment.sweep.nowMs);
    this.#kept.pause();
  }

  unpause(): void {
    if (!this.#requestPaused) return;
    this.#requestPaused = false;
    this.#awaitBody();
    this.#goOn();
  }

  /** Goes on with what was kept, then with the socket. */
  resume(): void {
    if (!this.reading) this.#goOn();
  }

  /** From now on bytes pass raw; first those that the client has sent behind its request. */
  beginTunnel(): void {
    this.phase = TUNNEL;
    this.#socket.bulk = true;
    this.resume();
  }

  /** The head under way is answered as it is. */
  giveUpHead(): void {
    this.phase = COMPLETE;
  }

  /** The exchange is over: nobody wants its request any more. */
  release(): void {
    this.exchange = null;
    this.#requestPaused = false;
  }

  /** On to the next request, behind what is left of this one. */
  next(): void {
    if (this.phase === BODY) {
      this.phase = DISCARD;
      this.#body.discardedBytes = 0;
    } else this.#awaitHead();
  }

  /** What is kept is dropped, and so is what still comes: bytes left unread would turn our end into a reset. */
  stop(): void {
    this.phase = STOPPED;
    this.#kept.bytes = null;
    this.#kept.resume();
  }

  onBody(chunk: Buffer): void {
    const body = this.#body;
    body.receivedBytes += chunk.length;
    if (this.phase === DISCARD) {
      body.discardedBytes += chunk.length;
      return;
    }
    const maxBodyBytes = this.exchange?.terms?.maxBodyBytes ?? this.#environment.maxBodyBytes;
    if (maxBodyBytes > 0 && body.receivedBytes > maxBodyBytes) return this.exchange?.bodyGrewTooLarge();
    this.exchange?.requestBody(chunk);
  }

  // ---- reading

  #awaitBody(): void {
    if (this.starving) this.#body.pace.run(this.#environment.sweep.nowMs);
  }

  /** `ours`: they stay as they are when this has returned. */
  #process(bytes: Buffer, ours: boolean): void {
    this.reading = true;
    this.#headsRead = 0;
    let at = 0;
    while (at < bytes.length && this.phase !== STOPPED) {
      const next = this.#step(bytes, at);
      if (next < 0) {
        this.#kept.keep(at === 0 ? bytes : bytes.subarray(at), ours);
        if (!this.#wantsInput) this.#kept.pause();
        break;
      }
      at = next;
    }
    this.reading = false;
    this.exchange?.sink?.onRequestPause();
    if (this.#kept.paused && this.#wantsInput) this.#kept.resume(); // an exchange may have paused it and ended within the loop
  }

  /** Reads what it can at `at`; the next offset, or -1 to keep the rest for later. */
  #step(bytes: Buffer, at: number): number {
    switch (this.phase) {
      case HEAD:
        // A client that does not read its answers gets no more of them: they would pile up in memory.
        if (this.#socket.pendingBytes > 0) return -1;
        if (this.#headsRead++ < MAX_HEADS) return this.#readHead(bytes, at);
        this.#kept.waitTurn(() => this.phase !== STOPPED && this.resume());
        return -1;
      case BODY:
        return this.#requestPaused || !this.exchange!.claimed ? -1 : this.#readBody(bytes, at);
      case DISCARD:
        return this.#readBody(bytes, at);
      case TUNNEL:
        if (this.#requestPaused) return -1;
        this.exchange?.requestBody(at === 0 ? bytes : bytes.subarray(at));
        return bytes.length;
      default:
        return -1;
    }
  }

  #readHead(bytes: Buffer, at: number): number {
    const { head } = this;
    if (!this.headStarted && !isOnlyLineEnds(bytes, at)) {
      this.headStarted = true;
      this.#events.onHeadBegun();
    }
    const end = parseRequestHead(bytes, at, bytes.length, this.#environment.limits, head);
    if (end === NEED_MORE) {
      head.fields.clear(NO_BYTES);
      return -1;
    }
    if (end === REFUSED) {
      this.#events.onHeadRefused(head.refusal, head.problem);
      return bytes.length;
    }
    head.keep();
    const length = requestBodyLength(head);
    this.phase = length === 0 ? COMPLETE : BODY;
    this.#invited = !head.expectsContinue || head.minor === 0;
    this.#body.begin(length);
    this.#events.onRequest(length, end < bytes.length);
    return end;
  }

  #readBody(bytes: Buffer, at: number): number {
    const body = this.#body;
    const end = body.read(bytes, at, this);
    if (this.phase === STOPPED) return bytes.length; // a chunk was too much
    if (end === REFUSED) {
      if (this.exchange === null) this.#events.onUndiscardable();
      else this.exchange.requestMalformed(body.refusal, body.problem);
      return bytes.length;
    }
    if (!body.done) this.#socket.bulk = body.length !== CHUNKED;
    if (body.done && this.phase === DISCARD) this.#awaitHead();
    else if (body.done && this.phase === BODY) {
      this.phase = COMPLETE;
      this.exchange?.sink?.onRequestEnd(body.trailers);
    } else if (this.phase === DISCARD && body.undiscardable) {
      this.#events.onUndiscardable();
      return bytes.length;
    }
    return end;
  }

  #awaitHead(): void {
    this.phase = HEAD;
    this.#socket.bulk = false;
    this.headStarted = false;
    this.head.rest();
    if (this.#body.length !== 0) this.#body.begin(0); // its trailers
    this.#events.onAwaitHead();
  }

  // ---- keeping

  /** Bytes are kept because their turn has not come; a head that is not complete yet does not count. */
  get #waiting(): boolean {
    return this.#kept.bytes !== null && (this.phase !== HEAD || this.#kept.waitsTurn || this.#socket.pendingBytes > 0);
  }

  /** While a complete request is being answered too: a client that goes away must be noticed (and its exchange cancelled). */
  get #wantsInput(): boolean {
    if (this.phase === BODY || this.phase === TUNNEL) return !this.#requestPaused && this.#kept.bytes === null;
    return !this.#waiting || this.#kept.bytes!.length <= MAX_KEPT_BYTES;
  }

  #goOn(): void {
    const { bytes, waitsTurn } = this.#kept;
    if (waitsTurn) return;
    if (bytes !== null) {
      this.#kept.bytes = null;
      this.#process(bytes, true);
    }
    if (this.#kept.paused && this.#wantsInput) this.#kept.resume();
    if (this.halfClosed && !this.#waiting) this.#events.onInputEnd();
  }
}
