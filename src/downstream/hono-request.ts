/*  The Hono adapter: drives a Hono app from exchanges, as other adapters drive one from Bun.serve or Deno.serve.
 *
 *  What the app sees is an EdgeRequest: method and url at no cost, headers built when somebody asks or middleware may. A handler either
 *  returns a Response, which is then written on the wire, or answers through `c.env.exchange` and returns `onWire(c.env)`.
 */
import type { Hono } from "hono";
import { METHOD_NAME_ALL, type Params, type Result, type Router } from "hono/router";
import { RegExpRouter } from "hono/router/reg-exp-router";
import { SmartRouter } from "hono/router/smart-router";
import { TrieRouter } from "hono/router/trie-router";
import type { RequestHead } from "../wire/h1/message-head.ts";
import type { Exchange } from "./exchange.ts";

/** Bindings of the data plane's app. */
export interface EdgeBindings {
  readonly exchange: Exchange;
  /** The exchange is answered without a Response, whatever Response comes out of the app. */
  onWire: boolean;
}
export interface EdgeEnv {
  Bindings: EdgeBindings;
}

const ON_WIRE: Response = new Response(null);

/** What a handler returns that answers through the exchange. The mark is on the bindings: Hono (for HEAD) and middleware copy Responses. */
export function onWire(bindings: EdgeBindings): Response {
  bindings.onWire = true;
  return ON_WIRE;
}

/** The part of a Fetch API Request that Hono and its middleware use. Bodies are read through the exchange only. */
export class EdgeRequest {
  readonly method: string;
  readonly path: string;
  readonly #exchange: Exchange;
  readonly #target: string;
  #headers: Headers | undefined;

  /** `lasting`: it may be asked for headers when the exchange is over, and its head is that of the connection's next request. */
  constructor(exchange: Exchange, lasting: boolean) {
    const { head } = exchange;
    this.#exchange = exchange;
    this.method = head.method;
    this.path = pathOf(head);
    this.#target = head.target.startsWith("/") ? head.target : this.path;
    if (lasting) void this.headers;
  }

  get url(): string {
    const { scheme, host } = this.#exchange;
    return `${scheme}://${host}${this.#target}`;
  }

  get headers(): Headers {
    if (this.#headers === undefined) {
      this.#headers = new Headers();
      const { fields } = this.#exchange.head;
      for (let i = 0; i < fields.count; i++) this.#headers.append(fields.name(i), fields.value(i));
    }
    return this.#headers;
  }
}

/**
 * For `new Hono({ router })`: an app whose handlers all take every path and method is not searched for each request. Any other is,
 * by the routers that Hono uses by itself (the search was 6 % of our own code for a small request, by the profile of forwarding.bench).
 */
export class EdgeRouter<T> implements Router<T> {
  readonly name = "EdgeRouter";
  readonly #searched: SmartRouter<T> = new SmartRouter<T>({ routers: [new RegExpRouter<T>(), new TrieRouter<T>()] });
  readonly #everywhere: [T, Params][] = [];
  readonly #result: Result<T> = [this.#everywhere];
  #plain = true;

  add(method: string, path: string, handler: T): void {
    this.#plain &&= method === METHOD_NAME_ALL && (path === "*" || path === "/*");
    this.#everywhere.push([handler, {}]);
    this.#searched.add(method, path, handler);
  }

  match(method: string, path: string): Result<T> {
    return this.#plain ? this.#result : this.#searched.match(method, path);
  }
}

/** For `new Hono({ getPath })`: no URL is parsed. */
export function edgePath(request: Request): string {
  return (request as unknown as EdgeRequest).path;
}

/** Answers exchanges with the app. `onFault` learns of handlers that throw. */
export function honoDispatch(app: Hono<EdgeEnv>, onFault: (error: unknown) => void): (exchange: Exchange) => void {
  const finish = ({ exchange, onWire }: EdgeBindings, response: Response): void => {
    if (onWire || exchange.claimed || exchange.ended) return;
    exchange.respond(response).catch((error) => fail(exchange, error));
  };
  const fail = (exchange: Exchange, error: unknown): void => {
    onFault(error);
    exchange.refuse("internal");
  };
  const lasting = app.routes.length > 1; // with middleware, which goes on when the answer has ended
  return (exchange) => {
    const bindings: EdgeBindings = { exchange, onWire: false };
    try {
      const response = app.fetch(new EdgeRequest(exchange, lasting) as unknown as Request, bindings);
      if (!(response instanceof Promise)) finish(bindings, response);
      else response.then((value) => finish(bindings, value), (error) => fail(exchange, error));
    } catch (error) {
      fail(exchange, error);
    }
  };
}

/** The path of the target without its query: what routers match. */
function pathOf({ originForm }: RequestHead): string {
  const query = originForm.indexOf("?");
  return query < 0 ? originForm : originForm.slice(0, query);
}
