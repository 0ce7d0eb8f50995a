/** The exchange of an HTTP/1.1 connection: what forwarding sends, as bytes on the wire. See exchange.ts for its states. */
import { nowMs } from "../runtime/clock.ts";
import type { AnswerCode, ErrorCode } from "../observation/proxy-error.ts";
import type { SpanIds } from "../observation/tracing.ts";
import type { HeaderList } from "../wire/header-list.ts";
import type { BodyLength } from "../wire/h1/framing.ts";
import { writeChunk, writeLastChunk } from "../wire/h1/head-writer.ts";
import type { RequestHead, ResponseHead } from "../wire/h1/message-head.ts";
import { isTraceId } from "../wire/trace-context.ts";
import { droppedFields, NO_BODY_DROPS, RESPONSE_DROPS, UPGRADE_DROPS, writeAnswerHead, writeOwnFields } from "./answer-head.ts";
import type { Exchange, ExchangeRecord, ExchangeSink, Peer } from "./exchange.ts";
import { givenRequestId, givenTraceId, spansOf } from "./exchange-ids.ts";
import type { ExchangeTerms } from "./exchange-terms.ts";
import type { H1Connection } from "./h1-connection.ts";
import { type OwnAnswer, ownRefusal, ownResponse } from "./own-answer.ts";
import { nextRequestId } from "./request-id.ts";

/** Body chunks up to this size are copied behind the head or chunk size, to leave in one write. */
const COPY_BYTES = 16 * 1024;

/** Nobody can tell who only has no more to ask (RFC 9112, 9.6) from who does not wait any longer; so it is no error. */
const HALF_CLOSED = "The client had closed its side of the connection before the answer was complete";

export class H1Exchange implements Exchange, ExchangeRecord {
  readonly requestLength: BodyLength;
  readonly scheme = "http";
  sink: ExchangeSink | null = null;
  onGone: (() => void) | null = null;
  onClientEnd: ((quietMs: number) => void) | null = null;
  terms: ExchangeTerms | null = null;
  answerFields = "";
  ended = false;
  answered = false;
  readonly startedAtMs: number;
  readonly headAtMs: number = nowMs();
  outcome: ExchangeRecord["outcome"] = "forwarded";
  status = 0;
  code: ErrorCode | null = null;
  upstream = "";
  upstreamKind: ExchangeRecord["upstreamKind"] = null;
  region = "";
  problem = "";
  bodyBytesIn = 0;
  bodyBytesOut = 0;
  attempts = 0;
  policy = "";
  service = "";
  target: ExchangeRecord["target"] = null;
  decidedBy = "";
  retry = "";
  reused = false;
  probeWaitMs = 0;
  probeSinceMs = 0;
  queueWaitMs = 0;
  queueSinceMs = 0;
  connectMs = 0;
  connectSinceMs = 0;
  answeredAtMs = 0;
  clientEndedFirst = false;
  readonly #connection: H1Connection;
  #host: string | null | undefined;
  #requestId = "";
  /** Where neither the client's traceparent nor the request's id can be it. */
  #ownTraceId = "";
  #spans: SpanIds | null | undefined;
  #chunked = false;
  #bodiless = false;
  #tunnel = false;
  #tunnelOutputEnded = false;

  constructor(connection: H1Connection, requestLength: BodyLength) {
    this.#connection = connection;
    this.startedAtMs = connection.headBegunAtMs;
    this.requestLength = requestLength;
  }

  get head(): RequestHead {
    return this.#connection.head;
  }

  get peer(): Peer {
    return this.#connection.peer;
  }

  get record(): ExchangeRecord {
    return this;
  }

  get claimed(): boolean {
    return this.sink !== null;
  }

  get reading(): boolean {
    return this.#connection.input.reading;
  }

  get hostIsValid(): boolean {
    this.#host = this.#connection.hostOf(this.head);
    return this.#host !== null;
  }

  get host(): string {
    return this.#host ?? "";
  }

  get requestId(): string {
    if (this.#requestId === "") {
      this.#requestId = (this.peer.trusted ? givenRequestId(this.head.fields) : null) ?? nextRequestId();
    }
    return this.#requestId;
  }

  get traceId(): string {
    const given = givenTraceId(this.head.fields);
    if (given !== null) return given;
    const { requestId } = this;
    if (!this.peer.trusted || isTraceId(requestId)) return requestId;
    return this.#ownTraceId ||= nextRequestId();
  }

