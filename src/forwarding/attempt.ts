/*  One try of an exchange at one endpoint: joins the two sides and follows the slower one.
 *
 *      take an idle connection, or connect  -> head out -> body out ...    (request events from the exchange)
 *                                              head in  -> body in  -> end (answer events from the connection)
 *
 *  Everything here is callbacks of the two sides; an attempt ends once, by the answer's end, a failure, or the client.
 */
import type { Exchange, ExchangeSink } from "../downstream/exchange.ts";
import type { AnswerCode, ProxyError } from "../observation/proxy-error.ts";
import { nowMs, type Sweep } from "../runtime/clock.ts";
import type { EndpointState } from "../upstream/endpoint-state.ts";
import type { Visit } from "../upstream/endpoint-watch.ts";
import type { H1UpstreamConnection } from "../upstream/h1-connection.ts";
import type { ConnectSink, Pool } from "../upstream/pool.ts";
import type { ResponseSink } from "../upstream/response-sink.ts";
import type { HeaderList } from "../wire/header-list.ts";
import type { BodyLength } from "../wire/h1/framing.ts";
import type { ResponseHead } from "../wire/h1/message-head.ts";
import type { AttemptPlan } from "./attempt-plan.ts";
import type { KeptBody } from "./kept-body.ts";
import { mayGoElsewhere } from "./failure.ts";
import type { Retries } from "./retries.ts";
import { type ForwardingIdentity, upgradeOffer, writeRequestHead } from "./request-fields.ts";

/** What attempts need besides their exchange and endpoint; one object per worker. */
export interface AttemptEnvironment {
  readonly pool: Pool;
  readonly sweep: Sweep;
  readonly identity: ForwardingIdentity;
  readonly responseTimeoutMs: number;
}

/** Told once when an attempt fails; the attempt has let go of both sides by then. */
export interface AttemptOwner {
  onAttemptFailure(attempt: Attempt, error: ProxyError): void;
  /** The final head of a request under a policy is about to be sent. */
  onAnswer(attempt: Attempt): void;
  /** Another region's edge has refused the request by itself, and it may go elsewhere. Whether the attempt was disowned for that. */
  onRefusal(attempt: Attempt): boolean;
  /** null: the request has no retry policy. */
  readonly retries: Retries | null;
  /** The answer has a status that the retry policy may want another attempt for. Whether the attempt was disowned for that. */
  onUnwanted(attempt: Attempt, status: number): boolean;
}

/** A client that has been silent for so long within its request is what an endpoint has waited for. */
const OWED_MS = 1000;

export class Attempt implements ExchangeSink, ResponseSink, ConnectSink {
  readonly exchange: Exchange;
  readonly endpoint: EndpointState;
  /** Some of the request body, or its end, has left. */
  bodySent = false;
  readonly #environment: AttemptEnvironment;
  readonly #owner: AttemptOwner;
  /** null: no policy applies. */
  readonly plan: AttemptPlan | null;
  #connection: H1UpstreamConnection | null = null;
  #cancelConnect: (() => void) | null = null;
  /** null: the endpoint has no watch. */
  #visit: Visit | null;
  #ended = false;
  #tunnel = false;
  #tunnelAnswerEnded = false;
  /** Some of the request's body has yet to come. */
  #owed = false;
  /** Since when the client could have sent more of it; Infinity: the endpoint takes no more. */
  #owedSinceMs = Infinity;
  /** Of a request with a body that may be retried: when its head was sent. */
  #askedAtMs = 0;

  constructor(
    exchange: Exchange,
    endpoint: EndpointState,
    environment: AttemptEnvironment,
    owner: AttemptOwner,
    plan: AttemptPlan | null = null,
    visit: Visit | null = null,
  ) {
    this.exchange = exchange;
    this.endpoint = endpoint;
    this.#environment = environment;
    this.#owner = owner;
    this.plan = plan;
    this.#visit = visit;
  }

