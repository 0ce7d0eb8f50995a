/** The cordons in the state folder. */
import { join } from "node:path";
import { z } from "zod";
import type { Cordon } from "../observation/cordon.ts";
import { KeptFile, MOMENT, MOST_REASON } from "./kept-file.ts";

/** Nobody steers more by hand. */
export const MOST_CORDONS = 1000;

const CORDON = z.object({
  /** With the name of a service behind the address. */
  key: z.string().max(500),
  sinceAtMs: MOMENT,
  untilAtMs: MOMENT,
  reason: z.string().max(MOST_REASON),
  by: z.string().max(100),
});

/** Each region of one machine has its own. */
export function cordonFile(folder: string, regionId: string): KeptFile<Cordon> {
  return new KeptFile(join(folder, `cordons-${regionId}.json`), "cordons", CORDON, MOST_CORDONS);
}
