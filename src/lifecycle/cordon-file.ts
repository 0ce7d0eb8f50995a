/** The cordons in the state folder: written whole and swapped in, so that a power cut leaves the ones before. */
import { constants } from "node:fs";
import { mkdir, open, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { z } from "zod";
import type { Cordon } from "../observation/cordon.ts";

/** Nobody steers more by hand. */
export const MOST_CORDONS = 1000;
export const MOST_REASON = 500;
const MOST_BYTES = 2 * 1024 * 1024;

/** What a date can be: another number would have no text in any answer. */
const MOMENT = z.number().min(0).max(8.64e15);

const FILE = z.object({
  version: z.literal(1),
  cordons: z.array(z.object({
    key: z.string().max(100),
    sinceAtMs: MOMENT,
    untilAtMs: MOMENT,
    reason: z.string().max(MOST_REASON),
    by: z.string().max(100),
  })).max(MOST_CORDONS),
});

export class CordonFile {
  readonly path: string;
  readonly #folder: string;

  /** Each region of one machine has its own. */
  constructor(folder: string, regionId: string) {
    this.#folder = folder;
    this.path = join(folder, `cordons-${regionId}.json`);
  }

  /** Empty where there is none. Rejects when it cannot be read or is none of ours. */
  async read(): Promise<readonly Cordon[]> {
    const file = await open(this.path, constants.O_RDONLY | constants.O_NONBLOCK).catch((error: { code?: unknown }) => {
      if (error.code === "ENOENT") return null;
      throw error;
    });
    if (file === null) return [];
    try {
      const stat = await file.stat();
      if (!stat.isFile() || stat.size > MOST_BYTES) throw new Error("it is no file of cordons");
      const parsed = FILE.safeParse(JSON.parse(await file.readFile("utf8")));
      if (!parsed.success) throw new Error(`it is no file of cordons: ${parsed.error.issues[0]?.message ?? ""}`);
      return parsed.data.cordons;
    } finally {
      await file.close();
    }
  }

  async write(cordons: readonly Cordon[]): Promise<void> {
    await mkdir(this.#folder, { recursive: true, mode: 0o700 });
    const temporary = `${this.path}.${process.pid}.tmp`;
    try {
      const file = await open(temporary, "w", 0o600);
      try {
        await file.writeFile(JSON.stringify({ version: 1, cordons }));
        await file.sync();
      } finally {
        await file.close();
      }
      await rename(temporary, this.path);
    } catch (error) {
      await rm(temporary, { force: true }).catch(() => {});
      throw error;
    }
  }
}
