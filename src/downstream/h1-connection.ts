/*  A client's HTTP/1.1 connection: reads requests one after the other, writes their answers.
 *
 *           request line begins          no body / last body byte
 *   HEAD ------------------------> BODY --------------------------> COMPLETE --(answer ends)--> HEAD   keep-alive
 *    |                              |                                  \--(101 sent)---------> TUNNEL -> CLOSED
 *    |                              \--(answer ends first)--> DISCARD --(body ends)----------> HEAD
 *    \--(refused, or the connection may not go on)--> LINGER (FIN sent, input dropped) ------> CLOSED   final
 *
 *  Pipelined bytes wait in `#kept` until the answer before them is complete; the socket is paused beyond a bound.
 *  Output is gathered in one buffer shared by all connections and leaves in one write (`flush`), large body chunks leave
 *  as the buffers they came in. One connection at a time holds the buffer; whoever wants it flushes the one before.
 */
import type { Watched } from "../runtime/clock.ts";
import type { Socket, SocketError, SocketSink } from "../runtime/sockets.ts";
import { type ByteWriter, CR, LF } from "../wire/bytes.ts";
import { GatheredOutput, type Outlet } from "../wire/gathered-output.ts";
import type { HeaderList } from "../wire/header-list.ts";
import { BodyReader } from "../wire/h1/body-reader.ts";
import type { ChunkedEvents } from "../wire/h1/chunked.ts";
import { CHUNKED, requestBodyLength } from "../wire/h1/framing.ts";
import { normaliseHost } from "../wire/host.ts";
import { parseRequestHead } from "../wire/h1/head-parser.ts";
import { NEED_MORE, REFUSED, RequestHead } from "../wire/h1/message-head.ts";
import type { ErrorCode } from "../observation/proxy-error.ts";
import type { Peer } from "./exchange.ts";
import type { H1Environment } from "./h1-environment.ts";
import { H1Exchange } from "./h1-exchange.ts";

const HEAD = 0, BODY = 1, COMPLETE = 2, DISCARD = 3, TUNNEL = 4, LINGER = 5, CLOSED = 6;

/** Pipelined bytes kept while an answer is under way. */
const MAX_KEPT_BYTES = 64 * 1024;
/** Rest of a request body that is read and dropped after an early answer to keep the connection. */
const MAX_DISCARD_BYTES = 64 * 1024;
/** How long a connection is read after our FIN, so that the client gets the answer before a reset (RFC 9112, 9.6). */
const LINGER_MS = 2000;
const DISCARD_MS = 5000;

/** How long a quiet connection may still bring a request that was under way when draining began. */
export const IDLE_GRACE_MS = 300;
const NO_BYTES = Buffer.alloc(0);

const output = new GatheredOutput();

export class H1Connection implements SocketSink, Watched, ChunkedEvents, Outlet {
  deadlineAtMs: number;
  readonly peer: Peer;
  readonly environment: H1Environment;
  readonly head: RequestHead = new RequestHead();
  /** Cleared when the connection may not carry another request. */
  persistent = true;
  /** The client has sent FIN. */
  halfClosed = false;
  readonly #socket: Socket;
  readonly #body: BodyReader;
  #phase = HEAD;
  #headStarted = false;
  #kept: Buffer | null = null;
  #exchange: H1Exchange | null = null;
  #requestPaused = false;
  #processing = false;
  #bodyBytes = 0;
  #discarded = 0;
  #socketPaused = false;
  #refused = false;
  #lastAuthority = "";
  #lastHost: string | null = null;
  #destroyOnDrain = false;
  #activeAtMs: number;

  constructor(socket: Socket, peer: Peer, environment: H1Environment) {
    this.#socket = socket;
    this.peer = peer;
    this.environment = environment;
    this.#body = new BodyReader(environment.limits);
    this.deadlineAtMs = Infinity;
    environment.sweep.watch(this); // first: an idle sweep's clock stands still
    this.#activeAtMs = environment.sweep.nowMs;
    this.deadlineAtMs = environment.sweep.nowMs + environment.headerTimeoutMs;
  }

