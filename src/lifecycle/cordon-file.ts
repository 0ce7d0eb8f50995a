/** The cordons in the state folder. */
import { join } from "node:path";
import { z } from "zod";
import type { Cordon } from "../observation/cordon.ts";
import { KeptFile } from "./kept-file.ts";

/** Nobody steers more by hand. */
export const MOST_CORDONS = 1000;
export const MOST_REASON = 500;

/** What a date can be: another number would have no text in any answer. */
export const MOMENT = z.number().min(0).max(8.64e15);

const FILE = z.object({
  version: z.literal(1),
  cordons: z.array(z.object({
    /** With the name of a service behind the address. */
    key: z.string().max(500),
    sinceAtMs: MOMENT,
    untilAtMs: MOMENT,
    reason: z.string().max(MOST_REASON),
    by: z.string().max(100),
  })).max(MOST_CORDONS),
});

export class CordonFile {
  readonly path: string;
  readonly #file: KeptFile<z.output<typeof FILE>>;

  /** Each region of one machine has its own. */
  constructor(folder: string, regionId: string) {
    this.path = join(folder, `cordons-${regionId}.json`);
    this.#file = new KeptFile(this.path, FILE, "cordons");
  }

  /** Empty where there is none. Rejects when it cannot be read or is none of ours. */
  async read(): Promise<readonly Cordon[]> {
    return (await this.#file.read())?.cordons ?? [];
  }

  write(cordons: readonly Cordon[]): Promise<void> {
    return this.#file.write({ version: 1, cordons: [...cordons] });
  }
}
