/*  Who may use the admin address.
 *
 *  With a token: whoever shows it. Without one the address is loopback, so whoever is on this machine; but a browser on this machine
 *  carries requests of any web site to it. Two ways of that are closed: a name that the site's own DNS points to 127.0.0.1
 *  (rebinding: such a request has that name as its Host), and requests by which another site changes something, although it
 *  cannot read the answer (Origin, Sec-Fetch-Site). `/healthz` and `/readyz` are for everyone: they change and tell nothing of use.
 */
import { createHash, timingSafeEqual } from "node:crypto";
import { isIP } from "node:net";
import type { Context, MiddlewareHandler } from "hono";
import { problem } from "./problem.ts";

export const OPEN_PATHS: ReadonlySet<string> = new Set(["/healthz", "/readyz"]);

export function authorise(token: string): MiddlewareHandler {
  return async (c, next) => {
    if (OPEN_PATHS.has(c.req.path)) return await next();
    const refusal = token === "" ? refuseOtherSites(c) : refuseWithoutToken(c, token);
    return refusal ?? await next();
  };
}

/** Whether the request shows the token or, where there is none, came by a name of this machine: it may see details. */
export function isAuthorised(c: Context, token: string): boolean {
  if (token === "") return isLocalName(hostOf(c));
  const [, shown] = /^Bearer +(\S+) *$/i.exec(c.req.header("authorization") ?? "") ?? [];
  return shown !== undefined && timingSafeEqual(digest(shown), digest(token));
}

function refuseWithoutToken(c: Context, token: string): Response | null {
  if (isAuthorised(c, token)) return null;
  c.header("WWW-Authenticate", 'Bearer realm="edgeproxy"');
  return problem(c, 401, "unauthorized", "This path needs the header Authorization: Bearer with EDGEPROXY_ADMIN_TOKEN");
}

function refuseOtherSites(c: Context): Response | null {
  const host = hostOf(c);
  if (!isLocalName(host)) {
    return problem(c, 403, "forbidden_host", "Use an IP address or localhost, or configure EDGEPROXY_ADMIN_TOKEN");
  }
  if (c.req.method === "GET" || c.req.method === "HEAD") return null;
  const site = c.req.header("sec-fetch-site") ?? "none";
  const origin = c.req.header("origin");
  const sameOrigin = origin === undefined || originHost(origin) === host.toLowerCase();
  if (sameOrigin && (site === "none" || site === "same-origin")) return null;
  return problem(c, 403, "cross_site", "Requests from other web sites are refused");
}

/** An IP literal or `localhost`, with or without a port: what no foreign DNS can answer for. */
function isLocalName(host: string): boolean {
  const name = host.replace(/:\d*$/, "").toLowerCase();
  return name === "localhost" || isIP(name) === 4 || (/^\[.*\]$/.test(name) && isIP(name.slice(1, -1)) === 6);
}

function hostOf(c: Context): string {
  return c.req.header("host") ?? new URL(c.req.url).host;
}

function originHost(origin: string): string {
  return /^https?:\/\/([^/]+)$/i.exec(origin)?.[1]?.toLowerCase() ?? "";
}

/** Equal lengths for the comparison, whatever was shown. */
function digest(text: string): Uint8Array {
  return createHash("sha256").update(text).digest();
}
