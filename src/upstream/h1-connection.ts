/*  An HTTP/1.1 connection to an endpoint: one exchange at a time, then back to the pool.
 *
 *          begin                head                    last byte
 *   IDLE ---------> HEAD ----------------> BODY ----------------------> IDLE      when it may be used again
 *                    |  (101 to an upgrade) \                      \--> CLOSED    otherwise
 *                    \----------> TUNNEL     \--(broken, malformed)---> CLOSED    final
 *
 *  Held to the same strictness as clients: an answer that two parsers could read differently, bytes after an answer,
 *  or bytes that nobody asked for end the connection; it never carries another exchange.
 */
import type { Watched } from "../runtime/clock.ts";
import type { Socket, SocketError, SocketSink } from "../runtime/sockets.ts";
import type { TlsPeer } from "../runtime/tls-sockets.ts";
import { ProxyError } from "../observation/proxy-error.ts";
import { LF } from "../wire/bytes.ts";
import type { FieldNames } from "../wire/field-edits.ts";
import type { HeaderList } from "../wire/header-list.ts";
import { BodyReader } from "../wire/h1/body-reader.ts";
import type { ChunkedEvents } from "../wire/h1/chunked.ts";
import { type BodyLength, CHUNKED, responseBodyLength, UNTIL_CLOSE } from "../wire/h1/framing.ts";
import { parseResponseHead } from "../wire/h1/head-parser.ts";
import { NEED_MORE, REFUSED, ResponseHead } from "../wire/h1/message-head.ts";
import { isOffered, mayLeaveBody, persists } from "./answer-rules.ts";
import { EndpointOutput } from "./endpoint-output.ts";
import type { EndpointState } from "./endpoint-state.ts";
import { DISCARD, type ResponseSink } from "./response-sink.ts";
import { leaveRest, rest } from "./resting.ts";
import type { UpstreamEnvironment } from "./upstream-environment.ts";

const IDLE = 0, HEAD = 1, BODY = 2, TUNNEL = 3, CLOSED = 4;

/** Idle connections are closed after this: below the 5 s of Node and uvicorn, the shortest common keep-alive of servers. */
const IDLE_MS = 4000;
/** 1xx heads before a final one. */
const MAX_INFORMATIONAL = 16;
const NO_BYTES = Buffer.alloc(0);

export class H1UpstreamConnection implements SocketSink, Watched, ChunkedEvents {
  deadlineAtMs = Infinity;
  /** Exchanges carried before the present one. */
  uses = -1;
  /** Where the request goes: the head after `begin`, then the body; raw bytes once the connection is a tunnel. */
  readonly out: EndpointOutput;
  readonly #socket: Socket;
  /** Whom TLS has found there; null: without TLS. */
  readonly peer: TlsPeer | null;
  readonly #endpoint: EndpointState;
  readonly #environment: UpstreamEnvironment;
  readonly #head: ResponseHead = new ResponseHead();
  #phase = IDLE;
  #sink: ResponseSink | null = null;
  #method = "";
  #offered: readonly string[] | null = null;
  #requestComplete = false;
  #bodyUnread = false;
  #anyByte = false;
  #informational = 0;
  readonly #body: BodyReader;
  #kept: Buffer | null = null;
  #paused = false;
  #peerEnded = false;

  constructor(socket: Socket, endpoint: EndpointState, environment: UpstreamEnvironment, peer: TlsPeer | null = null) {
    this.peer = peer;
    this.#socket = socket;
    this.out = new EndpointOutput(socket);
    this.#endpoint = endpoint;
    this.#environment = environment;
    this.#body = new BodyReader(environment.limits);
    environment.sweep.watch(this);
    environment.metrics.upstreamOpen++;
    environment.connections.count++;
  }

  // ---- request

