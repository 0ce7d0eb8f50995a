/** What operators have ordered of routes and services, in the state folder. */
import { join } from "node:path";
import { z } from "zod";
import type { PolicyOrder } from "../table/policy-order.ts";
import { MOMENT, MOST_REASON } from "./cordon-file.ts";
import { KeptFile } from "./kept-file.ts";

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
const FILE = z.object({ version: z.literal(1), orders: z.array(ORDER).max(MOST_ORDERS) });

export class OrderFile {
  readonly path: string;
  readonly #file: KeptFile<z.output<typeof FILE>>;

  /** Each region of one machine has its own. */
  constructor(folder: string, regionId: string) {
    this.path = join(folder, `policy-orders-${regionId}.json`);
    this.#file = new KeptFile(this.path, FILE, "policy orders");
  }

  /** Empty where there is none. Rejects when it cannot be read or is none of ours. */
  async read(): Promise<readonly PolicyOrder[]> {
    return (await this.#file.read())?.orders ?? [];
  }

  write(orders: readonly PolicyOrder[]): Promise<void> {
    return this.#file.write({ version: 1, orders: orders as z.output<typeof FILE>["orders"] });
  }
}
