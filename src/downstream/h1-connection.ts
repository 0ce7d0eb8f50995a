/*  A client's HTTP/1.1 connection: an exchange for every request it brings, the time each may take, and the end.
 *
 *               request begins         answer ends
 *   waiting ------------------> exchange ----------> waiting                                       keep-alive
 *      |                            \--(the connection may not go on)--\
 *      \--(refused)------------------------------------> LINGER (FIN sent, input dropped) -> closed   final
 *
 *  What comes and in which order is `ClientInput`'s (with the states of a request), what leaves is `ClientOutput`'s. One
 *  deadline serves for whatever the connection waits for at the time.
 */
import { nowMs, type Watched } from "../runtime/clock.ts";
import type { Socket, SocketError, SocketSink } from "../runtime/sockets.ts";
import type { BodyLength } from "../wire/h1/framing.ts";
import { normaliseHost } from "../wire/host.ts";
import type { RequestHead } from "../wire/h1/message-head.ts";
import type { AnswerCode } from "../observation/proxy-error.ts";
import { BODY, ClientInput, COMPLETE, DISCARD, HEAD, STOPPED, TUNNEL } from "./client-input.ts";
import { ClientOutput } from "./client-output.ts";
import type { Peer } from "./exchange.ts";
import type { H1Environment } from "./h1-environment.ts";
import { H1Exchange } from "./h1-exchange.ts";
import type { RequestEvents } from "./request-events.ts";

/** How long a connection is read after our FIN, so that the client gets the answer before a reset (RFC 9112, 9.6). */
const LINGER_MS = 2000;
const DISCARD_MS = 5000;

/** How long a quiet connection may still bring a request that was under way when draining began. */
export const IDLE_GRACE_MS = 300;

const CUT = "Still running when the grace of the drain was over";

let made = 0;

export class H1Connection implements SocketSink, Watched, RequestEvents {
  deadlineAtMs: number;
  readonly peer: Peer;
  readonly environment: H1Environment;
  readonly input: ClientInput;
  readonly out: ClientOutput;
  readonly head: RequestHead;
  /** Cleared when the connection may not carry another request. */
  persistent = true;
  /** No two of a process have the same. */
  readonly id: number = ++made;
  readonly sinceAtMs: number;
  requests = 0;
  bytesIn = 0;
  /** When the first byte of the request under way was read. */
  headBegunAtMs = 0;
  readonly #socket: Socket;
  #refused = false;
  #lastAuthority = "";
  #lastHost: string | null = null;
  #heardAtMs: number;

  constructor(socket: Socket, peer: Peer, environment: H1Environment) {
    this.#socket = socket;
    this.peer = peer;
    this.environment = environment;
    this.deadlineAtMs = Infinity;
    environment.sweep.watch(this); // first: an idle sweep's clock stands still
    this.input = new ClientInput(socket, environment, this);
    this.out = new ClientOutput(socket, environment);
    this.head = this.input.head;
    this.sinceAtMs = this.#heardAtMs = environment.sweep.nowMs;
    this.deadlineAtMs = environment.sweep.nowMs + environment.headerTimeoutMs;
  }

  // ---- what the socket says

  onData(chunk: Buffer): void {
    this.environment.metrics.bytesIn += chunk.length;
    this.bytesIn += chunk.length;
    this.#heardAtMs = this.environment.sweep.nowMs;
    this.input.receive(chunk);
  }

  onDrain(): void {
    const { input, out } = this;
    out.progressed();
    if (input.phase === STOPPED) {
      if (out.closing) this.#socket.destroy();
      else this.#expire(LINGER_MS);
      return;
    }
    if (input.phase === HEAD && !input.headStarted) this.#expire(this.environment.idleTimeoutMs);
    if (input.phase === DISCARD) this.#expire(DISCARD_MS);
    if (input.exchange === null) input.resume();
    else input.exchange.sink?.onResponseDrain();
  }

  onProgress(): void {
    this.out.progressed();
  }

  onEnd(): void {
    this.input.end();
    this.onEndAhead(null);
  }

