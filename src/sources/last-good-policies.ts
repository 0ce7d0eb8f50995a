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
import type { PolicyRows } from "./policy-table.ts";

export interface SavedPolicies {
  /** Of the database; null: it has not been read. */
  readonly rows: PolicyRows | null;
  /** null: there is none. */
  readonly file: { readonly path: string; readonly text: string } | null;
}

const NOTHING: SavedPolicies = { rows: null, file: null };
const MOST_BYTES = 1024 * 1024 * 1024;
/** Changes seldom come alone. */
const GATHER_MS = 1000;
/** How many times as long as a writing takes the next one waits: the file is written whole, and its rows may be 100,000. */
const GATHER_TIMES = 20;
/** However long a writing took: what is not on the disk is what a start without the database lacks. */
const MOST_GATHER_MS = 60_000;
const CLOSE_MS = 2000;
/** Characters at a time: 0.2 ms. */
const PIECE = 64 * 1024;

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
  #tookMs = 0;

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
    if (news.rows?.size === 0 && (this.#saved.rows?.size ?? 0) === 0) return; // most have none: no file for that
    this.#saved = { ...this.#saved, ...news };
    if (this.#retired || this.#isWritten || this.#cancel !== null) return;
    this.#cancel = this.#timers.after(Math.min(Math.max(GATHER_MS, GATHER_TIMES * this.#tookMs), MOST_GATHER_MS), () => {
      this.#cancel = null;
      void this.#writings.run();
    });
  }

  /** A successor serves: the file is its own now, also if we are about to write it. */
  retire(): void {
    this.#retired = true;
    this.#cancel?.();
    this.#cancel = null;
  }

  /** Resolves within two seconds, also when a call to the disk never returns. */
  async close(): Promise<void> {
    this.#cancel?.();
    this.#cancel = null;
    const { promise: tooLate, resolve } = Promise.withResolvers<void>();
    const cancel = this.#timers.after(CLOSE_MS, () => {
      this.retire();
      resolve();
    });
    await Promise.race([this.#writeLast(), tooLate]);
    cancel();
  }

  async #writeLast(): Promise<void> {
    if (!this.#retired && !this.#isWritten) await this.#writings.run();
    await this.#writings.running;
  }

  get #isWritten(): boolean {
    return this.#saved.rows === this.#written.rows && this.#saved.file?.text === this.#written.file?.text &&
      this.#saved.file?.path === this.#written.file?.path;
  }

  async #write(): Promise<void> {
    const saved = this.#saved;
    const startMs = this.#timers.nowMs();
    try {
      await writeSaved(this.#folder, this.path, saved, () => !this.#retired);
      this.#tookMs = this.#timers.nowMs() - startMs;
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
    return { rows: rows === null ? null : new Map(rows.map(([domain, text]) => [domain, { text }])), file: text };
  } finally {
    await file.close();
  }
}

/** `isOurs`: asked when it is written, which may take a second; whoever else has written meanwhile knows better. */
async function writeSaved(folder: string, path: string, saved: SavedPolicies, isOurs: () => boolean): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const temporary = `${path}.${process.pid}.tmp`;
  try {
    const file = await open(temporary, "w", 0o600);
    try {
      const hash = createHash("sha256").update("[");
      await file.appendFile('{"version":1,"rows":');
      for (const piece of rowsInPieces(saved.rows)) {
        hash.update(piece);
        await file.appendFile(piece);
      }
      const text = JSON.stringify(saved.file);
      const digest = hash.update(`,${text}]`).digest("base64");
      await file.appendFile(`,"file":${text},"digest":"${digest}"}`);
      await file.sync();
    } finally {
      await file.close();
    }
    if (isOurs()) await rename(temporary, path);
    else await rm(temporary);
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => {});
    throw error;
  }
}

/** As JSON, between whose pieces others have their turn. */
function* rowsInPieces(rows: PolicyRows | null): Generator<string> {
  if (rows === null) return yield "null";
  let piece = "[", separator = "";
  for (const [domain, { text }] of rows) {
    piece += separator + JSON.stringify([domain, text]);
    separator = ",";
    if (piece.length < PIECE) continue;
    yield piece;
    piece = "";
  }
  yield `${piece}]`;
}

function digestOf(rows: readonly (readonly [string, string])[] | null, file: SavedPolicies["file"]): string {
  return createHash("sha256").update(JSON.stringify([rows, file])).digest("base64");
}
