/*  The data plane's Hono app: the life of one request, phase by phase.
 *
 *      head read -> decide -> forward ----------------------------------------> answered by the endpoint
 *                     ^  |       \-- failed --> consequence --> decide anew, or try again, or refuse
 *                     |  |-> probe first (wait for the verdict), then decide
 *                     |  '-> refuse: an own answer
 *                     '--------'
 *
 *  Middleware put in front (`createEdge(parts, app)`) runs before the first decision. The handler answers through the
 *  exchange, so a forwarded request never becomes a Fetch API Response.
 */
import { Hono } from "hono";
import type { Asked, Surroundings } from "./decision/decide.ts";
import { decide } from "./decision/decide.ts";
import type { Exchange } from "./downstream/exchange.ts";
import { type EdgeEnv, edgePath, EdgeRouter, onWire } from "./downstream/hono-request.ts";
import { Attempt, type AttemptEnvironment, type AttemptOwner } from "./forwarding/attempt.ts";
import { consequence, speaksOfHealth } from "./forwarding/failure.ts";
import { viaOf } from "./forwarding/request-fields.ts";
import type { Log, LogFields } from "./observation/log.ts";
import type { Metrics } from "./observation/metrics.ts";
import type { ErrorCode, ProxyError } from "./observation/proxy-error.ts";
import type { EndpointRecord } from "./table/record.ts";
import type { Endpoints, EndpointState } from "./upstream/endpoint-state.ts";
import { VerdictWait } from "./upstream/verdict-wait.ts";

/** What the phases work with; one object per worker. */
export interface EdgeParts extends AttemptEnvironment {
  readonly surroundings: Surroundings;
  readonly endpoints: Endpoints;
  readonly metrics: Metrics;
  readonly log: Log;
  /** How long a request waits for the verdict of a probe; then the VM counts as unhealthy for this request. */
  readonly verdictTimeoutMs: number;
}

/** `app`: with users' middleware already in it. */
export function createEdge(parts: EdgeParts, app: Hono<EdgeEnv> = plainApp()): Hono<EdgeEnv> {
  app.all("*", (c) => {
    new Passage(c.env.exchange, parts).route();
    return onWire(c.env);
  });
  return app;
}

/** Without Hono's own answer to handlers that throw: the adapter gives the contract's, and tells of the fault. */
function plainApp(): Hono<EdgeEnv> {
  return new Hono<EdgeEnv>({ getPath: edgePath, router: new EdgeRouter() }).onError((error) => {
    throw error;
  });
}

/** One request on its way: what has been tried, and what comes next. */
class Passage implements AttemptOwner {
  readonly #exchange: Exchange;
  readonly #parts: EdgeParts;
  #tried: Set<string> | null = null;
  #probedAgain: string | null = null;
  /** What a refusal says when nothing is left to try. */
  #lastError: ProxyError | null = null;

  constructor(exchange: Exchange, parts: EdgeParts) {
    this.#exchange = exchange;
    this.#parts = parts;
  }

  /** Decide, and carry the decision out. */
  route(): void {
    const exchange = this.#exchange;
    if (exchange.ended) return; // the client has gone while middleware took its time
    const asked: Asked = { host: exchange.host, via: viaOf(exchange), tried: this.#tried };
    const decision = decide(asked, this.#parts.surroundings);
    if (this.#parts.log.enabled("debug")) {
      this.#parts.log.debug("decision", { request_id: exchange.requestId, host: exchange.host, ...decision });
    }
    switch (decision.kind) {
      case "forward":
        return this.#forward(this.#parts.endpoints.of(decision.endpoint), false);
      case "probe-first":
        return this.#probeFirst(decision.endpoints);
      case "refuse":
        return this.#refuse(this.#lastError === null || decision.code !== "vm_unhealthy" ? decision.code : this.#lastCode());
    }
  }

  #forward(endpoint: EndpointState, fresh: boolean): void {
    new Attempt(this.#exchange, endpoint, this.#parts, this).start(fresh);
  }

  /** Waits for the first verdict on any of them. */
  #probeFirst(records: readonly EndpointRecord[]): void {
    const { endpoints } = this.#parts;
    this.#awaitVerdict(records.map((record) => endpoints.of(record)), (timely) => {
      if (!timely) { for (const record of records) this.#leaveOut(record); }
      this.route();
    });
  }

  /** As long as the client waits. */
  #awaitVerdict(endpoints: readonly EndpointState[], next: (timely: boolean) => void): void {
    const { sweep, verdictTimeoutMs } = this.#parts;
    const exchange = this.#exchange;
    const wait = new VerdictWait(sweep, verdictTimeoutMs, (timely) => {
      exchange.onGone = null;
      next(timely);
    });
    exchange.onGone = () => wait.giveUp();
    wait.at(endpoints);
  }

  onAttemptFailure(attempt: Attempt, error: ProxyError): void {
    const { exchange, endpoint } = attempt;
    const { record } = endpoint;
    this.#lastError = error;
    exchange.record.problem = error.message;
    if (speaksOfHealth(error)) endpoint.failed(error.message, this.#parts.sweep.nowMs);
    const { answered, head } = exchange;
    const probedAgain = this.#probedAgain === record.key;
    const next = consequence({
      error,
      endpointKind: record.kind,
      answered,
      method: head.method,
      bodySent: attempt.bodySent,
      probedAgain,
    });
    switch (next) {
      case "break-off":
        exchange.record.code = error.code;
        exchange.reset();
        return this.#observe(error.code, error.message);
      case "new-connection":
        this.#parts.metrics.upstreamRetries++;
        return this.#forward(endpoint, true);
      case "probe-again":
        this.#probedAgain = record.key;
        return this.#awaitVerdict([endpoint], () => this.#probed(endpoint));
      case "decide-anew":
        this.#leaveOut(record);
        return this.route();
      case "refuse":
        return this.#refuse(error.code);
    }
  }

  /**
   * The fresh probe after a refused connection: passed, so once more; failed or still out, so without this endpoint; it has left
   * the table, so by what the table says now.
   */
  #probed(endpoint: EndpointState): void {
    if (endpoint.verdict === "healthy") {
      this.#parts.metrics.upstreamRetries++;
      return this.#forward(endpoint, true);
    }
    if (!endpoint.orphaned) this.#leaveOut(endpoint.record);
    this.route();
  }

  /** Of all decisions to come. */
  #leaveOut(record: EndpointRecord): void {
    (this.#tried ??= new Set()).add(record.key);
  }

  /** Nothing is left: VMs that failed their probe are unhealthy, regions that could not be reached are a bad gateway. */
  #lastCode(): ErrorCode {
    const regionsTried = [...this.#tried ?? []].some((key) => key.startsWith("region/"));
    return regionsTried ? this.#lastError!.code : "vm_unhealthy";
  }

  #refuse(code: ErrorCode): void {
    this.#exchange.refuse(code);
    this.#observe(code, this.#exchange.record.problem);
  }

  #observe(code: ErrorCode, problem: string): void {
    const { log } = this.#parts;
    if (code === "no_route") log.warn("request without a route", this.#describe(code, problem));
    else if (code !== "no_table" && code !== "vm_unhealthy") log.error("proxy error", this.#describe(code, problem));
    else if (log.enabled("debug")) log.debug("request refused", this.#describe(code, problem));
  }

  #describe(code: ErrorCode, problem: string): LogFields {
    const { host, requestId, record } = this.#exchange;
    return { host, code, upstream: record.upstream, "request_id": requestId, ...(problem !== "" && { problem }) };
  }
}
