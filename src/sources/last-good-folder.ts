/*  The folder with the last good table (EDGEPROXY_STATE_DIR): one file for each region and port, which is at any moment the whole
 *  old table or the whole new one. Written beside it under a name of this process's own, brought to the disk, then renamed over it.
 *
 *  Several processes may write here: two generations in a hand-over, two edges on one machine. Whose table is older gives way.
 *  What a writer that was killed leaves behind is removed by whoever writes next, once nobody has touched it for a minute; process ids
 *  would not tell, since containers that share a folder have the same ones.
 *  A file that is refused stays where it is until the next good table is renamed over it.
 */
import { constants, type Stats } from "node:fs";
import { type FileHandle, mkdir, open, readdir, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { later } from "../runtime/later.ts";
import type { Routes } from "../table/routes.ts";
import type { Services } from "../table/services.ts";
import { encodeTable, MOST_FILE_BYTES, PIECE_BYTES, type SavedTable, TableReader } from "./last-good-file.ts";
import { HEAD_BYTES, headerOf, type TableHeader } from "./last-good-format.ts";

/** Where this proxy runs. */
interface Here {
  /** Lower case. */
  readonly regionId: string;
  readonly regionPort: number;
}

/** Untouched for so long, a file that was being written has nobody any more. */
const ABANDONED_MS = 60_000;
/** A file from a time when the clock was wrong must not keep everybody from writing. */
const CLOCK_SLACK_MS = 5 * 60_000;

export class LastGoodFolder {
  readonly path: string;
  readonly #folder: string;
  readonly #here: Here;
  readonly #name: string;
  #writings = 0;

  constructor(folder: string, here: Here) {
    this.#folder = folder;
    this.#here = here;
    this.#name = `routes-${here.regionId}-${here.regionPort}.edgeproxy`;
    this.path = join(folder, this.#name);
  }

  /** null: there is none. A text: why it is not to be believed. Rejects when the disk fails. */
  async read(services: Services, signal?: AbortSignal): Promise<SavedTable | string | null> {
    const file = await openToRead(this.path);
    if (file === null) return null;
    try {
      const { size } = await file.stat();
      if (size > MOST_FILE_BYTES) return `it is larger than any table: ${size} bytes`;
      const reader = new TableReader(size, this.#here, services);
      const buffer = Buffer.allocUnsafe(PIECE_BYTES);
      let seen = 0;
      while (seen <= size) {
        signal?.throwIfAborted();
        const { bytesRead } = await file.read(buffer, 0, PIECE_BYTES, seen);
        if (bytesRead === 0) break;
        reader.push(buffer.subarray(0, bytesRead));
        seen += bytesRead;
        await new Promise<void>(later);
      }
      return await reader.finish();
    } finally {
      await file.close();
    }
  }

  /**
   * Whether it was written: false when somebody else's newer one is there. Rejects when the disk fails or `signal` says so; then the file is
   * as it was. Not twice at once.
   */
  async write(
    header: Omit<TableHeader, "routes" | "region" | "regionPort">,
    routes: Routes,
    signal: AbortSignal,
  ): Promise<boolean> {
    await mkdir(this.#folder, { recursive: true, mode: 0o700 });
    await this.#removeAbandoned();
    if (await this.#isNewer(header)) return false;
    const { regionId: region, regionPort } = this.#here;
    const temporary = `${this.path}.${process.pid}-${crypto.randomUUID().slice(0, 8)}-${++this.#writings}.tmp`;
    const file = await open(temporary, "wx", 0o600);
    try {
      try {
        for (const piece of encodeTable({ ...header, region, regionPort }, routes)) {
          signal.throwIfAborted();
          await writeWhole(file, piece);
          await new Promise<void>(later);
        }
        await file.sync();
      } finally {
        await file.close();
      }
      signal.throwIfAborted();
      if (await this.#isNewer(header)) return false;
      await rename(temporary, this.path);
      await this.#syncFolder();
      return true;
    } finally {
      await rm(temporary, { force: true }).catch(() => {});
    }
  }

  /** Whether the file that is there says more recent things. */
  async #isNewer({ asOfMs, savedAtMs }: Pick<TableHeader, "asOfMs" | "savedAtMs">): Promise<boolean> {
    const there = await this.#header().catch(() => null);
    return there !== null && there.region === this.#here.regionId && there.asOfMs > asOfMs &&
      there.asOfMs < savedAtMs + CLOCK_SLACK_MS;
  }

  async #header(): Promise<TableHeader | null> {
    const file = await openToRead(this.path);
    if (file === null) return null;
    try {
      const { buffer, bytesRead } = await file.read(Buffer.alloc(HEAD_BYTES), 0, HEAD_BYTES, 0);
      return headerOf(buffer.subarray(0, bytesRead));
    } finally {
      await file.close();
    }
  }

  async #removeAbandoned(): Promise<void> {
    for (const name of await readdir(this.#folder)) {
      if (!name.startsWith(`${this.#name}.`) || !name.endsWith(".tmp")) continue;
      const path = join(this.#folder, name);
      const found: Stats | null = await stat(path).catch(() => null);
      if (found !== null && Date.now() - found.mtimeMs > ABANDONED_MS) await rm(path, { force: true }).catch(() => {});
    }
  }

  /** So that the new name survives a power cut. Not every file system can. */
  async #syncFolder(): Promise<void> {
    const folder = await open(this.#folder, constants.O_RDONLY).catch(() => null);
    await folder?.sync().catch(() => {});
    await folder?.close();
  }
}

/** Not blocking: a pipe of that name has no end. null: there is no such file. */
async function openToRead(path: string): Promise<FileHandle | null> {
  try {
    const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
    if ((await file.stat()).isFile()) return file;
    await file.close();
    throw new Error("it is no file");
  } catch (error) {
    if ((error as { code?: unknown }).code === "ENOENT") return null;
    throw error;
  }
}

async function writeWhole(file: FileHandle, piece: Uint8Array): Promise<void> {
  for (let at = 0; at < piece.length;) {
    const { bytesWritten } = await file.write(piece, at, piece.length - at);
    if (bytesWritten === 0) throw new Error("The disk takes nothing more");
    at += bytesWritten;
  }
}
