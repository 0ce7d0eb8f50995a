/** The revisions of the table that were served: listed, with what each of them changed, and served again while one is pinned. */
import { z } from "zod";
import type { RefreshStatus } from "../sources/refresh-status.ts";
import type { ChangedHosts, Revision } from "../sources/revision-history.ts";
import { normaliseDomain } from "../table/host-name.ts";
import type { RouteChange } from "../table/routes.ts";
import type { AdminDeps } from "./deps.ts";
import { EXPIRY, TIME } from "./fields.ts";
import { AFTER, LIMIT, NEXT, TOTAL } from "./listing.ts";
import { type AdminContext, adminPath, type Given } from "./path.ts";
import { problem } from "./problem.ts";
import { endpointsView, ROUTE_ENDPOINT } from "./routes-api.ts";
import { timeText } from "./time-text.ts";

const LIST_QUERY = z.strictObject({
  limit: LIMIT,
  after: z.string().regex(/^\d{0,15}$/, "must be `next` of the page before").default("").describe("`next` of the page before"),
  q: z.string().default("").describe("Part of what is looked for: of a reason or a source"),
  sort: z.enum(["revision", "-revision"]).default("-revision").describe("A minus: descending"),
  before: z.coerce.number().int().min(1).optional().describe("Only older ones; goes through pages like `after`"),
  host: z.string().optional().describe("Revisions that changed this host, as far as their routes are kept"),
  reason: z.string().optional().describe("What made them: `interval`, `change`, `admin`..."),
});
const CHANGES_QUERY = z.strictObject({ limit: LIMIT, after: AFTER });
const OF_REVISION = z.object({ revision: z.string() });

export const PIN = z.object({ revision: z.int(), since: TIME, until: TIME });
const SERVED = z.object({ revision: z.int(), routes: z.int(), pinned: PIN.nullable() });
const REVISION = z.object({
  revision: z.int(),
  time: TIME,
  reason: z.string(),
  source: z.string(),
  routes: z.int(),
  added: z.int(),
  removed: z.int(),
  changed: z.int(),
  revisions: z.int().describe("How many it stands for: itself and those just before it"),
  current: z.boolean(),
  restorable: z.boolean(),
});
const CHANGE = z.object({
  host: z.string(),
  change: z.enum(["added", "removed", "changed"]),
  before: z.array(ROUTE_ENDPOINT).nullable(),
  after: z.array(ROUTE_ENDPOINT).nullable(),
});
const CHANGES = z.object({
  changes: z.array(CHANGE).nullable().describe("By host; null once its routes have been let go"),
  next: NEXT,
});
const NO_REVISION = { meaning: "The history has no such revision" };

export const LIST_REVISIONS = adminPath({
  method: "GET",
  path: "/api/revisions",
  tag: "revisions",
  summary: "Revisions of the table that were served, newest first",
  query: LIST_QUERY,
  answers: {
    200: {
      meaning: "A page of them",
      schema: z.object({
        total: TOTAL,
        revision: z.int().describe("Served now"),
        pinned: PIN.nullable(),
        revisions: z.array(REVISION),
        next: z.int().nullable().describe("`after` of the next page; null: there is none"),
      }),
    },
  },
  answer: listRevisions,
});

export const SHOW_REVISION = adminPath({
  method: "GET",
  path: "/api/revisions/:revision",
  tag: "revisions",
  summary: "One revision and the hosts that it changed",
  params: OF_REVISION,
  query: CHANGES_QUERY,
  answers: { 200: { meaning: "It, and a page of changes", schema: REVISION.extend(CHANGES.shape) }, 404: NO_REVISION },
  answer: showRevision,
});

export const PIN_REVISION = adminPath({
  method: "POST",
  path: "/api/revisions/:revision/pin",
  action: "pin",
  tag: "revisions",
  summary: "Serve an old revision for a while; answers when it is in force",
  params: OF_REVISION,
  query: z.strictObject({ expires: EXPIRY.prefault("1h") }),
  body: z.strictObject({ expires: EXPIRY.optional() }),
  answers: {
    200: { meaning: "What is served now", schema: SERVED },
    404: NO_REVISION,
    409: { meaning: "Its routes are no longer kept" },
  },
  answer: pinRevision,
});