  onEndAhead(quietMs: number | null): void {
    this.input.exchange?.clientEnded(quietMs ?? this.environment.sweep.nowMs - this.#heardAtMs);
  }

  onClose(error: SocketError | null): void {
    const { input } = this;
    const { exchange } = input;
    const tunnel = input.phase === TUNNEL;
    if (input.headUnfinished) this.#headLost("client_gone", "The client left before its request was complete");
    input.stop();
    input.release();
    this.out.drop();
    this.environment.sweep.unwatch(this);
    if (exchange !== null) exchange.connectionLost(tunnel && error === null ? null : "client_gone", goneText(error));
    this.environment.connectionClosed(this);
  }

  onDeadline(): void {
    const { input } = this;
    switch (input.phase) {
      case HEAD:
        if (input.headStarted) return this.#refuse("head_timeout", "The request head was not complete in time");
        return this.out.hangUp();
      case BODY:
      case COMPLETE:
      case TUNNEL:
        return this.#lookAtExchange();
      default:
        return this.out.hangUp();
    }
  }

  /** An exchange ends when no byte has moved for long, or when its body comes too slowly. */
  #lookAtExchange(): void {
    const { sweep, bodyPace } = this.environment;
    const { input } = this;
    const streamTimeoutMs = input.exchange?.terms?.idleMs ?? this.environment.streamTimeoutMs;
    if ((input.exchange?.record.queueSinceMs ?? 0) > 0) this.progressed(); // the queue has a time of its own
    const stalledAtMs = Math.max(this.#heardAtMs, this.out.movedAtMs) + streamTimeoutMs;
    const tooSlowAtMs = input.bodyTooSlowAtMs;
    this.deadlineAtMs = Math.min(stalledAtMs, tooSlowAtMs);
    if (!sweep.isDue(this)) {
      // Whether the body is awaited may change meanwhile, so it is looked at again.
      if (input.phase === BODY) this.deadlineAtMs = Math.min(this.deadlineAtMs, sweep.nowMs + bodyPace.graceMs);
      return;
    }
    this.deadlineAtMs = Infinity;
    if (tooSlowAtMs < stalledAtMs) {
      input.exchange?.timedOut("body_timeout", `The request body came at less than ${bodyPace.bytesPerSecond} bytes per second`);
    } else input.exchange?.timedOut(input.starving ? "body_timeout" : "stream_timeout", "No byte moved for the stream timeout");
  }

  // ---- what the exchange asks for

  /** The endpoint has taken some of the request: a slow upload to a slow endpoint is alive. */
  progressed(): void {
    this.#heardAtMs = this.environment.sweep.nowMs;
  }

  /** The normalised host of a request; null when malformed. Most requests of a connection ask for one host. */
  hostOf(head: RequestHead): string | null {
    if (head.authority !== this.#lastAuthority) {
      this.#lastAuthority = head.authority;
      this.#lastHost = normaliseHost(head.authority);
    }
    return head.authority === "" && head.minor === 0 ? "" : this.#lastHost;
  }

  /** The exchange under way may have stalled after this time. */
  lookAfter(idleMs: number): void {
    this.deadlineAtMs = Math.min(this.deadlineAtMs, this.environment.sweep.nowMs + idleMs);
  }

  /** From now on bytes pass raw, both ways. */
  beginTunnel(): void {
    this.persistent = false;
    this.environment.metrics.tunnelsActive++;
    this.input.beginTunnel();
  }

  /** The answer is complete: on to the next request, or close. */
  answerEnded(): void {
    const { input } = this;
    this.out.flush();
    input.release();
    if (input.phase === TUNNEL) return this.#closeWhenDrained();
    if (!this.persistent) return this.#close();
    if (input.phase === BODY) this.#expire(DISCARD_MS);
    input.next();
    input.resume();
  }

  /** Nobody waits for the answer under way, of which nothing has been sent. */
  hangUp(): void {
    this.out.hangUp();
  }

  // ---- what the listener asks for

  /** Closes the connection if no request is under way; what it was sent leaves first. */
  closeIdle(): void {
    if (this.input.phase === HEAD && !this.input.headStarted) this.#closeWhenDrained();
  }

  /** Ends whatever is running. True when an exchange was cut, or an answer that had not left whole. */
  cut(): boolean {
    const { exchange, headUnfinished } = this.input;
    const cut = exchange !== null || headUnfinished || !this.out.drained;
    if (headUnfinished) this.#headLost("cut_off", CUT);
    exchange?.connectionLost("cut_off", CUT);
    if (cut) this.#socket.reset();
    else this.#socket.destroy(); // the kernel may still be sending the last answer
    return cut;
  }

  // ---- what the input says

  onHeadBegun(): void {
    this.headBegunAtMs = nowMs();
    this.deadlineAtMs = this.environment.sweep.nowMs + this.environment.headerTimeoutMs;
  }

  onRequest(length: BodyLength, more: boolean): void {
    const { environment, head, input } = this;
    this.requests++;
    this.#heardAtMs = environment.sweep.nowMs;
    const { streamTimeoutMs, bodyPace } = environment;
    const lookAfterMs = length === 0 ? streamTimeoutMs : Math.min(streamTimeoutMs, bodyPace.graceMs);
    this.deadlineAtMs = environment.sweep.nowMs + lookAfterMs;
    this.persistent = (more || !input.halfClosed) && (head.minor === 1 ? !head.close : head.keepAlive && !head.close);
    const exchange = input.exchange = new H1Exchange(this, length);
    environment.metrics.exchangesActive++;
    if (!exchange.hostIsValid) return exchange.refuseAndClose("bad_request", "The Host is malformed");
    if (!environment.routesHaveTerms && exchange.bodyTooLong) {
      return exchange.refuseAndClose("body_too_large", `A request body of ${length} bytes`);
    }
    environment.dispatch(exchange);
  }

  onHeadRefused(code: AnswerCode, problem: string): void {
    this.#refuse(code, problem);
  }

  onAwaitHead(): void {
    this.#expire(this.environment.draining ? IDLE_GRACE_MS : this.environment.idleTimeoutMs);
  }

  onUndiscardable(): void {
    this.#close();
  }

  onInputEnd(): void {
    const { input } = this;
    switch (input.phase) {
      case TUNNEL:
        return input.exchange?.tunnelInputEnded();
      case COMPLETE:
        this.persistent = false; // a half-closed client still gets its answer
        return;
      case BODY:
        return this.out.hangUp(); // the request will never be complete
      default:
        if (input.headUnfinished) this.#headLost("client_gone", "The client ended before its request was complete");
        if (!this.out.closing) this.#closeWhenDrained();
    }
  }

  /** Sets the deadline of a connection without exchange; one that is slow to take its answer is not idle (`onDrain` asks again). */
  #expire(afterMs: number): void {
    const { sweep, streamTimeoutMs } = this.environment;
    this.deadlineAtMs = sweep.nowMs + (this.out.drained ? afterMs : streamTimeoutMs);
  }