  /** `fresh`: not on a pooled connection, since one has just proved dead. */
  start(fresh: boolean): void {
    const { exchange, endpoint } = this;
    endpoint.inFlight++;
    endpoint.used = true;
    const { record } = exchange;
    record.upstream = endpoint.where;
    record.upstreamKind = endpoint.record.kind;
    record.region = endpoint.record.region;
    record.attempts++;
    if (this.plan !== null) {
      this.plan.goesTo(endpoint.record);
      this.#owner.retries?.begin();
    }
    const idle = fresh ? null : this.#environment.pool.take(endpoint);
    record.reused = idle !== null;
    if (idle !== null) return this.onConnected(idle);
    if (exchange.requestLength !== 0) exchange.pauseRequest();
    exchange.claim(this);
    record.connectSinceMs = nowMs();
    if (this.#ended) return;
    const { plan } = this;
    this.#cancelConnect = plan === null
      ? this.#environment.pool.connect(endpoint, this)
      : this.#environment.pool.connect(endpoint, this, plan.timeouts.connectMs, this.#owner.retries?.overAtMs);
  }

  // ---- connection

  onConnected(connection: H1UpstreamConnection): void {
    const { exchange } = this;
    if (!exchange.record.reused) this.#connectingOver();
    const offer = upgradeOffer(exchange);
    this.#cancelConnect = null;
    this.#connection = connection;
    connection.begin(this, exchange.head.method, exchange.requestLength, offer === null ? null : offer.protocols);
    writeRequestHead(connection.out.open(), exchange, offer, this.#environment.identity, this.plan);
    if (exchange.requestLength === 0) {
      this.#requestComplete(connection, null);
      connection.out.flush();
      exchange.claim(this);
      return;
    }
    this.#owed = true;
    this.#owedSinceMs = this.#environment.sweep.nowMs;
    if (this.#owner.retries !== null) this.#askedAtMs = nowMs();
    // A client that expects 100 sends nothing before the endpoint has said something
    if (exchange.head.expectsContinue) connection.deadlineAtMs = this.#responseDeadline();
    const body = this.#owner.retries?.body;
    if (body?.begun === true) this.#replay(body, connection);
    exchange.claim(this);
    exchange.resumeRequest();
    if (!exchange.reading) connection.out.flush();
  }

  /** Of the body, what an attempt before has sent; the rest comes from the client. */
  #replay(body: KeptBody, connection: H1UpstreamConnection): void {
    connection.deadlineAtMs = Infinity;
    this.bodySent = true;
    for (const chunk of body.chunks()) connection.out.sendBody(chunk);
    if (body.ended) this.#requestComplete(connection, null);
  }

  onConnectFailure(error: ProxyError): void {
    this.#connectingOver();
    this.onFailure(error);
  }

  // ---- request

  onRequestBody(chunk: Buffer): void {
    if (!this.bodySent && this.#connection !== null) this.#connection.deadlineAtMs = Infinity;
    this.bodySent = true;
    this.#owner.retries?.body?.keep(chunk);
    const taken = this.#connection?.out.sendBody(chunk) !== false;
    this.#owedSinceMs = taken ? this.#environment.sweep.nowMs : Infinity;
    if (!taken) this.exchange.pauseRequest();
  }

  onRequestEnd(trailers: HeaderList | null): void {
    this.bodySent = true;
    const { retries } = this.#owner;
    if (retries !== null) {
      retries.body?.end(trailers);
      if (this.#askedAtMs > 0) retries.excuse(nowMs() - this.#askedAtMs);
    }
    if (this.#connection !== null) this.#requestComplete(this.#connection, trailers);
    if (this.#tunnelAnswerEnded) this.#end();
  }

  onRequestPause(): void {
    this.#connection?.out.flush();
  }

  onAbort(): void {
    this.#owner.retries?.body?.drop(); // also where the request waits for the next attempt
    if (this.#ended) return;
    const connection = this.#connection;
    const stalled = this.exchange.record.code === "stream_timeout" && !this.#tunnel;
    this.#end(stalled ? "stream_timeout" : null);
    connection?.abort();
  }

  // ---- answer

  onInformational(head: ResponseHead): void {
    const again = head.status === 100 && this.bodySent && this.#owner.retries !== null;
    if (again) return; // the client was told so at an attempt before
    const clientsTurn = head.status === 100 && this.exchange.requestLength !== 0 && !this.bodySent;
    if (clientsTurn && this.#connection !== null) this.#connection.deadlineAtMs = Infinity;
    this.exchange.sendInformational(head);
  }

  onHead(head: ResponseHead, length: BodyLength): void {
    if (head.status >= 500 && this.#isRefusal(head) && this.#owner.onRefusal(this)) return;
    if (this.#visit !== null) this.#visit.answered(head.status);
    const { retries } = this.#owner;
    if (retries !== null && this.plan?.toEdge === true) retries.addThoseOf(head);
    if (retries !== null && retries.concerns(head.status) && this.#owner.onUnwanted(this, head.status)) return;
    if (retries !== null) {
      retries.body?.drop();
      this.exchange.answerFields += retries.answerField;
    }
    this.#tunnel = head.status === 101;
    if (this.plan !== null) this.#owner.onAnswer(this);
    this.exchange.sendHead(head, length);
  }

  onBody(chunk: Buffer): void {
    if (!this.exchange.sendBody(chunk)) this.#connection?.pause();
  }

  onEnd(trailers: HeaderList | null): void {
    this.#tunnelAnswerEnded = this.#tunnel;
    if (!this.#tunnel) this.#end();
    this.exchange.sendEnd(trailers);
    if (this.#tunnel && this.exchange.ended) this.#end(); // both directions are done
  }

  onReadPause(): void {
    this.exchange.flush();
  }

  onRequestProgress(): void {
    this.#connection?.postpone(this.#responseDeadline());
    this.exchange.requestProgressed();
  }

  onRequestDrain(): void {
    this.#owedSinceMs = this.#environment.sweep.nowMs;
    this.onRequestProgress();
    this.exchange.resumeRequest();
  }

  onResponseDrain(): void {
    this.#connection?.resume();
  }

  onFailure(error: ProxyError): void {
    if (this.#ended) return;
    // A pooled connection that turned out dead says nothing of the endpoint: it may close what rests. Nor does one whose client owes
    // the rest of its request: else a few stalled ones would have every endpoint ejected
    const owed = this.#owed && this.#environment.sweep.nowMs - this.#owedSinceMs >= OWED_MS;
    this.#end(error.retry === "if-reused" || owed ? null : error.code);
    this.#owner.onAttemptFailure(this, error);
  }

  /** Its answer goes nowhere. */
  disown(): void {
    this.#connection?.discard(this.#responseDeadline());
    this.#end();
  }

  #connectingOver(): void {
    const { record } = this.exchange;
    record.connectMs += nowMs() - record.connectSinceMs;
    record.connectSinceMs = 0;
  }

  #isRefusal(head: ResponseHead): boolean {
    const { exchange, endpoint } = this;
    return endpoint.record.kind === "region" && mayGoElsewhere(head, exchange.head.method, exchange.requestLength);
  }

  #requestComplete(connection: H1UpstreamConnection, trailers: HeaderList | null): void {
    this.#owed = false;
    connection.endRequest(trailers, this.#responseDeadline(), this.plan?.requestFields?.dropped ?? null);
  }

  #responseDeadline(): number {
    const { sweep, responseTimeoutMs } = this.#environment;
    const atMs = sweep.nowMs + (this.plan === null ? responseTimeoutMs : this.plan.timeouts.responseMs ?? responseTimeoutMs);
    const { retries } = this.#owner;
    return retries === null ? atMs : Math.min(atMs, retries.overAtMs);
  }

  #end(failure: AnswerCode | null = null): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#cancelConnect?.();
    this.#cancelConnect = null;
    this.#connection = null;
    this.endpoint.inFlight--;
    if (this.#visit !== null) this.#visit.ended(failure);
  }
}
