/*  Who may use the admin address.
 *
 *  Over a unix socket: whoever its file's permissions let in. With a token: whoever shows it. Without one the address is loopback, so
 *  whoever is on this machine; but a browser on this machine carries requests of any web site to it. Two ways of that are closed: a name
 *  that the site's own DNS points to 127.0.0.1 (rebinding: such a request has that name as its Host), and requests by which another
 *  site changes something, although it cannot read the answer (Origin, Sec-Fetch-Site). No answer ever allows another site to read it
 *  (CORS). Paths that are `open` are for everyone: they change and tell nothing of use.
 */
import { createHash, timingSafeEqual } from "node:crypto";
import { isIP } from "node:net";
import type { MiddlewareHandler } from "hono";
import type { Log } from "../observation/log.ts";
import type { AdminDeps } from "./deps.ts";
import { FailedTokens } from "./failed-tokens.ts";
import type { AdminContext, AdminEnvironment, Refuse } from "./path.ts";
import { problem } from "./problem.ts";

/** As the server calls a client of a unix socket. */
export const UNIX_CLIENT = "unix socket";

/** Decides once per request, and counts what is wrong; the answer is not given yet, since some paths are open. */
export function recognise({ token, nowMs, log }: Pick<AdminDeps, "token" | "nowMs" | "log">): MiddlewareHandler<AdminEnvironment> {
  const failures = new FailedTokens(nowMs);
  return async (c, next) => {
    const isLocal = clientOf(c) === UNIX_CLIENT;
    c.set("refuse", isLocal ? null : token === "" ? refuseOtherSites(c) : refuseWithoutToken(c, token, failures, log));
    await next();
  };
}

export const authorise: MiddlewareHandler<AdminEnvironment> = async (c, next) => c.get("refuse")?.() ?? await next();

/** Whether the request may see details of an open path. */
export function isAuthorised(c: AdminContext): boolean {
  return c.get("refuse") === null;
}

/** Address of who asks, or `unix socket`. */
export function clientOf(c: AdminContext): string {
  return c.env?.client ?? "";
}

function refuseWithoutToken(c: AdminContext, token: string, failures: FailedTokens, log: Log): Refuse | null {
  const client = clientOf(c);
  const waitS = failures.refusedFor(client);
  if (waitS > 0 && !failures.knows(client)) return () => tooManyFailures(c, waitS);
  const [, shown] = /^Bearer +(\S+) *$/i.exec(c.req.header("authorization") ?? "") ?? [];
  if (shown !== undefined && timingSafeEqual(digest(shown), digest(token))) {
    failures.passed(client);
    return null;
  }
  if (shown !== undefined && waitS > 0) return () => tooManyFailures(c, waitS);
  if (shown !== undefined && failures.failed(client) === 1) log.warn("admin token refused", { client, path: c.req.path });
  return () => unauthorised(c);
}

function tooManyFailures(c: AdminContext, waitS: number): Response {
  c.header("Retry-After", String(waitS));
  return problem(c, 429, "too_many_failures", "Too many wrong tokens from this address");
}

function unauthorised(c: AdminContext): Response {
  c.header("WWW-Authenticate", 'Bearer realm="edgeproxy"');
  return problem(c, 401, "unauthorized", "This path needs the header Authorization: Bearer with EDGEPROXY_ADMIN_TOKEN");
}

function refuseOtherSites(c: AdminContext): Refuse | null {
  const host = hostOf(c);
  if (!isLocalName(host)) {
    return () => problem(c, 403, "forbidden_host", "Use an IP address or localhost, or configure EDGEPROXY_ADMIN_TOKEN");
  }
  if (c.req.method === "GET" || c.req.method === "HEAD") return null;
  const site = c.req.header("sec-fetch-site") ?? "none";
  const origin = c.req.header("origin");
  const sameOrigin = origin === undefined || originHost(origin) === host.toLowerCase();
  if (sameOrigin && (site === "none" || site === "same-origin")) return null;
  return () => problem(c, 403, "cross_site", "Requests from other web sites are refused");
}

/** An IP literal or `localhost`, with or without a port: what no foreign DNS can answer for. */
function isLocalName(host: string): boolean {
  const name = host.replace(/:\d*$/, "").toLowerCase();
  return name === "localhost" || isIP(name) === 4 || (/^\[.*\]$/.test(name) && isIP(name.slice(1, -1)) === 6);
}

function hostOf(c: AdminContext): string {
  return c.req.header("host") ?? new URL(c.req.url).host;
}

function originHost(origin: string): string {
  return /^https?:\/\/([^/]+)$/i.exec(origin)?.[1]?.toLowerCase() ?? "";
}

/** Equal lengths for the comparison, whatever was shown. */
function digest(text: string): Uint8Array {
  return createHash("sha256").update(text).digest();
}