  // ---- what the socket says

  onData(chunk: Buffer): void {
    this.environment.metrics.bytesIn += chunk.length;
    this.#activeAtMs = this.environment.sweep.nowMs;
    if (this.#phase === LINGER) return;
    const kept = this.#kept;
    if (kept === null) return this.#process(chunk);
    const bytes = Buffer.concat([kept, chunk]);
    const partOfLine = this.#phase === HEAD && chunk.indexOf(LF) < 0 && bytes.length < this.environment.limits.maxHeadBytes;
    this.#kept = bytes;
    if (partOfLine || this.#requestPaused) return; // nothing new to parse
    this.#kept = null;
    this.#process(bytes);
  }

  onDrain(): void {
    this.#activeAtMs = this.environment.sweep.nowMs;
    if (this.#phase === LINGER) {
      if (this.#destroyOnDrain) this.#socket.destroy();
      else this.#expire(LINGER_MS);
      return;
    }
    if (this.#phase === HEAD && !this.#headStarted) this.#expire(this.environment.idleTimeoutMs);
    if (this.#exchange === null) this.#resume();
    else this.#exchange.sink?.onResponseDrain();
  }

  /** A client that takes its answer slowly is not a stalled one. */
  onProgress(): void {
    this.#activeAtMs = this.environment.sweep.nowMs;
  }

  onEnd(): void {
    this.halfClosed = true;
    if (!this.#waiting) this.#inputEnded();
  }

  onClose(_error: SocketError | null): void {
    const exchange = this.#exchange;
    this.#phase = CLOSED;
    this.#exchange = null;
    this.#kept = null;
    output.drop(this);
    this.environment.sweep.unwatch(this);
    if (exchange !== null) exchange.connectionLost();
    this.environment.connectionClosed(this);
  }

  onDeadline(): void {
    const { sweep, streamTimeoutMs } = this.environment;
    switch (this.#phase) {
      case HEAD:
        if (this.#headStarted) return this.#refuse("head_timeout", "The request head was not complete in time");
        return this.#hangUp();
      case BODY:
      case COMPLETE:
      case TUNNEL:
        this.deadlineAtMs = this.#activeAtMs + streamTimeoutMs;
        if (!sweep.isDue(this)) return;
        this.deadlineAtMs = Infinity;
        return this.#exchange?.timedOut(this.#phase === BODY && !this.#requestPaused && this.#exchange.claimed);
      default:
        return this.#hangUp();
    }
  }

  // ---- what the exchange asks for

  get requestComplete(): boolean {
    return this.#phase !== BODY;
  }

  get requestStarted(): boolean {
    return this.#bodyBytes > 0;
  }

  /** Request events are being delivered right now; `onRequestPause` follows. */
  get reading(): boolean {
    return this.#processing;
  }

  /** Whether the rest of the request is small enough to be read and dropped. */
  get discardable(): boolean {
    return this.#phase !== BODY || (this.#body.length !== CHUNKED && this.restWillCome);
  }

  /**
   * Whether what is left of the request will come, within the bound as far as its length tells. A client that waits for 100 may
   * send its body or leave it (RFC 9110, 10.1.1), so nobody could tell what its next bytes are.
   */
  get restWillCome(): boolean {
    return this.#phase !== BODY || (this.#body.left <= MAX_DISCARD_BYTES && (!this.head.expectsContinue || this.requestStarted));
  }

  /** The normalised host of a request; null when malformed. Most requests of a connection ask for one host. */
  hostOf(head: RequestHead): string | null {
    if (head.authority !== this.#lastAuthority) {
      this.#lastAuthority = head.authority;
      this.#lastHost = normaliseHost(head.authority);
    }
    return head.authority === "" && head.minor === 0 ? "" : this.#lastHost;
  }

  /** The exchange has a consumer: its body may flow. */
  claimed(): void {
    if (!this.#processing) this.#resume();
  }

  pauseRequest(): void {
    this.#requestPaused = true;
    if (this.#phase === BODY || this.#phase === TUNNEL) this.#pauseSocket();
  }

  resumeRequest(): void {
    if (!this.#requestPaused) return;
    this.#requestPaused = false;
    this.#resume();
  }

  /** The shared output buffer, to be written to and flushed before anything else happens. */
  output(): ByteWriter {
    return output.open(this);
  }

  flush(): void {
    output.flush(this);
  }

  deliver(scratch: Buffer, length: number): void {
    this.environment.metrics.bytesOut += length;
    this.#activeAtMs = this.environment.sweep.nowMs;
    this.#socket.writeCopied(scratch, length);
  }

  /**
   * A chunk that is too large to be copied behind what is gathered. It is a slice of the buffer it was received in, and what lies
   * before it there has been parsed, so the gathered head goes there and both leave in one write
   * (file-64k: 0.78 of the CPU per request of two writes, docs/performance.md).
   */
  writeThrough(chunk: Buffer): void {
    const joined = this.#socket.settled ? output.prepend(this, chunk) : null;
    if (joined === null) this.flush();
    const bytes = joined ?? chunk;
    this.environment.metrics.bytesOut += bytes.length;
    this.#activeAtMs = this.environment.sweep.nowMs;
    this.#socket.write(bytes);
  }

  get writable(): boolean {
    return this.#socket.pendingBytes === 0;
  }

  /** From now on bytes pass raw, both ways. */
  beginTunnel(): void {
    this.#phase = TUNNEL;
    this.persistent = false;
    this.environment.metrics.tunnelsActive++;
    if (!this.#processing) this.#resume(); // what the client has sent behind its request
  }

  /** The client's side of the tunnel gets FIN; it may go on sending. */
  endTunnelOutput(): void {
    this.flush();
    this.#socket.end();
  }

  reset(): void {
    this.flush();
    this.#socket.reset();
  }

  /** The answer is complete: on to the next request, or close. */
  answerEnded(): void {
    this.flush();
    this.#exchange = null;
    this.#requestPaused = false;
    if (this.#phase === TUNNEL) return this.#closeWhenDrained();
    if (!this.persistent) return this.#close();
    if (this.#phase === BODY) {
      this.#phase = DISCARD;
      this.#discarded = 0;
      this.#expire(DISCARD_MS);
    } else this.#awaitHead();
    if (!this.#processing) this.#resume();
  }

  /** Closes the connection if no request is under way; what it was sent leaves first. */
  closeIdle(): void {
    if (this.#phase === HEAD && !this.#headStarted) this.#closeWhenDrained();
  }

  /** Ends whatever is running. True when an exchange was cut, or an answer that had not left whole. */
  cut(): boolean {
    const cut = this.#exchange !== null || this.#socket.pendingBytes > 0;
    this.#socket.reset();
    return cut;
  }

  onBody(chunk: Buffer): void {
    this.#bodyBytes += chunk.length;
    const { maxBodyBytes } = this.environment;
    if (this.#phase === DISCARD) {
      this.#discarded += chunk.length;
      return;
    }
    if (maxBodyBytes > 0 && this.#bodyBytes > maxBodyBytes) return this.#exchange?.bodyTooLarge();
    this.#exchange?.requestBody(chunk);
  }

  // ---- reading

  #process(bytes: Buffer): void {
    this.#processing = true;
    let at = 0;
    while (at < bytes.length && this.#phase < LINGER) {
      const next = this.#step(bytes, at);
      if (next < 0) {
        this.#keep(bytes, at);
        break;
      }
      at = next;
    }
    this.#processing = false;
    this.#exchange?.sink?.onRequestPause();
    this.#resumeSocket(); // an exchange may have paused it and ended within the loop
  }

  /** Reads what it can at `at`; the next offset, or -1 to keep the rest for later. */
  #step(bytes: Buffer, at: number): number {
    switch (this.#phase) {
      case HEAD:
        // A client that does not read its answers gets no more of them: they would pile up in memory.
        return this.#socket.pendingBytes > 0 ? -1 : this.#readHead(bytes, at);
      case BODY:
        return this.#requestPaused || !this.#exchange!.claimed ? -1 : this.#readBody(bytes, at);
      case DISCARD:
        return this.#readBody(bytes, at);
      case TUNNEL:
        if (this.#requestPaused) return -1;
        this.#exchange?.requestBody(at === 0 ? bytes : bytes.subarray(at));
        return bytes.length;
      default:
        return -1;
    }
  }

  #keep(bytes: Buffer, at: number): void {
    this.#kept = compact(at === 0 ? bytes : bytes.subarray(at));
    if (!this.#wantsInput) this.#pauseSocket();
  }

  /** Bytes are kept because their turn has not come; a head that is not complete yet does not count. */
  get #waiting(): boolean {
    return this.#kept !== null && (this.#phase !== HEAD || this.#socket.pendingBytes > 0);
  }

  #readHead(bytes: Buffer, at: number): number {
    const { environment, head } = this;
    if (!this.#headStarted && !isEmptyLines(bytes, at)) {
      this.#headStarted = true;
      this.deadlineAtMs = environment.sweep.nowMs + environment.headerTimeoutMs;
    }
    const end = parseRequestHead(bytes, at, bytes.length, environment.limits, head);
    if (end === NEED_MORE) return -1;
    if (end === REFUSED) {
      this.#refuse(head.refusal, head.problem);
      return bytes.length;
    }
    this.#beginExchange(end < bytes.length);
    return end;
  }

  /** `more`: something has come behind the head. */
  #beginExchange(more: boolean): void {
    const { environment, head } = this;
    const length = requestBodyLength(head);
    this.#phase = length === 0 ? COMPLETE : BODY;
    this.#bodyBytes = 0;
    this.#body.begin(length);
    this.#activeAtMs = environment.sweep.nowMs;
    this.deadlineAtMs = environment.sweep.nowMs + environment.streamTimeoutMs;
    this.persistent = (more || !this.halfClosed) && (head.minor === 1 ? !head.close : head.keepAlive && !head.close);
    const exchange = this.#exchange = new H1Exchange(this, length);
    environment.metrics.exchangesActive++;
    if (!exchange.hostIsValid) return exchange.refuseAndClose("bad_request", "The Host is malformed");
    if (environment.maxBodyBytes > 0 && length > environment.maxBodyBytes) {
      return exchange.refuseAndClose("body_too_large", `A request body of ${length} bytes`);
    }
    environment.dispatch(exchange);
  }

  #readBody(bytes: Buffer, at: number): number {
    const body = this.#body;
    const end = body.read(bytes, at, this);
    if (this.#phase >= LINGER) return bytes.length; // a chunk was too much
    if (end === REFUSED) {
      if (this.#exchange === null) this.#close();
      else this.#exchange.requestMalformed(body.refusal, body.problem);
      return bytes.length;
    }
    if (body.done) this.#requestEnded(body.trailers);
    else if (this.#phase === DISCARD && this.#discarded > MAX_DISCARD_BYTES) {
      this.#close();
      return bytes.length;
    }
    return end;
  }

  #requestEnded(trailers: HeaderList | null): void {
    if (this.#phase === DISCARD) return this.#awaitHead();
    if (this.#phase !== BODY) return;
    this.#phase = COMPLETE;
    this.#exchange?.sink?.onRequestEnd(trailers);
  }

  #awaitHead(): void {
    this.#phase = HEAD;
    this.#headStarted = false;
    this.head.fields.clear(NO_BYTES); // an idle connection must not hold the buffer of its last request
    this.#expire(this.environment.draining ? IDLE_GRACE_MS : this.environment.idleTimeoutMs);
  }

  /** Sets the deadline of a connection without exchange; one that is slow to take its answer is not idle (`onDrain` asks again). */
  #expire(afterMs: number): void {
    const { sweep, streamTimeoutMs } = this.environment;
    this.deadlineAtMs = sweep.nowMs + (this.writable ? afterMs : streamTimeoutMs);
  }

  #pauseSocket(): void {
    if (this.#socketPaused) return;
    this.#socketPaused = true;
    this.#socket.pause();
  }

  /** Goes on with what was kept, then with the socket. */
  #resume(): void {
    const kept = this.#kept;
    if (kept !== null) {
      this.#kept = null;
      this.#process(kept);
    }
    this.#resumeSocket();
    if (this.halfClosed && !this.#waiting) this.#inputEnded();
  }

  #resumeSocket(): void {
    if (!this.#socketPaused || !this.#wantsInput) return;
    this.#socketPaused = false;
    this.#socket.resume();
  }

  /** While a complete request is being answered too: a client that goes away must be noticed (and its exchange cancelled). */
  get #wantsInput(): boolean {
    if (this.#phase === BODY || this.#phase === TUNNEL) return !this.#requestPaused && this.#kept === null;
    return !this.#waiting || this.#kept!.length <= MAX_KEPT_BYTES;
  }

  // ---- ending

  /** The client has sent FIN, and all that came before it has been read. */
  #inputEnded(): void {
    switch (this.#phase) {
      case TUNNEL:
        return this.#exchange?.tunnelInputEnded();
      case COMPLETE:
        this.persistent = false; // a half-closed client still gets its answer
        return;
      case BODY:
        return this.#hangUp(); // the request will never be complete
      case LINGER:
        if (!this.#destroyOnDrain) this.#closeWhenDrained();
        return;
      case CLOSED:
        return;
      default:
        this.#closeWhenDrained();
    }
  }

  /** Answers a head that could not be read, and closes. */
  #refuse(code: ErrorCode, problem: string): void {
    this.#phase = COMPLETE;
    this.#refused = true;
    this.environment.metrics.exchangesActive++;
    this.#exchange = new H1Exchange(this, 0);
    this.#exchange.refuseAndClose(code, problem);
  }

  /**
   * Everything sent goes out first. Unless the client itself has said that this was its last request, more of it may be under way:
   * its bytes are then dropped for a while, since a reset would take the answer with it (RFC 9112, 9.6).
   */
  #close(): void {
    const { close, keepAlive, minor } = this.head;
    const lastByClient = (minor === 1 ? close : !keepAlive) && this.#phase === COMPLETE && !this.#refused;
    const nothingBehind = this.#kept === null && !this.#processing;
    if (this.halfClosed || (lastByClient && nothingBehind)) return this.#closeWhenDrained();
    this.#phase = LINGER;
    this.#kept = null;
    this.#expire(LINGER_MS);
    this.#socket.end();
    if (this.#socketPaused) this.#socket.resume();
  }

  /** At once; a client that has not got all of its answer must see that. */
  #hangUp(): void {
    if (this.#socket.pendingBytes > 0) this.#socket.reset();
    else this.#socket.destroy();
  }

  #closeWhenDrained(): void {
    this.#phase = LINGER;
    this.#kept = null;
    if (this.#socket.pendingBytes === 0) return this.#socket.destroy();
    this.#destroyOnDrain = true;
    this.deadlineAtMs = this.environment.sweep.nowMs + this.environment.streamTimeoutMs;
  }
}

/** A small rest of a large receive buffer is copied, so that it does not hold the whole. */
function compact(bytes: Buffer): Buffer {
  return bytes.buffer.byteLength > 4 * bytes.length + 4096 ? Buffer.concat([bytes]) : bytes;
}

/** Nothing but line ends, which may precede a request (RFC 9112, 2.2): no request has begun. */
function isEmptyLines(bytes: Buffer, start: number): boolean {
  let at = start;
  while (at < bytes.length && (bytes[at] === CR || bytes[at] === LF)) at++;
  return at === bytes.length;
}
