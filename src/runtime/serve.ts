/** HTTP served by the runtime itself, for the admin address only; the data plane has its own listener. */
import { namingPortOwner } from "./port-owner.ts";
import { preferSecond } from "./reuse-port.ts";
import { placeListener, refuseTakenPath } from "./unix-path.ts";
import { BUN, DENO } from "./which.ts";

export type ServeAddress =
  /** `host`: IP literal, or empty for all addresses. `port`: 0 lets the kernel choose. */
  | { readonly host: string; readonly port: number }
  /** A socket in the file system. */
  | { readonly path: string };

export type ServeOptions = ServeAddress & {
  /** `client`: its address; null where it has none, or has left already. */
  readonly fetch: (request: Request, client: string | null) => Response | Promise<Response>;
  /** Another generation of this program may hold the address, and goes on until it stops by itself. Default false: refused if taken. */
  readonly beside?: boolean;
};

type Fetch = ServeOptions["fetch"];
type TcpOptions = Extract<ServeOptions, { host: string }>;

export interface FetchServer {
  /** 0 for a path. */
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
  ): { readonly addr: { readonly port?: number }; readonly finished: Promise<void> };
}

/** Rejects with the act, the address and the system's error when the address cannot be bound. */
export async function serveFetch(options: ServeOptions): Promise<FetchServer> {
  try {
    if ("path" in options) return await serveAtPath(options);
    return BUN === undefined ? serveOnDeno(DENO as DenoServe, options) : serveOnBun(BUN, options);
  } catch (error) {
    throw bindError(options, error);
  }
}

async function serveAtPath({ path, fetch, beside = false }: Extract<ServeOptions, { path: string }>): Promise<FetchServer> {
  if (!beside) await refuseTakenPath(path);
  const { listener, remove } = placeListener(path, (aside) => {
    if (BUN === undefined) return denoServer(DENO as DenoServe, { path: aside }, fetch);
    return bunServer(BUN.serve({ ...bunOptions(fetch), unix: aside }) as BunServer);
  });
  return {
    port: 0,
    close: async (how) => {
      remove();
      await listener.close(how);
    },
  };
}

/**
 * The next generation must be able to bind beside us, so the port is shared; but whoever comes without being one is to fail, instead
 * of getting half of the requests: hence the trial.
 */
function serveOnBun(bun: NonNullable<typeof BUN>, { host, port, fetch, beside = false }: TcpOptions): FetchServer {
  const serve = (reusePort: boolean, asked: number) =>
    bun.serve({ ...bunOptions(fetch), hostname: host === "" ? "::" : host, port: asked, reusePort }) as BunServer;
  let free = port;
  if (!beside) {
    const trial = serve(false, port);
    free = trial.port;
    void trial.stop(true);
  }
  const server = serve(true, free);
  if (beside) preferSecond(host, server.port);
  return bunServer(server);
}

function bunOptions(fetch: Fetch) {
  return {
    fetch: (request: Request, server: BunServer) => fetch(request, server.requestIP(request)?.address ?? null),
    development: false,
    idleTimeout: IDLE_TIMEOUT_S,
    maxRequestBodySize: MAX_BODY_BYTES,
  };
}

function bunServer(server: BunServer): FetchServer {
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

function serveOnDeno(deno: DenoServe, { host, port, fetch }: TcpOptions): FetchServer {
  return denoServer(deno, { hostname: host === "" ? "::" : host, port }, fetch);
}

function denoServer(deno: DenoServe, address: object, fetch: Fetch): FetchServer {
  const stop = new AbortController();
  const server = deno.serve(
    { ...address, signal: stop.signal, onListen: () => {} },
    (request, { remoteAddr }) => fetch(request, remoteAddr.hostname ?? null),
  );
  return {
    port: server.addr.port ?? 0,
    close: () => {
      stop.abort();
      return server.finished;
    },
  };
}

/** Bun says `EADDRINUSE` for every failure to bind, Deno has a class for each: both become one clear message with the cause. */
function bindError(address: ServeAddress, cause: unknown): unknown {
  const reason = cause instanceof Error ? cause.message : String(cause);
  const code = (cause as { code?: unknown }).code;
  const error = Object.assign(new Error(`Cannot listen on "${addressText(address)}": ${reason}`, { cause }), {
    code: typeof code === "string" ? code : "",
  });
  return "path" in address ? error : namingPortOwner(error, address.host, address.port);
}

function addressText(address: ServeAddress): string {
  if ("path" in address) return `unix:${address.path}`;
  return `${address.host.includes(":") ? `[${address.host}]` : address.host}:${address.port}`;
}