export const UNPIN_REVISION = adminPath({
  method: "DELETE",
  path: "/api/revisions/pin",
  action: "unpin",
  tag: "revisions",
  summary: "Serve what the source says again; fine also where nothing is pinned",
  answers: { 200: { meaning: "What is served now", schema: SERVED } },
  answer: async (c, deps) => {
    await deps.unpin();
    return c.json(servedView(deps));
  },
});

function listRevisions(
  c: AdminContext,
  deps: AdminDeps,
  { query }: Given<unknown, z.output<typeof LIST_QUERY>, unknown>,
): Response {
  const status = deps.refreshStatus();
  const { limit, after, before = Infinity, sort } = query;
  const suiting = deps.history().list(Infinity).filter((revision) => suits(revision, query));
  const ascending = sort === "revision";
  const ordered = ascending ? suiting.toReversed() : suiting;
  const found = ordered.filter(({ revision }) =>
    revision < before && (after === "" || (ascending ? revision > Number(after) : revision < Number(after)))
  );
  const page = found.slice(0, limit);
  return c.json({
    total: suiting.length,
    revision: status.revision,
    pinned: pinView(status),
    revisions: page.map((revision) => revisionView(revision, status)),
    next: found.length > limit ? page.at(-1)!.revision : null,
  });
}

function suits(revision: Revision, { host, reason, q }: z.output<typeof LIST_QUERY>): boolean {
  return (reason === undefined || revision.reason === reason) &&
    (host === undefined || hasChanged(revision, normaliseDomain(host) ?? "")) &&
    [revision.reason, revision.source].some((text) => text.toLowerCase().includes(q.toLowerCase()));
}

function hasChanged({ before, after }: Revision, host: string): boolean {
  return before !== null && after !== null && before.get(host) !== after.get(host);
}

async function showRevision(
  c: AdminContext,
  deps: AdminDeps,
  { params, query: { limit, after } }: Given<z.output<typeof OF_REVISION>, z.output<typeof CHANGES_QUERY>, unknown>,
): Promise<Response> {
  const revision = find(params.revision, deps);
  if (revision === undefined) return unknownRevision(c, params.revision);
  const changed = await deps.history().changedHosts(revision.revision, { count: limit, after });
  return c.json({ ...revisionView(revision, deps.refreshStatus()), ...changesView(changed) });
}

/** What the body says wins. */
async function pinRevision(
  c: AdminContext,
  deps: AdminDeps,
  { params, query, body }: Given<
    z.output<typeof OF_REVISION>,
    { readonly expires: number },
    { readonly expires?: number | undefined }
  >,
): Promise<Response> {
  const revision = find(params.revision, deps)?.revision;
  const answer = revision === undefined ? "unknown" : await deps.pin(revision, body.expires ?? query.expires);
  switch (answer) {
    case "unknown":
      return unknownRevision(c, params.revision);
    case "gone":
      return problem(c, 409, "not_restorable", `The routes of revision ${revision} are no longer kept`);
    case "pinned":
      return c.json(servedView(deps));
  }
}

export function pinView({ pinned }: RefreshStatus): z.output<typeof PIN> | null {
  if (pinned === null) return null;
  return { revision: pinned.revision, since: timeText(pinned.sinceAtMs), until: timeText(pinned.untilAtMs) };
}

function servedView(deps: AdminDeps): z.output<typeof SERVED> {
  const status = deps.refreshStatus();
  return { revision: status.revision, routes: status.routes, pinned: pinView(status) };
}

function revisionView(revision: Revision, status: RefreshStatus): z.output<typeof REVISION> {
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

function changesView(changed: ChangedHosts | null): z.output<typeof CHANGES> {
  return changed === null ? { changes: null, next: null } : { changes: changed.changes.map(changeView), next: changed.next };
}

function changeView({ host, before, after }: RouteChange): z.output<typeof CHANGE> {
  return {
    host,
    change: before === undefined ? "added" : after === undefined ? "removed" : "changed",
    before: before === undefined ? null : endpointsView(before),
    after: after === undefined ? null : endpointsView(after),
  };
}

function find(asked: string, deps: AdminDeps): Revision | undefined {
  return /^\d{1,15}$/.test(asked) ? deps.history().find(Number(asked)) : undefined;
}

function unknownRevision(c: AdminContext, asked: string): Response {
  return problem(c, 404, "no_revision", `The history has no revision ${JSON.stringify(asked)}`);
}
