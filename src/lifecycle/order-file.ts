/** What operators have ordered of routes and services, in the state folder. */
import { join } from "node:path";
import { z } from "zod";
import type { PolicyOrder } from "../table/policy-order.ts";
import { KeptFile, MOMENT, MOST_REASON } from "./kept-file.ts";

export const MOST_ORDERS = 1000;

const ORDER = z.object({
  kind: z.enum(["route", "service"]),
  name: z.string().max(500),
  maintenance: z.object({
    enabled: z.boolean(),
    service: z.string().nullable(),
    answer: z.object({
      status: z.int().min(200).max(599),
      body: z.string(),
      headers: z.array(z.tuple([z.string(), z.string()])),
    }),
  }).nullable(),
  drain: z.object({ startAtMs: MOMENT, overMs: MOMENT }).nullable(),
  sinceAtMs: MOMENT,
  untilAtMs: MOMENT.nullable(),
  reason: z.string().max(MOST_REASON),
  by: z.string().max(100),
});

/** Each region of one machine has its own. */
export function orderFile(folder: string, regionId: string): KeptFile<PolicyOrder> {
  return new KeptFile<PolicyOrder>(join(folder, `policy-orders-${regionId}.json`), "orders", ORDER, MOST_ORDERS);
}
