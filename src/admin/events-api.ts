/** What happens, live; and what is kept of it: bad ends of exchanges, changes by operators. */
import { z } from "zod";
import { BLAMES, CODES } from "../observation/proxy-error.ts";
import { AUDIT_ENTRY, EVENT_TYPES, eventView } from "./event-view.ts";
import { EXCHANGE, exchangeView } from "./exchange-view.ts";
import { listPage, listQuery, NEXT, TOTAL } from "./listing.ts";
import { adminPath } from "./path.ts";
import { badAfter, problem } from "./problem.ts";

const TYPES = z.string().default(EVENT_TYPES.join(",")).describe(`Some of ${EVENT_TYPES.join(",")}`).transform((text) =>
  text.split(",")
)
  .pipe(z.array(z.enum(EVENT_TYPES))).transform((types) => [...new Set(types)]); // each named twice would be looked through twice
const ERROR = z.object({ id: z.int() }).extend(EXCHANGE.shape);
const ERRORS = z.object({
  total: TOTAL,
  errors: z.array(ERROR),
  next: NEXT,
  lost: z.record(z.enum(BLAMES), z.int()).describe("Counted, but not told here: too many came at once; by whose doing they were"),
});

export const WATCH_EVENTS = adminPath({
  method: "GET",
  path: "/api/events",
  tag: "events",
  summary: "Events as they happen (Server-Sent Events)",
  query: z.strictObject({
    types: TYPES,
    after: z.string().default("").describe("Like Last-Event-ID; `0`: all that are kept"),
  }),
  answers: {
    200: {
      meaning: "`id`, `event` (its type) and `data` (JSON); `lost` tells of what did not fit",
      contentType: "text/event-stream",
    },
    503: { meaning: "There are too many streams" },
  },
  answer: (c, _deps, { query: { types, after } }) => {
    const headers = { "Content-Type": "text/event-stream", "X-Accel-Buffering": "no" };
    if (c.req.method === "HEAD") return c.body(null, 200, headers);
    const stream = c.get("streams").open({ types, after: c.req.header("last-event-id") ?? after });
    if (stream !== null) return c.body(stream, 200, headers);
    c.header("Retry-After", "5");
    return problem(c, 503, "too_many_streams", "There are too many event streams");
  },
});

export const LIST_ERRORS = adminPath({
  method: "GET",
  path: "/api/errors",
  tag: "events",
  summary: "Exchanges that ended badly lately, newest first; the last 1000 of each blame",
  query: listQuery(["time", "host", "duration"], "-time", {
    host: z.string().optional().describe("Of the request, or the route that it matched"),
    code: z.enum(Object.keys(CODES) as [string, ...string[]]).optional(),
    blame: z.enum(BLAMES).optional(),
    upstream: z.string().optional().describe("`address:port`"),
  }),
  answers: { 200: { meaning: "A page of them", schema: ERRORS } },
  answer: (c, deps, { query }) => {
    const { host, code, blame, upstream, q } = query;
    const found = deps.events.after(0, ["error"]).flatMap((event) => event.type === "error" ? event : []).filter(({ exchange }) =>
      (host === undefined || exchange.host === host.toLowerCase() || exchange.route === host.toLowerCase()) &&
      (code === undefined || exchange.code === code) &&
      (blame === undefined || exchange.blame === blame) &&
      (upstream === undefined || exchange.upstream === upstream) &&
      contains([exchange.host, exchange.target, exchange.problem, exchange.requestId, exchange.client, exchange.upstream], q)
    );
    const columns = {
      time: ({ id }: { id: number }) => id,
      host: ({ exchange }: typeof found[number]) => exchange.host,
      duration: ({ exchange }: typeof found[number]) => exchange.totalMs,
    };
    const list = listPage(found, query, columns, ({ id }) => String(id).padStart(16, "0"));
    if (list === null) return badAfter(c);
    return c.json({
      total: list.total,
      errors: list.page.map(({ id, exchange }) => ({ id, ...exchangeView(exchange) })),
      next: list.next,
      lost: { ...deps.events.lost },
    });
  },
});

export const LIST_AUDIT = adminPath({
  method: "GET",
  path: "/api/audit",
  tag: "events",
  summary: "What operators have changed since this generation began, newest first; the log has more",
  query: listQuery(["time"], "-time", {
    action: z.string().optional(),
    by: z.string().optional().describe("Address, or `unix socket`"),
  }),
  answers: { 200: { meaning: "A page of them", schema: z.object({ total: TOTAL, changes: z.array(AUDIT_ENTRY), next: NEXT }) } },
  answer: (c, deps, { query }) => {
    const { action, by, q } = query;
    const found = deps.events.after(0, ["audit"]).map(eventView).flatMap((event) => event.type === "audit" ? event : []).filter((
      entry,
    ) =>
      (action === undefined || entry.action === action) && (by === undefined || entry.by === by) &&
      contains([entry.action, entry.subject, entry.by, JSON.stringify(entry.details)], q)
    );
    const list = listPage(found, query, { time: ({ id }) => id }, ({ id }) => String(id).padStart(16, "0"));
    return list === null ? badAfter(c) : c.json({ total: list.total, changes: list.page, next: list.next });
  },
});

function contains(texts: readonly string[], part: string): boolean {
  return part === "" || texts.some((text) => text.toLowerCase().includes(part.toLowerCase()));
}
