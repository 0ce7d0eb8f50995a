/** Breakers of services whose policies have them: how they stand, and closing them by hand. */
import { z } from "zod";
import type { BreakerView } from "../upstream/breaker-view.ts";
import { listPage, listQuery, NEXT, TOTAL } from "./listing.ts";
import { adminPath } from "./path.ts";
import { badAfter, problem } from "./problem.ts";

const STATES = ["closed", "open", "half-open"] as const;

const BREAKER = z.object({
  name: z.string().describe("Of the endpoint (`vm/ADDRESS:PORT@SERVICE`), or of the service where there is one for all"),
  service: z.string(),
  state: z.enum(STATES),
  "open_for_ms": z.number().describe("Until trials begin; 0 where it is not open"),
  opened: z.int().describe("How often it has opened"),
  failures: z.int().describe("In a row, while it is closed"),
  trials: z.int().describe("Under way, while it is half-open"),
});

const COLUMNS = {
  name: ({ name }: BreakerView) => name,
  state: ({ state }: BreakerView) => STATES.indexOf(state),
  opened: ({ opened }: BreakerView) => opened,
};

export const LIST_BREAKERS = adminPath({
  method: "GET",
  path: "/api/breakers",
  tag: "endpoints",
  summary: "Breakers of endpoints and services that have had requests",
  query: listQuery(["name", "state", "opened"], "name", { state: z.enum(STATES).optional() }),
  answers: { 200: { meaning: "A page of them", schema: z.object({ total: TOTAL, breakers: z.array(BREAKER), next: NEXT }) } },
  answer: async (c, deps, { query }) => {
    const suiting = (await deps.breakers.list()).filter(({ name, state }) =>
      name.includes(query.q) && state === (query.state ?? state)
    );
    const found = listPage(suiting, query, COLUMNS, ({ name }) => name);
    if (found === null) return badAfter(c);
    return c.json({ total: found.total, breakers: found.page.map(breakerView), next: found.next });
  },
});

export const RESET_BREAKER = adminPath({
  method: "POST",
  path: "/api/breakers/:name/reset",
  action: "reset breaker",
  tag: "endpoints",
  summary: "Close a breaker and forget what it has counted; answers when all workers have",
  params: z.object({ name: z.string().describe("With `/` written %2F and `@` as it is") }),
  answers: {
    200: { meaning: "It is closed", schema: z.object({ name: z.string(), reset: z.literal(true) }) },
    404: { meaning: "No endpoint or service that has had requests has such a breaker" },
  },
  answer: async (c, deps, { params: { name } }) => {
    if (await deps.breakers.reset(name)) return c.json({ name, reset: true });
    return problem(c, 404, "no_breaker", `There is no breaker ${JSON.stringify(name)}. /api/breakers lists them`);
  },
});

function breakerView({ openForMs, ...rest }: BreakerView): z.output<typeof BREAKER> {
  return { ...rest, "open_for_ms": Math.round(openForMs) };
}
