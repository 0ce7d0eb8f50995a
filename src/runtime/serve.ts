/** HTTP served by the runtime itself, for the admin address only; the data plane has its own listener. */
import { namingPortOwner } from "./port-owner.ts";
import { preferSecond } from "./reuse-port.ts";
import { BUN, DENO } from "./which.ts";

export interface ServeOptions {
  /** IP literal, or empty for all addresses. */
  readonly host: string;
  /** 0 lets the kernel choose. */
  readonly port: number;
  /** `client`: its address; null where it has none, or has left already. */
  readonly fetch: (request: Request, client: string | null) => Response | Promise<Response>;
  /** Another generation of this program may hold the address, and goes on until it stops by itself. Default false: refused if taken. */
  readonly beside?: boolean;
}

export interface FetchServer {
  readonly port: number;
  /**
   * Closes the listener, and lets requests that have arrived finish for a moment; then closes every connection. `succeeded`: the next
   * generation has the address, too.
   */
  close(how?: { readonly succeeded?: boolean }): Promise<void>;
}

/** Seconds without a byte after which a client is cut off. */
const IDLE_TIMEOUT_S = 60;
/** What requests may take once the server closes. */
const FINISH_MS = 200;
/** Requests of the admin API are small. */
const MAX_BODY_BYTES = 1024 * 1024;

/** The part of `Bun.serve` that is used here. */
interface BunServer {
  readonly port: number;
  requestIP(request: Request): { readonly address: string } | null;
  stop(closeActiveConnections: boolean): Promise<void>;
}

/** The part of `Deno.serve` that is used here. */
interface DenoServe {
  serve(
    options: unknown,
    fetch: (request: Request, connection: { readonly remoteAddr: { readonly hostname?: string } }) => Response | Promise<Response>,
  ): { readonly addr: { readonly port: number }; readonly finished: Promise<void> };
}

/** Rejects with the act, the address and the system's error when the address cannot be bound. */
export function serveFetch(options: ServeOptions): Promise<FetchServer> {
  try {
    return Promise.resolve(BUN === undefined ? serveOnDeno(DENO as DenoServe, options) : serveOnBun(BUN, options));
  } catch (error) {
    return Promise.reject(bindError(options, error));
  }
}

/**
 * The next generation must be able to bind beside us, so the port is shared; but whoever comes without being one is to fail, instead
 * of getting half of the requests: hence the trial.
 */
function serveOnBun(bun: NonNullable<typeof BUN>, { host, port, fetch, beside = false }: ServeOptions): FetchServer {
  const serve = (reusePort: boolean, asked: number) =>
    bun.serve({
      hostname: host === "" ? "::" : host,
      port: asked,
      fetch: (request: Request, server: BunServer) => fetch(request, server.requestIP(request)?.address ?? null),
      development: false,
      reusePort,
      idleTimeout: IDLE_TIMEOUT_S,
      maxRequestBodySize: MAX_BODY_BYTES,
    }) as BunServer;
  let free = port;
  if (!beside) {
    const trial = serve(false, port);
    free = trial.port;
    void trial.stop(true);
  }
  const server = serve(true, free);
  if (beside) preferSecond(host, server.port);
  return {
    port: server.port,
    close: async ({ succeeded = false } = {}) => {
      // Nobody comes any more; whoever has come is heard
      if (succeeded) await new Promise((resolve) => setTimeout(resolve, FINISH_MS));
      await Promise.race([server.stop(false), new Promise((resolve) => setTimeout(resolve, FINISH_MS))]);
      await server.stop(true);
    },
  };
}

function serveOnDeno(deno: DenoServe, { host, port, fetch }: ServeOptions): FetchServer {
  const stop = new AbortController();
  const server = deno.serve(
    { hostname: host === "" ? "::" : host, port, signal: stop.signal, onListen: () => {} },
    (request, { remoteAddr }) => fetch(request, remoteAddr.hostname ?? null),
  );
  return {
    port: server.addr.port,
    close: () => {
      stop.abort();
      return server.finished;
    },
  };
}

/** Bun says `EADDRINUSE` for every failure to bind, Deno has a class for each: both become one clear message with the cause. */
function bindError({ host, port }: ServeOptions, cause: unknown): unknown {
  const address = `${host.includes(":") ? `[${host}]` : host}:${port}`;
  const reason = cause instanceof Error ? cause.message : String(cause);
  const code = (cause as { code?: unknown }).code;
  const error = Object.assign(new Error(`Cannot listen on "${address}": ${reason}`, { cause }), {
    code: typeof code === "string" ? code : "",
  });
  return namingPortOwner(error, host, port);
}
