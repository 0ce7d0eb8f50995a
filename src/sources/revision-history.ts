/*  The revisions that were served, newest last: when, why, how much changed, and the routes before and after, so that what changed can
 *  be listed and what was can be served again.
 *
 *  The last 20 are always listed, those before them one for each minute, up to a day and 1,000: with a change feed there may be a hundred a
 *  second. The last revision of a minute then stands for all of it: before is what was before the first of them, and what they added,
 *  removed and changed is summed up. One that changed 1,000 hosts or more leaves the one before it alone: that is what may be wanted back.
 *
 *  Routes are references: two revisions share what did not change, so a revision costs what it changed. What memory they hold is bounded by the changes since: once a later revision has
 *  changed too much, the routes of those before it are let go, and they stay as a line. The revision just before the last one is
 *  kept whatever it costs: it is the one that is wanted after a large mistake.
 */
import { changes, type RouteChange, Routes } from "../table/routes.ts";
import { pageOf, type PageWish } from "./host-page.ts";
import type { Tally } from "./served-table.ts";

/** What a revision is told of. */
export interface RevisionRecord {
  readonly revision: number;
  readonly atMs: number;
  /** What made it: `interval`, `change`, `admin`, `pin of 17`. */
  readonly reason: string;
  /** Where its routes come from. */
  readonly source: string;
  readonly tally: Tally;
  readonly before: Routes;
  readonly after: Routes;
}

export interface Revision extends Omit<RevisionRecord, "before" | "after"> {
  readonly routes: number;
  /** How many it stands for: itself and those just before it. */
  readonly revisions: number;
  /** null: let go. */
  readonly before: Routes | null;
  readonly after: Routes | null;
}

/** A page of what a revision changed, in the order of hosts. */
export interface ChangedHosts {
  readonly changes: readonly RouteChange[];
  /** The `after` of the next page. */
  readonly next: string | null;
}

const ALWAYS_LISTED = 20;
const MOST_LISTED = 1000;
const MINUTE_MS = 60_000;
/** A mistake, perhaps. */
const LARGE = 1000;
const LISTED_MS = 24 * 3_600_000;
/** In all revisions whose routes are kept, among the last 20 and beyond: a change holds 0.4 KB in a large revision, 1.4 KB in a small one. */
const MOST_CHANGES = 100_000;
const MOST_OLD_CHANGES = 20_000;

export class RevisionHistory {
  /** Newest last. */
  #revisions: Revision[] = [];

  record(record: RevisionRecord): void {
    this.#revisions.push({ ...record, routes: record.after.size, revisions: 1 });
    this.#thinOut();
    this.#forget(record.atMs);
    this.#letGo();
  }

  /** Newest first: at most `count` of those before a revision. */
  list(count: number, before = Infinity): readonly Revision[] {
    return this.#revisions.filter(({ revision }) => revision < before).slice(-count).reverse();
  }

  find(revision: number): Revision | undefined {
    return this.#revisions.find((each) => each.revision === revision);
  }

  /** What a revision changed, and those it stands for, page by page; null: unknown, or let go. */
  async changedHosts(revision: number, wish: PageWish): Promise<ChangedHosts | null> {
    const { before, after } = this.find(revision) ?? { before: null, after: null };
    if (before === null || after === null) return null;
    const { hosts, next } = await pageOf(changes(before, after), ({ host }) => host, wish);
    return { changes: hosts.map((host) => ({ host, before: before.get(host), after: after.get(host) })), next };
  }

  /** Looks at the one that is no longer among the last. */
  #thinOut(): void {
    const index = this.#revisions.length - 1 - ALWAYS_LISTED;
    const [older, newer] = [this.#revisions[index - 1], this.#revisions[index]];
    if (older === undefined || newer === undefined) return;
    const isSameMinute = Math.floor(older.atMs / MINUTE_MS) === Math.floor(newer.atMs / MINUTE_MS);
    if (isSameMinute && changesOf(newer.tally) < LARGE) this.#revisions.splice(index - 1, 2, merged(older, newer));
  }

  #forget(nowMs: number): void {
    const surplus = this.#revisions.length - ALWAYS_LISTED;
    let old = 0;
    while (old < surplus && (this.#revisions.length - old > MOST_LISTED || nowMs - this.#revisions[old]!.atMs > LISTED_MS)) old++;
    if (old > 0) this.#revisions = this.#revisions.slice(old);
  }

  /** From the newest back: what a revision's routes hold in memory is what has changed since, the last time left aside. */
  #letGo(): void {
    const last = this.#revisions.length - 1;
    let changes = 0;
    for (let i = last; i >= 0; i--) {
      const revision = this.#revisions[i]!;
      if (revision.after === null) return; // and all before it
      const most = last - i < ALWAYS_LISTED ? MOST_CHANGES : MOST_OLD_CHANGES;
      const after = changes <= most ? revision.after : null;
      if (i < last) changes += changesOf(revision.tally);
      const before = changes <= most || revision.before === Routes.none ? revision.before : null;
      if (after !== revision.after || before !== revision.before) this.#revisions[i] = { ...revision, before, after };
    }
  }
}

/** The newer one, which stands for both. */
function merged(older: Revision, newer: Revision): Revision {
  return {
    ...newer,
    revisions: older.revisions + newer.revisions,
    before: older.before,
    tally: {
      added: older.tally.added + newer.tally.added,
      removed: older.tally.removed + newer.tally.removed,
      changed: older.tally.changed + newer.tally.changed,
    },
  };
}

function changesOf({ added, removed, changed }: Tally): number {
  return added + removed + changed;
}
