/*  The last good policies in the state folder: the text of the routes file and the rows of `route_policies`, as they were written, so that
 *  any later version can read them. Written whole and swapped in. At a start they stand in for a routes file that is wrong, and for a
 *  database that is away.
 *
 *  Nothing that fails here is more than a warning: traffic does not need the disk.
 */
import { createHash } from "node:crypto";
import { constants } from "node:fs";
import { mkdir, open, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { z } from "zod";
import type { Log } from "../observation/log.ts";
import { OneAtATime } from "../runtime/one-at-a-time.ts";
import type { CancelTimer, Timers } from "../runtime/timers.ts";
import type { PolicyRow } from "./policy-table.ts";

export interface SavedPolicies {
  /** Of the database; null: it has not been read. */
  readonly rows: readonly PolicyRow[] | null;
  /** null: there is none. */
  readonly file: { readonly path: string; readonly text: string } | null;
}

const NOTHING: SavedPolicies = { rows: null, file: null };
const MOST_BYTES = 1024 * 1024 * 1024;
/** Changes seldom come alone. */
const GATHER_MS = 1000;

const CONTENT = z.object({
  version: z.literal(1),
  digest: z.string(),
  rows: z.array(z.tuple([z.string(), z.string()])).nullable(),
  file: z.object({ path: z.string(), text: z.string() }).nullable(),
});

export class LastGoodPolicies {
  readonly path: string;
  readonly #folder: string;
  readonly #log: Log | null;
  readonly #timers: Timers;
  readonly #writings: OneAtATime = new OneAtATime(() => this.#write());
  #saved: SavedPolicies = NOTHING;
  #written: SavedPolicies = NOTHING;
  #cancel: CancelTimer | null = null;
  #retired = false;
  #failed = false;

  /** Each edge of one machine has its own. */
  constructor(
    folder: string,
    { regionId, regionPort }: { readonly regionId: string; readonly regionPort: number },
    timers: Timers,
    log: Log | null = null,
  ) {
    this.#folder = folder;
    this.path = join(folder, `policies-${regionId}-${regionPort}.json`);
    this.#log = log;
    this.#timers = timers;
  }

  /** Also what is kept from now on, until somebody knows better. Nothing where there is none, or what is there is not to be believed. */
  async read(): Promise<SavedPolicies> {
    try {
      const saved = await readSaved(this.path);
      if (saved === null) return NOTHING;
      this.#saved = this.#written = saved;
      return saved;
    } catch (error) {
      this.#log?.warn("cannot use the last good policies", { path: this.path, error: (error as Error).message });
      return NOTHING;
    }
  }

  keep(news: Partial<SavedPolicies>): void {
    if (news.rows?.length === 0 && (this.#saved.rows ?? []).length === 0) return; // most have none: no file for that
    this.#saved = { ...this.#saved, ...news };
    if (this.#retired || this.#isWritten || this.#cancel !== null) return;
    this.#cancel = this.#timers.after(GATHER_MS, () => {
      this.#cancel = null;
      void this.#writings.run();
    });
  }

  /** A successor serves: the file is its own now. */
  retire(): void {
    this.#retired = true;
  }

  async close(): Promise<void> {
    this.#cancel?.();
    if (!this.#retired && !this.#isWritten) await this.#writings.run();
    await this.#writings.running;
  }

  get #isWritten(): boolean {
    return this.#saved.rows === this.#written.rows && this.#saved.file?.text === this.#written.file?.text &&
      this.#saved.file?.path === this.#written.file?.path;
  }

  async #write(): Promise<void> {
    const saved = this.#saved;
    try {
      await writeSaved(this.#folder, this.path, saved);
      this.#written = saved;
      this.#failed = false;
    } catch (error) {
      if (!this.#failed) {
        this.#log?.warn("cannot write the last good policies", { path: this.path, error: (error as Error).message });
      }
      this.#failed = true;
    }
  }
}

/** null: there is none. Rejects when it is not to be believed. */
async function readSaved(path: string): Promise<SavedPolicies | null> {
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK).catch((error: { code?: unknown }) => {
    if (error.code === "ENOENT") return null;
    throw error;
  });
  if (file === null) return null;
  try {
    const stat = await file.stat();
    if (!stat.isFile() || stat.size > MOST_BYTES) throw new Error("it is no file of policies");
    const parsed = CONTENT.safeParse(JSON.parse(await file.readFile("utf8")));
    if (!parsed.success) throw new Error("it is no file of policies");
    const { digest, rows, file: text } = parsed.data;
    if (digest !== digestOf(rows, text)) throw new Error("it is damaged");
    return { rows: rows?.map(([domain, text]) => ({ domain, text })) ?? null, file: text };
  } finally {
    await file.close();
  }
}

async function writeSaved(folder: string, path: string, { rows, file: text }: SavedPolicies): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const pairs = rows?.map(({ domain, text }): [string, string] => [domain, text]) ?? null;
  const temporary = `${path}.${process.pid}.tmp`;
  try {
    const file = await open(temporary, "w", 0o600);
    try {
      await file.writeFile(JSON.stringify({ version: 1, digest: digestOf(pairs, text), rows: pairs, file: text }));
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => {});
    throw error;
  }
}

function digestOf(rows: readonly (readonly [string, string])[] | null, file: SavedPolicies["file"]): string {
  return createHash("sha256").update(JSON.stringify([rows, file])).digest("base64");
}
