/** The demo's requests, one per outcome, and how requests and log lines are shown. */
import { request } from "node:http";

export interface Outcome {
  readonly status: number;
  readonly meaning: string;
  readonly host: string;
  readonly path: string;
  /** Further words for the `curl` line. */
  readonly flags?: string;
}

const REQUEST_LIMIT_MS = 20_000;

export const DOMAINS = {
  here: "shop.example.com",
  wildcard: "*.preview.example.com",
  there: "blog.example.com",
  unhealthy: "broken.example.com",
  gone: "faraway.example.com",
} as const;

export const OUTCOMES: readonly Outcome[] = [
  { status: 200, meaning: "a healthy VM of this region", host: DOMAINS.here, path: "/" },
  { status: 200, meaning: "the same by a wildcard domain", host: "pr-7.preview.example.com", path: "/" },
  { status: 200, meaning: "a VM behind the other region", host: DOMAINS.there, path: "/" },
  { status: 200, meaning: "events, passed on as they come", host: DOMAINS.here, path: "/events", flags: "-N" },
  { status: 200, meaning: "a path that a policy rewrites", host: DOMAINS.here, path: "/api/orders" },
  { status: 308, meaning: "a redirect that a policy asks for", host: DOMAINS.here, path: "/old" },
  { status: 404, meaning: "a domain without a route", host: "nobody.example.com", path: "/" },
  { status: 503, meaning: "a VM that fails its health check", host: DOMAINS.unhealthy, path: "/" },
  { status: 502, meaning: "a region that cannot be reached", host: DOMAINS.gone, path: "/" },
];

/** Of `DOMAINS.here`, in `route_policies`. */
export const POLICY = {
  routes: [
    { path: "/api", rewrite: { stripPrefix: "/api" } },
    { path: { exact: "/old" }, redirect: { to: "/", status: 308 } },
  ],
};

/** Sends the request as the `curl` line would; the status, or what went wrong. */
export function send(edgeUrl: string, outcome: Outcome): Promise<number | string> {
  const { promise, resolve } = Promise.withResolvers<number | string>();
  const sent = request(edgeUrl + outcome.path, { headers: { host: outcome.host }, agent: false, timeout: REQUEST_LIMIT_MS });
  sent.once("response", (response) => {
    response.resume();
    response.once("close", () => resolve(response.complete ? response.statusCode ?? 0 : "the response was cut off"));
  });
  sent.once("timeout", () => sent.destroy(new Error("no answer")));
  sent.once("error", (error) => resolve(error.message));
  sent.end();
  return promise;
}

/** `200  what it shows   curl ...`, with the expected status beside any other. */
export function outcomeLine(edgeUrl: string, outcome: Outcome, got: number | string): string {
  const status = got === outcome.status ? String(got) : `${got} (expected ${outcome.status})`;
  const flags = outcome.flags === undefined ? "-i" : `-i ${outcome.flags}`;
  return `  ${status}  ${outcome.meaning.padEnd(34)}curl ${flags} -H 'Host: ${outcome.host}' ${edgeUrl}${outcome.path}`;
}

/** A line of an edge's log, for people; null for those that say nothing here. */
export function readableLine(edge: string, line: string): string | null {
  const entry = parse(line);
  if (entry === null) return `${edge.padEnd(6)}${line}`;
  const text = (name: string): string => entry[name] === undefined || entry[name] === null ? "" : String(entry[name]);
  const begin = `${text("time").slice(11, 23)}  ${edge.padEnd(6)}`;
  if (text("msg") === "access") {
    const target = `${text("host")}${text("path")}`;
    const answered = text("error") === "" ? "" : `  ${text("error")}`;
    const upstream = text("upstream") === "" ? "" : `  -> ${text("upstream")}`;
    return `${begin}${text("status")}  ${text("method")} ${target}  ${text("duration_ms")} ms${upstream}${answered}`;
  }
  if (!["warn", "error"].includes(text("level")) && text("msg") !== "routes changed") return null;
  const known = ["time", "level", "msg", "settings"];
  const fields = Object.entries(entry).filter(([name]) => !known.includes(name));
  const shown = fields.map(([name, value]) => `${name}=${typeof value === "string" ? value : JSON.stringify(value)}`);
  return `${begin}${text("level")}  ${[text("msg"), ...shown].join("  ")}`;
}

function parse(line: string): Readonly<Record<string, unknown>> | null {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === "object" && value !== null ? value as Record<string, unknown> : null;
  } catch {
    return null;
  }
}