  // ---- ending

  /** Answers a head that could not be read, and closes. */
  #refuse(code: AnswerCode, problem: string): void {
    const { input } = this;
    if (!input.headStarted) this.onHeadBegun(); // nothing but empty lines
    input.giveUpHead();
    this.#refused = true;
    this.environment.metrics.exchangesActive++;
    input.exchange = new H1Exchange(this, 0);
    input.exchange.refuseAndClose(code, problem);
  }

  /** A request ends of which there is no whole head, and to which nothing can be said. */
  #headLost(code: "client_gone" | "cut_off", problem: string): void {
    this.input.giveUpHead();
    this.environment.metrics.exchangesActive++;
    new H1Exchange(this, 0).connectionLost(code, problem);
  }

  /**
   * Everything sent goes out first. Unless the client itself has said that this was its last request, more of it may be under way:
   * its bytes are then dropped for a while, since a reset would take the answer with it (RFC 9112, 9.6).
   */
  #close(): void {
    const { head, input } = this;
    const lastByClient = (head.minor === 1 ? head.close : !head.keepAlive) && !this.#refused;
    if (input.halfClosed || (lastByClient && input.nothingBehind)) return this.#closeWhenDrained();
    input.stop();
    this.#expire(LINGER_MS);
    this.#socket.end();
  }

  #closeWhenDrained(): void {
    this.input.stop();
    if (!this.out.close()) this.deadlineAtMs = this.environment.sweep.nowMs + this.environment.streamTimeoutMs;
  }
}

function goneText(error: SocketError | null): string {
  return error === null ? "The client closed the connection" : `The client's connection broke: ${error.code || error.message}`;
}