  get spans(): SpanIds | null {
    const { tracing } = this.#connection.environment;
    if (tracing === null) return null;
    return this.#spans === undefined ? this.#spans = spansOf(this, tracing) : this.#spans;
  }

  // ---- request

  takeTerms(terms: ExchangeTerms): void {
    this.terms = terms;
    if (terms.idleMs !== null) this.#connection.lookAfter(terms.idleMs);
  }

  get bodyTooLong(): boolean {
    const most = this.terms?.maxBodyBytes ?? this.#connection.environment.maxBodyBytes;
    return most > 0 && this.requestLength > most;
  }

  claim(sink: ExchangeSink): void {
    this.sink = sink;
    this.#connection.input.claimed();
  }

  pauseRequest(): void {
    if (!this.ended) this.#connection.input.pause();
  }

  resumeRequest(): void {
    if (!this.ended) this.#connection.input.unpause();
  }

  requestProgressed(): void {
    if (!this.ended) this.#connection.progressed();
  }

  requestBody(chunk: Buffer): void {
    this.bodyBytesIn += chunk.length;
    this.sink?.onRequestBody(chunk);
  }

  /** The client has sent FIN. */
  tunnelInputEnded(): void {
    this.clientEndedFirst = !this.#tunnelOutputEnded;
    this.sink?.onRequestEnd(null);
    if (this.#tunnelOutputEnded) this.#end("tunnelled");
  }

  // ---- response

  sendInformational(head: ResponseHead): void {
    if (this.ended || this.answered || this.head.minor === 0) return;
    const out = this.#connection.out.open();
    writeAnswerHead(out, head, NO_BODY_DROPS, this.terms);
    out.text("\r\n");
    this.#connection.out.flush();
    if (head.status === 100) this.#connection.input.invite();
  }

  sendHead(head: ResponseHead, length: BodyLength): void {
    if (this.ended) return;
    this.answered = true;
    this.answeredAtMs = nowMs();
    this.status = head.status;
    if (head.status === 101) return this.#sendSwitch(head);
    this.#bodiless = length === 0;
    const open = length < 0;
    this.#chunked = open && this.head.minor === 1;
    if ((open && !this.#chunked) || !this.#connection.input.restWillCome) this.#connection.persistent = false;
    const out = this.#connection.out.open();
    writeAnswerHead(out, head, head.status === 204 ? NO_BODY_DROPS : RESPONSE_DROPS, this.terms);
    if (this.#chunked) out.text("Transfer-Encoding: chunked\r\n");
    writeOwnFields(out, this.answerFields, this.terms);
    out.text(this.#connectionField());
  }

  sendBody(chunk: Buffer): boolean {
    const connection = this.#connection;
    if (this.ended || this.#bodiless) return true;
    this.bodyBytesOut += chunk.length;
    if (chunk.length <= COPY_BYTES) {
      const out = connection.out.open();
      if (this.#chunked) writeChunk(out, chunk);
      else out.copy(chunk, 0, chunk.length);
      if (out.length > 4 * COPY_BYTES) connection.out.flush();
      return connection.out.drained;
    }
    if (this.#chunked) connection.out.open().text(`${chunk.length.toString(16)}\r\n`);
    connection.out.writeThrough(chunk);
    if (this.#chunked) connection.out.open().text("\r\n");
    return connection.out.drained;
  }

  sendEnd(trailers: HeaderList | null): void {
    if (this.ended || this.code !== null) return; // it is being broken off
    if (this.#tunnel) {
      this.#tunnelOutputEnded = true;
      if (this.#connection.input.halfClosed) this.#end("tunnelled");
      else this.#connection.out.end();
      return;
    }
    if (this.#chunked && !this.#bodiless) {
      writeLastChunk(this.#connection.out.open(), this.head.acceptsTrailers ? trailers : null, droppedFields(this.terms));
    }
    this.#end("forwarded");
  }

  flush(): void {
    this.#connection.out.flush();
  }

  refuse(code: AnswerCode): void {
    if (this.ended) return;
    this.code = code;
    if (this.answered) return this.reset();
    const instead = this.terms?.answerInsteadOf(code) ?? null;
    if (instead !== null && instead.head !== null) return this.answer(instead);
    this.answer(ownRefusal(code, this, this.#connection.environment.errorPages, instead?.status));
  }

  /** As `refuse`, when what follows on this connection cannot be trusted. */
  refuseAndClose(code: AnswerCode, problem: string): void {
    this.#connection.persistent = false;
    this.problem = problem;
    this.refuse(code);
  }

  answer({ status, head, body }: OwnAnswer): void {
    if (this.ended) return;
    const connection = this.#connection;
    if (!connection.input.discardable) connection.persistent = false;
    this.answered = true;
    this.answeredAtMs = nowMs();
    this.status = status;
    const out = connection.out.open();
    out.text(head);
    if (this.answerFields !== "") out.text(this.answerFields);
    if (this.terms !== null) out.text(this.terms.ownFields);
    out.text(this.#connectionField());
    if (this.head.method !== "HEAD") {
      out.copy(body, 0, body.length);
      this.bodyBytesOut += body.length;
    }
    this.#end("refused");
  }

  async respond(response: Response): Promise<void> {
    const answer = await ownResponse(response, this.head.method);
    if (!this.ended && !this.answered) this.answer(answer);
  }

  reset(): void {
    if (this.ended) return;
    this.outcome = this.#tunnel ? "tunnelled" : "truncated";
    this.#connection.out.reset();
  }

  leave(problem: string): void {
    if (this.ended) return;
    this.code = "client_gone";
    this.problem = problem;
    this.#connection.hangUp();
  }

  // ---- what the connection says

  /** Its FIN is there, perhaps behind what has not been read. */
  clientEnded(quietMs: number): void {
    this.onClientEnd?.(quietMs);
  }

  /** The connection is closed; nothing can be sent. `code`: null for the end of a tunnel that is as good as any. */
  connectionLost(code: ErrorCode | null, problem: string): void {
    if (this.ended) return;
    if (this.outcome === "forwarded") this.outcome = this.#tunnel ? "tunnelled" : "aborted";
    if (this.code === null && code !== null) {
      this.code = code;
      this.problem = problem;
    }
    this.#finish();
    this.#tellGone();
  }

  /** It has taken too long; whose fault that is, says the code. */
  timedOut(code: AnswerCode, problem: string): void {
    if (this.answered) this.#breakOff(code === "stream_timeout" && !this.#connection.out.drained ? "send_timeout" : code, problem);
    else this.refuseAndClose(code, problem);
    if (this.ended) this.#tellGone();
  }

  requestMalformed(code: AnswerCode, problem: string): void {
    this.#abandon(code, problem);
  }

  bodyGrewTooLarge(): void {
    const limit = this.terms?.maxBodyBytes == null ? "EDGEPROXY_MAX_BODY_SIZE" : "what its route allows";
    this.#abandon("body_too_large", `The request body grew beyond ${limit}`);
  }

  /** The request cannot be read on: the attempt ends, the client is told if it still can be. */
  #abandon(code: AnswerCode, problem: string): void {
    if (this.answered) this.#breakOff(code, problem);
    else this.refuseAndClose(code, problem);
    this.#tellGone(); // at once: what is read after the gap must not look like the end of the request
  }

  /** The answer has begun and cannot go on. */
  #breakOff(code: ErrorCode, problem: string): void {
    this.code = code;
    this.problem = problem;
    if (!this.#tunnel) this.outcome = code === "stream_timeout" ? "truncated" : "aborted";
    this.#connection.out.reset();
  }

  #tellGone(): void {
    const { onGone } = this;
    this.onGone = null;
    this.sink?.onAbort();
    onGone?.();
  }

  // ---- writing

  #sendSwitch(head: ResponseHead): void {
    this.#tunnel = true;
    const out = this.#connection.out.open();
    writeAnswerHead(out, head, UPGRADE_DROPS, this.terms);
    writeOwnFields(out, this.answerFields, this.terms);
    out.text("Connection: Upgrade\r\n\r\n");
    this.#connection.out.flush();
    this.#connection.beginTunnel();
  }

  /** The Connection field, if one is needed, and the end of the head. */
  #connectionField(): string {
    const connection = this.#connection;
    if (connection.environment.draining) connection.persistent = false;
    if (!connection.persistent) return "Connection: close\r\n\r\n";
    return this.head.minor === 1 ? "\r\n" : "Connection: keep-alive\r\n\r\n";
  }

  #end(outcome: ExchangeRecord["outcome"]): void {
    this.outcome = outcome;
    if (outcome === "forwarded" && this.problem === "" && this.#connection.input.halfClosed) this.problem = HALF_CLOSED;
    this.#finish();
    this.#connection.answerEnded();
  }

  #finish(): void {
    this.ended = true;
    const { environment } = this.#connection;
    environment.metrics.exchangesActive--;
    if (this.#tunnel) environment.metrics.tunnelsActive--;
    environment.exchangeEnded(this);
  }
}
