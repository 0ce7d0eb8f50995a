/** The revisions of the table that were served: listed, with what each of them changed, and served again while one is pinned. */
import type { Context } from "hono";
import { z } from "zod";
import type { RefreshStatus } from "../sources/refresh-status.ts";
import type { ChangedHosts, Revision } from "../sources/revision-history.ts";
import type { RouteChange } from "../table/routes.ts";
import type { AdminDeps } from "./deps.ts";
import { badQuery, problem } from "./problem.ts";
import { endpointsView } from "./routes-api.ts";
import { durationMs, timeText } from "./time-text.ts";

const LIST_QUERY = z.strictObject({
  limit: z.coerce.number().int().min(1).max(1000).default(100),
  before: z.coerce.number().int().min(1).optional(),
});
const CHANGES_QUERY = z.strictObject({
  limit: z.coerce.number().int().min(1).max(1000).default(100),
  /** The last host of the page before. */
  after: z.string().default(""),
});
const HOUR_MS = 3_600_000;
const MOST_PIN_MS = 7 * 24 * HOUR_MS;
const PIN = z.strictObject({
  expires: z.string().default("1h").transform((text, context) => {
    const ms = durationMs(text);
    if (ms !== null && ms > 0 && ms <= MOST_PIN_MS) return ms;
    context.addIssue("must be a duration such as 30m, at most 7d");
    return z.NEVER;
  }),
});

/** `?limit=&before=`: newest first; `next` is the `before` of the next page, or null. */
export function listRevisions(c: Context, deps: AdminDeps): Response {
  const query = LIST_QUERY.safeParse(c.req.query());
  if (!query.success) return badQuery(c, query.error);
  const { limit, before } = query.data;
  const status = deps.refreshStatus();
  const found = deps.history().list(limit + 1, before);
  const page = found.slice(0, limit);
  return c.json({
    revision: status.revision,
    pinned: pinView(status),
    revisions: page.map((revision) => revisionView(revision, status)),
    next: found.length > limit ? page.at(-1)!.revision : null,
  });
}

/** One revision and `?limit=&after=` of the hosts that it changed, in order; null once its routes have been let go. */
export async function showRevision(c: Context, deps: AdminDeps): Promise<Response> {
  const query = CHANGES_QUERY.safeParse(c.req.query());
  if (!query.success) return badQuery(c, query.error);
  const revision = found(c, deps);
  if (revision === undefined) return unknownRevision(c);
  const { limit, after } = query.data;
  const changed = await deps.history().changedHosts(revision.revision, { count: limit, after });
  return c.json({ ...revisionView(revision, deps.refreshStatus()), ...changesView(changed) });
}

/** Body `{"expires":"30m"}` or `?expires=30m`; without, an hour. */
export async function pinRevision(c: Context, deps: AdminDeps): Promise<Response> {
  const given = await readJson(c);
  if (given === undefined) return problem(c, 400, "bad_body", "The body must be JSON");
  const pin = PIN.safeParse({ ...c.req.query(), ...given });
  if (!pin.success) return badQuery(c, pin.error);
  const revision = found(c, deps)?.revision;
  const answer = revision === undefined ? "unknown" : await deps.pin(revision, pin.data.expires);
  switch (answer) {
    case "unknown":
      return unknownRevision(c);
    case "gone":
      return problem(c, 409, "not_restorable", `The routes of revision ${revision} are no longer kept`);
    case "pinned":
      return c.json(servedView(deps));
  }
}

/** Fine also where nothing is pinned. */
export async function unpinRevision(c: Context, deps: AdminDeps): Promise<Response> {
  await deps.unpin();
  return c.json(servedView(deps));
}

export function pinView({ pinned }: RefreshStatus): unknown {
  if (pinned === null) return null;
  return { revision: pinned.revision, since: timeText(pinned.sinceAtMs), until: timeText(pinned.untilAtMs) };
}

function servedView(deps: AdminDeps): unknown {
  const status = deps.refreshStatus();
  return { revision: status.revision, routes: status.routes, pinned: pinView(status) };
}

function revisionView(revision: Revision, status: RefreshStatus): Record<string, unknown> {
  const { added, removed, changed } = revision.tally;
  return {
    revision: revision.revision,
    time: timeText(revision.atMs),
    reason: revision.reason,
    source: revision.source,
    routes: revision.routes,
    added,
    removed,
    changed,
    revisions: revision.revisions,
    current: revision.revision === status.revision,
    restorable: revision.after !== null,
  };
}

function changesView(changed: ChangedHosts | null): Record<string, unknown> {
  return changed === null ? { changes: null, next: null } : { changes: changed.changes.map(changeView), next: changed.next };
}

function changeView({ host, before, after }: RouteChange): unknown {
  return {
    host,
    change: before === undefined ? "added" : after === undefined ? "removed" : "changed",
    before: before === undefined ? null : endpointsView(before),
    after: after === undefined ? null : endpointsView(after),
  };
}

function found(c: Context, deps: AdminDeps): Revision | undefined {
  const asked = c.req.param("revision") ?? "";
  return /^\d{1,15}$/.test(asked) ? deps.history().find(Number(asked)) : undefined;
}

function unknownRevision(c: Context): Response {
  return problem(c, 404, "no_revision", `The history has no revision ${JSON.stringify(c.req.param("revision") ?? "")}`);
}

/** An empty body is an empty object; undefined: it is no JSON object. */
async function readJson(c: Context): Promise<object | undefined> {
  try {
    const value: unknown = JSON.parse(await c.req.text() || "{}");
    return typeof value === "object" && value !== null && !Array.isArray(value) ? value : undefined;
  } catch {
    return undefined;
  }
}