  /** Starts an exchange; the head is written to `out` next. `offered`: lower-case protocols of an upgrade. */
  begin(sink: ResponseSink, method: string, requestLength: BodyLength, offered: readonly string[] | null): void {
    this.uses++;
    this.#environment.connections.resting.delete(this);
    this.#sink = sink;
    this.#method = method;
    this.out.chunked = requestLength === CHUNKED;
    this.#offered = offered;
    this.#phase = HEAD;
    this.#requestComplete = false;
    this.#bodyUnread = requestLength !== 0 && mayLeaveBody(method);
    this.#anyByte = false;
    this.#informational = 0;
    this.deadlineAtMs = Infinity;
  }

  /** The request is complete; the answer is due at `deadlineAtMs`. `dropped`: trailers that stay behind. In a tunnel: FIN. */
  endRequest(trailers: HeaderList | null, deadlineAtMs: number, dropped: FieldNames | null = null): void {
    if (this.#phase === TUNNEL) return this.out.end();
    this.out.endBody(trailers, dropped);
    this.#requestComplete = true;
    if (this.#phase === HEAD) this.deadlineAtMs = deadlineAtMs;
  }

  /** The endpoint has only now taken what it was sent: an answer that is due is due later. */
  postpone(deadlineAtMs: number): void {
    if (this.deadlineAtMs < Infinity) this.deadlineAtMs = deadlineAtMs;
  }

  pause(): void {
    if (this.#paused) return;
    this.#paused = true;
    this.#socket.pause();
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.#socket.resume();
  }

  /** Nobody wants the answer that has begun: it is read to its end, by `deadlineAtMs`. */
  discard(deadlineAtMs: number): void {
    this.#sink = DISCARD;
    this.deadlineAtMs = deadlineAtMs;
  }

  /** Nobody wants the answer any more. */
  abort(): void {
    this.#sink = null;
    this.#socket.reset();
  }

  close(): void {
    if (this.#phase === IDLE) leaveRest(this, this.#endpoint, this.#environment.connections);
    this.#socket.destroy();
  }

  // ---- what the socket says

  onData(chunk: Buffer): void {
    if (this.#phase === IDLE) return this.close(); // bytes that nobody asked for
    if (this.#phase === CLOSED || this.#sink === null) return;
    let bytes = chunk;
    if (this.#kept !== null) {
      bytes = Buffer.concat([this.#kept, chunk]);
      this.#kept = null;
      if (chunk.indexOf(LF) < 0 && bytes.length < this.#environment.limits.maxHeadBytes) {
        this.#kept = bytes;
        return;
      }
    }
    const sink = this.#sink;
    this.#anyByte = true;
    this.#read(bytes);
    sink.onReadPause();
  }

  onProgress(): void {
    this.#sink?.onRequestProgress();
  }

  onDrain(): void {
    this.#sink?.onRequestDrain();
  }

  onEnd(): void {
    this.#peerEnded = true;
    if (this.#phase === TUNNEL) this.#sink?.onEnd(null);
    else if (this.#phase === BODY && this.#body.length === UNTIL_CLOSE) this.#complete(null, false);
    else this.#lost("The endpoint closed the connection", null);
  }

  onClose(error: SocketError | null): void {
    this.#lost(error === null ? "The connection was closed" : `The connection broke: ${error.code || error.message}`, error);
    this.#retire();
  }

  onDeadline(): void {
    if (this.#phase !== HEAD) return this.close();
    this.#fail(new ProxyError("response_timeout", "The endpoint did not answer in time"));
  }

  onBody(chunk: Buffer): void {
    this.#sink?.onBody(chunk);
  }

  // ---- reading

  #read(bytes: Buffer): void {
    let at = 0;
    while (at < bytes.length) {
      switch (this.#phase) {
        case HEAD:
          at = this.#readHead(bytes, at);
          break;
        case BODY:
          at = this.#readBody(bytes, at);
          break;
        case TUNNEL:
          this.#sink?.onBody(at === 0 ? bytes : bytes.subarray(at));
          return;
        default:
          return;
      }
    }
  }

  #readHead(bytes: Buffer, at: number): number {
    const head = this.#head;
    const end = parseResponseHead(bytes, at, bytes.length, this.#environment.limits, head);
    if (end === NEED_MORE) {
      this.#kept = Buffer.concat([at === 0 ? bytes : bytes.subarray(at)]); // received bytes are gone when their event is over
      return bytes.length;
    }
    if (end === REFUSED) return this.#malformed(head.problem, bytes);
    if (head.status === 101) return this.#switchProtocols(bytes, end);
    if (head.status < 200) {
      if (++this.#informational > MAX_INFORMATIONAL) return this.#malformed("Too many informational responses", bytes);
      this.#sink?.onInformational(head);
      head.fields.clear(NO_BYTES);
      return end;
    }
    this.#beginBody(bytes, end);
    return end;
  }

  #beginBody(bytes: Buffer, end: number): void {
    const head = this.#head;
    const length = responseBodyLength(head, this.#method);
    this.deadlineAtMs = Infinity;
    this.#phase = BODY;
    this.#body.begin(length);
    this.#sink?.onHead(head, length);
    if (length === 0) this.#complete(null, end === bytes.length);
  }

  #readBody(bytes: Buffer, at: number): number {
    const body = this.#body;
    const end = body.read(bytes, at, this);
    if (end === REFUSED) return this.#malformed(body.problem, bytes);
    if (!body.done) {
      this.#head.fields.clear(NO_BYTES); // has been passed on, and lies in bytes that are gone when this event is over
      this.#socket.bulk = body.length !== CHUNKED;
      return end;
    }
    this.#complete(body.trailers, end === bytes.length);
    return bytes.length;
  }

  #switchProtocols(bytes: Buffer, end: number): number {
    if (!isOffered(this.#head, this.#offered)) return this.#malformed("101 Switching Protocols to what was not asked for", bytes);
    this.deadlineAtMs = Infinity;
    this.#phase = TUNNEL;
    this.#socket.bulk = true;
    this.out.chunked = false;
    this.#sink?.onHead(this.#head, UNTIL_CLOSE);
    this.#head.fields.clear(NO_BYTES);
    return end;
  }

  // ---- ending

  /** The answer is complete. `clean`: nothing came behind it. */
  #complete(trailers: HeaderList | null, clean: boolean): void {
    const sink = this.#sink;
    const reusable = clean && persists(this.#head) && this.#requestComplete && !this.#peerEnded && !this.#endpoint.orphaned &&
      !this.#endpoint.cordoned && this.#body.length !== UNTIL_CLOSE && !this.#bodyUnread;
    this.#sink = null;
    if (reusable) this.#rest();
    else {
      this.#phase = CLOSED;
      this.close();
    }
    sink?.onEnd(trailers);
  }

  #rest(): void {
    this.#phase = IDLE;
    this.#socket.bulk = false;
    this.#head.clear(NO_BYTES);
    this.#body.begin(0);
    this.resume();
    this.deadlineAtMs = this.#environment.sweep.nowMs + IDLE_MS;
    rest(this, this.#endpoint, this.#environment.connections);
  }

  #malformed(problem: string, bytes: Buffer): number {
    this.#fail(new ProxyError("upstream_protocol", `The endpoint's answer is malformed: ${problem}`));
    return bytes.length;
  }

  /** The connection is gone. What it was carrying may be sent again only if no byte of an answer has come. */
  #lost(problem: string, error: SocketError | null): void {
    if (this.#phase === IDLE) return this.close();
    if (this.#sink === null || this.#phase === CLOSED) return;
    const right = this.#anyByte ? "never" : this.uses > 0 ? "if-reused" : "never";
    this.#fail(new ProxyError("upstream_reset", problem, right, error ?? undefined));
  }

  #fail(error: ProxyError): void {
    const sink = this.#sink;
    this.#sink = null;
    this.#phase = CLOSED;
    this.#socket.destroy();
    sink?.onFailure(error);
  }

  /** Out of every list. */
  #retire(): void {
    this.#phase = CLOSED;
    this.out.drop();
    leaveRest(this, this.#endpoint, this.#environment.connections);
    this.#environment.sweep.unwatch(this);
    this.#environment.metrics.upstreamOpen--;
    this.#environment.connections.count--;
  }
}
