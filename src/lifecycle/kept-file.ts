/** A list of what operators have decided, as a file of the state folder: written whole and swapped in, so that a power cut leaves the one before. */
import { constants } from "node:fs";
import { mkdir, open, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import process from "node:process";
import { z } from "zod";

const MOST_BYTES = 2 * 1024 * 1024;
/** What an operator says of a decision. */
export const MOST_REASON = 500;
/** What a date can be: another number would have no text in any answer. */
export const MOMENT = z.number().min(0).max(8.64e15);

export class KeptFile<Order> {
  readonly path: string;
  /** `cordons`, for people and in the file. */
  readonly #name: string;
  readonly #schema: z.ZodType<readonly Order[]>;

  constructor(path: string, name: string, order: z.ZodType<Order>, most: number) {
    this.path = path;
    this.#name = name;
    this.#schema = z.object({ version: z.literal(1), [name]: z.array(order).max(most) }).transform((file) => file[name] as Order[]);
  }

  /** Empty where there is none. Rejects when it cannot be read or is none of ours. */
  async read(): Promise<readonly Order[]> {
    const file = await open(this.path, constants.O_RDONLY | constants.O_NONBLOCK).catch((error: { code?: unknown }) => {
      if (error.code === "ENOENT") return null;
      throw error;
    });
    if (file === null) return [];
    try {
      const stat = await file.stat();
      if (!stat.isFile() || stat.size > MOST_BYTES) throw new Error(`it is no file of ${this.#name}`);
      const parsed = this.#schema.safeParse(JSON.parse(await file.readFile("utf8")));
      if (!parsed.success) throw new Error(`it is no file of ${this.#name}: ${parsed.error.issues[0]?.message ?? ""}`);
      return parsed.data;
    } finally {
      await file.close();
    }
  }

  async write(orders: readonly Order[]): Promise<void> {
    await mkdir(dirname(this.path), { recursive: true, mode: 0o700 });
    const temporary = `${this.path}.${process.pid}.tmp`;
    try {
      const file = await open(temporary, "w", 0o600);
      try {
        await file.writeFile(JSON.stringify({ version: 1, [this.#name]: orders }));
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
