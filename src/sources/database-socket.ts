/*  A socket to one database host, encrypted as the URL asks, before PostgreSQL's own protocol begins.
 *
 *  connect --> [SSLRequest --> S --> TLS handshake]  --> ready
 *                          --> N --> ready in plain text if that is allowed, else failed
 *
 *  Made here and not by postgres.js 3.4.9, whose own connecting cannot be given up, hammers the hosts without a pause or an
 *  error when all of several refuse, and waits for ever when a server hangs up in the middle of the greeting.
 *  Any byte behind the S came in plain text from who knows whom (CVE-2021-23222): refused.
 */
import { readFile } from "node:fs/promises";
import { connect as netConnect, isIP, type Socket } from "node:net";
import { checkServerIdentity, connect as tlsConnect, type ConnectionOptions } from "node:tls";
import type { DatabaseHost, DatabaseTarget } from "./database-url.ts";

/** `offered`: plain text if the server has no TLS. */
export type Encryption = "none" | "offered" | "required";

const SSL_REQUEST = Buffer.from([0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f]);
const YES = 0x53;

/** Rejects when the signal aborts; nothing is left open then. */
export async function openSocket(
  target: DatabaseTarget,
  host: DatabaseHost,
  encryption: Encryption,
  signal: AbortSignal,
): Promise<Socket> {
  signal.throwIfAborted();
  const unix = host.host.startsWith("/");
  const socket = unix
    ? netConnect({ path: `${host.host}/.s.PGSQL.${host.port}` })
    : netConnect({ host: host.host, port: host.port });
  let current = socket;
  const abort = () => current.destroy();
  signal.addEventListener("abort", abort, { once: true });
  try {
    await settled(socket, "connect");
    // libpq too ignores sslmode on a Unix socket: there is nobody in between.
    if (unix || encryption === "none") return socket;
    if (await offersTls(socket)) {
      const options = await tlsOptions(target, host);
      signal.throwIfAborted();
      current = tlsConnect({ ...options, socket });
      await settled(current, "secureConnect");
    } else if (encryption === "required") throw new Error(`The server does not offer TLS, but sslmode is ${target.sslMode}`);
    return current;
  } catch (error) {
    socket.destroy();
    current.destroy();
    throw signal.aborted ? signal.reason : error;
  } finally {
    signal.removeEventListener("abort", abort);
  }
}

/** An error while nobody else listens yet must not end the process. */
function settled(socket: Socket, event: "connect" | "secureConnect" | "data"): Promise<unknown> {
  const { promise, resolve, reject } = Promise.withResolvers<unknown>();
  const closed = () => reject(new Error("The server closed the connection"));
  socket.once(event, resolve).once("error", reject).once("close", closed);
  return promise.finally(() => socket.off(event, resolve).off("error", reject).off("close", closed));
}

async function offersTls(socket: Socket): Promise<boolean> {
  const answered = settled(socket, "data");
  socket.write(SSL_REQUEST);
  const answer = await answered;
  if (!(answer instanceof Uint8Array) || answer.length !== 1) {
    throw new Error("The server answered the request for TLS with more than one byte");
  }
  return answer[0] === YES;
}

async function tlsOptions(target: DatabaseTarget, host: DatabaseHost): Promise<ConnectionOptions> {
  const { sslMode, sslRootCert, sslCert, sslKey } = target;
  const verified = sslMode === "verify-ca" || sslMode === "verify-full";
  return {
    rejectUnauthorized: verified,
    ...(isIP(host.host) === 0 ? { servername: host.host } : {}),
    ...(verified && sslRootCert !== null && sslRootCert !== "system" ? { ca: await readPem("sslrootcert", sslRootCert) } : {}),
    ...(sslCert === null ? {} : { cert: await readPem("sslcert", sslCert) }),
    ...(sslKey === null ? {} : { key: await readPem("sslkey", sslKey) }),
    // verify-ca: signed by a known authority, whatever the name. Given explicitly, because the runtimes differ in the name they
    // would check on a socket that is connected already.
    checkServerIdentity: (_name, certificate) => sslMode === "verify-ca" ? undefined : checkServerIdentity(host.host, certificate),
  };
}

async function readPem(parameter: string, path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (cause) {
    throw new Error(`Cannot read ${parameter}: ${cause instanceof Error ? cause.message : path}`, { cause });
  }
}
