/** Endpoints that get no new requests for a while, because an operator wants it so. */
import { z } from "zod";
import type { Cordon } from "../observation/cordon.ts";
import { clientOf } from "./auth.ts";
import type { AdminDeps } from "./deps.ts";
import { EXPIRY, TIME } from "./fields.ts";
import { listPage, listQuery, NEXT, TOTAL } from "./listing.ts";
import { type AdminContext, adminPath, type Given } from "./path.ts";
import { badAfter, problem } from "./problem.ts";
import { timeText } from "./time-text.ts";

export const CORDON = z.object({
  key: z.string().describe("Of the endpoint: `vm/ADDRESS:PORT` or `region/ADDRESS:PORT`"),
  since: TIME,
  until: TIME.describe("Then it ends by itself"),
  reason: z.string(),
  by: z.string().describe("Address of who wanted it, or `unix socket`"),
});

export const OF_ENDPOINT = z.object({ key: z.string().describe("With `/` written %2F: `vm%2F10.0.0.5:8080`") });
export const NO_ENDPOINT = { meaning: "No route leads to such an endpoint" };

const COLUMNS = {
  key: ({ key }: Cordon) => key,
  since: ({ sinceAtMs }: Cordon) => sinceAtMs,
  until: ({ untilAtMs }: Cordon) => untilAtMs,
};

const BODY = z.strictObject({
  expires: EXPIRY.prefault("1h"),
  reason: z.string().max(500).default("").describe("For other operators"),
});

export const LIST_CORDONS = adminPath({
  method: "GET",
  path: "/api/cordons",
  tag: "endpoints",
  summary: "Cordoned endpoints",
  query: listQuery(["key", "since", "until"], "key", {}),
  answers: { 200: { meaning: "A page of them", schema: z.object({ total: TOTAL, cordons: z.array(CORDON), next: NEXT }) } },
  answer: (c, deps, { query }) => {
    const suiting = deps.cordons.list().filter(({ key, reason }) => key.includes(query.q) || reason.includes(query.q));
    const found = listPage(suiting, query, COLUMNS, ({ key }) => key);
    if (found === null) return badAfter(c);
    return c.json({ total: found.total, cordons: found.page.map(cordonView), next: found.next });
  },
});

export const SET_CORDON = adminPath({
  method: "POST",
  path: "/api/endpoints/:key/cordon",
  action: "cordon",
  tag: "endpoints",
  summary: "Send an endpoint no new requests for a while; answers when it is in force in every worker",
  params: OF_ENDPOINT,
  body: BODY,
  answers: {
    200: { meaning: "The cordon; one that there was has a new end", schema: CORDON },
    404: NO_ENDPOINT,
    409: { meaning: "There are 1000 cordons already" },
  },
  answer: setCordon,
});

export const CLEAR_CORDON = adminPath({
  method: "DELETE",
  path: "/api/endpoints/:key/cordon",
  action: "uncordon",
  tag: "endpoints",
  summary: "Send an endpoint requests again; fine also where it is not cordoned",
  params: OF_ENDPOINT,
  answers: {
    200: {
      meaning: "It is not cordoned",
      schema: z.object({ key: z.string(), cleared: z.boolean().describe("There was a cordon") }),
    },
    404: NO_ENDPOINT,
  },
  answer: async (c, deps, { params: { key } }) => {
    if (!isKnown(key, deps)) return unknownEndpoint(c, key);
    return c.json({ key, cleared: await deps.cordons.clear(key) });
  },
});

async function setCordon(
  c: AdminContext,
  deps: AdminDeps,
  { params: { key }, body }: Given<z.output<typeof OF_ENDPOINT>, unknown, z.output<typeof BODY>>,
): Promise<Response> {
  if (!isKnown(key, deps)) return unknownEndpoint(c, key);
  const cordon = await deps.cordons.set(key, { forMs: body.expires, reason: body.reason, by: clientOf(c) });
  return cordon === null ? problem(c, 409, "too_many", "There are 1000 cordons already") : c.json(cordonView(cordon));
}

export function cordonView({ key, sinceAtMs, untilAtMs, reason, by }: Cordon): z.output<typeof CORDON> {
  return { key, since: timeText(sinceAtMs), until: timeText(untilAtMs), reason, by };
}

/** One that has left the table may still be cordoned. */
export function isKnown(key: string, { endpoints, cordons }: AdminDeps): boolean {
  return endpoints.find(key) !== undefined || cordons.find(key) !== undefined;
}

export function unknownEndpoint(c: AdminContext, key: string): Response {
  const hint = /^(vm|region)\//.test(key) ? "/api/endpoints lists those in use" : `Its kind is missing, as in vm/${key}`;
  return problem(c, 404, "no_endpoint", `No route leads to an endpoint ${JSON.stringify(key)}. ${hint}`);
}
