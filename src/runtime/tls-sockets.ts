/*  TLS towards endpoints, behind the socket door: node:tls on every runtime, with the interface of a plain socket.
 *
 *  A handshake that fails, for whatever reason, is a connection that was not made: nothing has been sent, so it may be tried elsewhere.
 *  A connection that ends without TLS's own farewell shows as an end like any other; HTTP's framing says whether the answer was complete.
 */
import { isIP } from "node:net";
import tls from "node:tls";
import { NodeSocket } from "./node-sockets.ts";
import { socketError } from "./socket-error.ts";
import type { CancelConnect, ConnectOptions } from "./sockets.ts";

/** Whom to expect at the other end. */
export interface TlsPeer {
  /** Whether its certificate is checked. */
  readonly verify: boolean;
  /** In its certificate, and told to it (SNI); null: the address. */
  readonly serverName: string | null;
  /** Certificates to trust, PEM; null: the system's. */
  readonly ca: string | null;
}

/** Contexts are dear to make: one per list of certificates. */
const contexts: Map<string | null, tls.SecureContext> = new Map();
const MOST_CONTEXTS = 100;

/** See `connect` of sockets.ts. */
export function connectTls(options: ConnectOptions, peer: TlsPeer): CancelConnect {
  let settled = false;
  const fail = (error: unknown): void => {
    if (settled) return;
    settled = true;
    options.onFailure(socketError(error));
  };
  const raw = open(options, peer, fail);
  if (raw === null) return () => void (settled = true);
  raw.on("error", fail);
  raw.once("close", () => fail({ code: "ECONNRESET", message: "closed during the TLS handshake" }));
  raw.once("secureConnect", () => {
    if (settled) return void raw.destroy();
    settled = true;
    const socket = new NodeSocket(raw);
    socket.handler = options.onOpen(socket);
  });
  return () => {
    if (settled) return;
    settled = true;
    raw.destroy();
  };
}

/** null: certificates that are none, which is told later, as every failure. */
function open(options: ConnectOptions, { verify, serverName, ca }: TlsPeer, fail: (error: unknown) => void): tls.TLSSocket | null {
  try {
    return tls.connect({
      host: options.host,
      port: options.port,
      secureContext: contextOf(ca),
      rejectUnauthorized: verify,
      ALPNProtocols: ["http/1.1"],
      // An address is no name (RFC 6066, 3); it is checked against the certificate all the same.
      ...serverName !== null && isIP(serverName) === 0 && { servername: serverName },
    });
  } catch (error) {
    queueMicrotask(() => fail(error));
    return null;
  }
}

function contextOf(ca: string | null): tls.SecureContext {
  let context = contexts.get(ca);
  if (context === undefined) {
    context = tls.createSecureContext({ minVersion: "TLSv1.2", ...ca !== null && { ca } });
    if (contexts.size >= MOST_CONTEXTS) contexts.clear();
    contexts.set(ca, context);
  }
  return context;
}
