/*  Tells when a file on disk has become another one: written anew, renamed over, or reached through a link that leads elsewhere now, as
 *  containers swap their configuration.
 *
 *           the folder reports something, or a second has passed: look
 *   calm ---------------------------------------------------------------> the same: calm
 *    ^                                                                '-> another one: settling
 *    '---- as it was at the last look, or it does not come to rest: told ---'  (looks again every 100 ms)
 *
 *  The reports of the folder only make it quick; what counts is what the path leads to, so that file systems without reports, and
 *  links to other folders, do as well.
 */
import { type FSWatcher, watch } from "node:fs";
import { stat } from "node:fs/promises";
import { dirname } from "node:path";
import type { CancelTimer, Timers } from "../runtime/timers.ts";

export interface FileWatchOptions {
  readonly path: string;
  readonly timers: Timers;
  /** It is another one, and nobody writes any more; also once at the beginning. */
  changed(): void;
}

const POLL_MS = 1000;
/** Busy folders report much that is none of our business. */
const GATHER_MS = 20;
/** Whoever writes it in place may pause. */
const SETTLE_MS = 100;
const MOST_SETTLING = 20;

export class FileWatch {
  readonly #options: FileWatchOptions;
  #watcher: FSWatcher | null = null;
  #cancel: CancelTimer = () => {};
  #dueAtMs = Infinity;
  /** As it was when somebody was told. */
  #told: string | null = null;
  /** As it was at the last look of a settling; null: calm. */
  #settling: string | null = null;
  #looks = 0;
  #closed = false;

  constructor(options: FileWatchOptions) {
    this.#options = options;
  }

  start(): void {
    try {
      this.#watcher = watch(dirname(this.#options.path), { persistent: false }, () => this.#lookIn(GATHER_MS));
      this.#watcher.on("error", () => this.#endReports());
    } catch {
      // there are only the looks, then
    }
    this.#lookIn(GATHER_MS);
  }

  close(): void {
    this.#closed = true;
    this.#cancel();
    this.#endReports();
  }

  #endReports(): void {
    this.#watcher?.close();
    this.#watcher = null;
  }

  /** Not put off by who comes later. */
  #lookIn(delayMs: number): void {
    const { timers } = this.#options;
    const dueAtMs = timers.nowMs() + delayMs;
    if (this.#closed || this.#dueAtMs <= dueAtMs || (this.#settling !== null && delayMs < SETTLE_MS)) return;
    this.#cancel();
    this.#dueAtMs = dueAtMs;
    this.#cancel = timers.after(delayMs, () => void this.#look());
  }

  async #look(): Promise<void> {
    this.#dueAtMs = -Infinity; // none besides this one
    const found = await fingerprint(this.#options.path);
    this.#dueAtMs = Infinity;
    if (this.#closed) return;
    this.#step(found);
    this.#lookIn(this.#settling === null ? POLL_MS : SETTLE_MS);
  }

  #step(found: string): void {
    if (found === this.#told) {
      this.#settling = null;
      return;
    }
    const restless = this.#settling !== null && found !== this.#settling && ++this.#looks < MOST_SETTLING;
    if (this.#settling === null || restless) {
      if (this.#settling === null) this.#looks = 0;
      this.#settling = found;
      return;
    }
    this.#settling = null;
    this.#told = found;
    this.#options.changed();
  }
}

/** Of what the path leads to, or of why it leads nowhere: another reason is to be told, too. */
async function fingerprint(path: string): Promise<string> {
  try {
    const { dev, ino, size, mtimeNs, ctimeNs } = await stat(path, { bigint: true });
    return [dev, ino, size, mtimeNs, ctimeNs].join(" ");
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? "";
  }
}
