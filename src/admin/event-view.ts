/** What happened, as the live stream and the lists of the admin API write it. */
import { z } from "zod";
import { ENDPOINT_TURNS, type EventType, type StoredEvent } from "../observation/event-log.ts";
import { EXCHANGE, exchangeView } from "./exchange-view.ts";
import { TIME } from "./fields.ts";
import { timeText } from "./time-text.ts";

const STORED = { id: z.int().describe("Counts from 1 in each generation"), time: TIME };

export const AUDIT_ENTRY = z.object({
  ...STORED,
  type: z.literal("audit"),
  action: z.string().describe("`refresh`, `pin`, `cordon`, `log-level`, `drain`..."),
  subject: z.string().describe("What it was done to; empty: the edge"),
  details: z.record(z.string(), z.unknown()),
  by: z.string().describe("Address, or `unix socket`"),
  succeeded: z.boolean(),
});

export const EVENT = z.discriminatedUnion("type", [
  z.object({
    ...STORED,
    type: z.literal("table"),
    revision: z.int(),
    routes: z.int(),
    added: z.int(),
    removed: z.int(),
    changed: z.int(),
    reason: z.string(),
  }),
  z.object({
    ...STORED,
    type: z.literal("source"),
    state: z.enum(["failed", "recovered", "held", "released"]),
    problem: z.string(),
  }),
  z.object({
    ...STORED,
    type: z.literal("health"),
    key: z.string(),
    region: z.string(),
    verdict: z.enum(["unprobed", "healthy", "unhealthy"]),
    reason: z.string(),
  }),
  z.object({ ...STORED, type: z.literal("endpoint"), key: z.string(), turn: z.enum(ENDPOINT_TURNS), reason: z.string() }),
  z.object({ ...STORED, type: z.literal("error"), exchange: EXCHANGE }),
  z.object({ ...STORED, type: z.literal("worker"), worker: z.int(), state: z.string(), reason: z.string() }),
  z.object({
    ...STORED,
    type: z.literal("policies"),
    state: z.enum(["changed", "refused", "recovered"]).describe("`refused`: the file is wrong, and the one before stays in force"),
    revision: z.int().describe("In force"),
    services: z.int(),
    routes: z.int(),
    domains: z.int(),
    problem: z.string(),
  }),
  AUDIT_ENTRY,
]);

export const EVENT_TYPES = [
  "table",
  "source",
  "health",
  "endpoint",
  "error",
  "worker",
  "policies",
  "audit",
] as const satisfies readonly EventType[];

export type EventView = z.output<typeof EVENT>;

export function eventView({ atMs, ...event }: StoredEvent): EventView {
  const time = timeText(atMs);
  return event.type === "error" ? { ...event, time, exchange: exchangeView(event.exchange) } : { ...event, time };
}
