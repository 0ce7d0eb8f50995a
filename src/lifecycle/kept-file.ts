/** What operators have decided, as a file of the state folder: written whole and swapped in, so that a power cut leaves the one before. */
import { constants } from "node:fs";
import { mkdir, open, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import process from "node:process";
import type { z } from "zod";

const MOST_BYTES = 2 * 1024 * 1024;

export class KeptFile<Content> {
  readonly path: string;
  readonly #schema: z.ZodType<Content>;
  /** `cordons`, for people. */
  readonly #what: string;

  constructor(path: string, schema: z.ZodType<Content>, what: string) {
    this.path = path;
    this.#schema = schema;
    this.#what = what;
  }

  /** Null where there is none. Rejects when it cannot be read or is none of ours. */
  async read(): Promise<Content | null> {
    const file = await open(this.path, constants.O_RDONLY | constants.O_NONBLOCK).catch((error: { code?: unknown }) => {
      if (error.code === "ENOENT") return null;
      throw error;
    });
    if (file === null) return null;
    try {
      const stat = await file.stat();
      if (!stat.isFile() || stat.size > MOST_BYTES) throw new Error(`it is no file of ${this.#what}`);
      const parsed = this.#schema.safeParse(JSON.parse(await file.readFile("utf8")));
      if (!parsed.success) throw new Error(`it is no file of ${this.#what}: ${parsed.error.issues[0]?.message ?? ""}`);
      return parsed.data;
    } finally {
      await file.close();
    }
  }

  async write(content: Content): Promise<void> {
    await mkdir(dirname(this.path), { recursive: true, mode: 0o700 });
    const temporary = `${this.path}.${process.pid}.tmp`;
    try {
      const file = await open(temporary, "w", 0o600);
      try {
        await file.writeFile(JSON.stringify(content));
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
