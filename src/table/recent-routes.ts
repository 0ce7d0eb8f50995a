/*  The revisions that were in force in the last seconds, and which endpoints any of them leads to.
 *
 *      kept        a revision that was superseded within the last KEPT_MS: the last one, and of others one in KEPT_EVERY_MS
 *      present     the last one
 *
 *      kept 1 ----> kept 2 ----> ... ----> present
 *            changes      changes   changes
 *
 *  A host leads to a service from one revision on to another: that is one use of the service. Uses are counted by going through what
 *  changed from one revision to the next, twice: when the next is there, what is new counts up; when the former is no longer kept, what
 *  has gone counts down. An endpoint without a use is forgotten. A million changes may be gone through, so that is done in slices
 *  (`work`), and lookups never wait for it. What was gone through stays kept, so that each step up has its step down; what is not kept is
 *  gone through as well, since nothing else tells that there was an endpoint.
 */
import { Routes, serviceChanges } from "./routes.ts";
import type { Service } from "./services.ts";

/** How long a request can need what its host led to before. */
export const KEPT_MS = 10_000;
const KEPT_EVERY_MS = 500;

interface Revision {
  readonly routes: Routes;
  /** Infinity: it is the present one. */
  supersededAtMs: number;
  /** What is new in it has been counted, or is being counted. */
  counted: boolean;
}

/** Going through the changes to a revision. 0: to one that is not kept. */
interface Count {
  readonly pieces: Iterator<void>;
  readonly direction: 1 | -1 | 0;
}

/** Changes that count as a piece; in a large table a piece has some hundreds more. */
const PIECE = 256;

export class RecentRoutes {
  #revisions: Revision[] = [];
  /** Not kept, and not gone through yet. */
  #dropped: Count[] = [];
  #count: Count | null = null;
  #countedAtMs = -Infinity;
  readonly #uses: Map<Service, number> = new Map();
  /** How many of the services in use lead to an endpoint. */
  readonly #services: Map<string, number> = new Map();
  /** Endpoints that may not be in use any more. */
  #left: Set<string> = new Set();

  /** The routes come into force. */
  supersede(routes: Routes, nowMs: number): void {
    const revisions = this.#revisions;
    const present = revisions.at(-1);
    if (present !== undefined) present.supersededAtMs = nowMs;
    this.#drop(revisions.length - 2);
    revisions.push({ routes, supersededAtMs: Infinity, counted: false });
  }

  /** Unless it stands for its time. The last one superseded always stays. */
  #drop(place: number): void {
    const revisions = this.#revisions;
    const revision = revisions[place], former = revisions[place - 1];
    if (revision === undefined || former === undefined || revision.counted) return;
    if (revision.supersededAtMs - former.supersededAtMs >= KEPT_EVERY_MS) return;
    revisions.splice(place, 1);
    this.#dropped.push(this.#countOf(former.routes, revision.routes, 0));
  }

  /** What the host led to, other than `now`; the last one first. Not what it led to before it was gone: it may have another owner since. */
  previous(host: string, now: Service | undefined): readonly Service[] {
    const services: Service[] = [];
    for (let i = this.#revisions.length - 2; i >= 0; i--) {
      const service = this.#revisions[i]!.routes.find(host);
      if (service === undefined) break;
      if (service !== now && !services.includes(service)) services.push(service);
    }
    return services;
  }

  /** When there will be work; Infinity: not before the next change. */
  get dueAtMs(): number {
    const revisions = this.#revisions;
    const uncounted = revisions.findIndex(({ counted }) => !counted);
    if (this.#count !== null || this.#dropped.length > 0 || uncounted >= 0 && uncounted < revisions.length - 1) return -Infinity;
    const countAtMs = uncounted < 0 ? Infinity : this.#countedAtMs + KEPT_EVERY_MS;
    return revisions.length === 0 ? Infinity : Math.min(countAtMs, revisions[0]!.supersededAtMs + KEPT_MS);
  }

  /** Goes through some `most` changes, by whole pieces. Answers the keys of endpoints that nothing has led to for a while, as far as they are found. */
  work(nowMs: number, most: number): readonly string[] {
    for (let left = most; left > 0; left -= PIECE) {
      this.#count ??= this.#nextCount(nowMs);
      if (this.#count === null) break;
      if (this.#count.pieces.next().done === true) this.#endCount(this.#count.direction);
    }
    return this.#takeLeft();
  }

  #nextCount(nowMs: number): Count | null {
    const dropped = this.#dropped.shift();
    if (dropped !== undefined) return dropped;
    if (this.dueAtMs > nowMs) return null;
    const revisions = this.#revisions;
    const next = revisions.findIndex(({ counted }) => !counted);
    const first = revisions[0]!;
    if (next < 0) return this.#countOf(first.routes, revisions[1]!.routes, -1);
    const revision = revisions[next]!;
    revision.counted = true;
    if (revision === revisions.at(-1)) this.#countedAtMs = nowMs;
    return this.#countOf(revisions[next - 1]?.routes ?? Routes.none, revision.routes, 1);
  }

  #countOf(before: Routes, after: Routes, direction: 1 | -1 | 0): Count {
    const pieces = serviceChanges(before, after, (was, is) => this.#use(direction < 0 ? was : is, direction));
    return { pieces, direction };
  }

  #endCount(direction: 1 | -1 | 0): void {
    this.#count = null;
    if (direction < 0) this.#revisions.shift();
  }

  #use(service: Service | undefined, direction: 1 | -1 | 0): void {
    if (service === undefined) return;
    if (direction === 0) {
      for (const { key } of service.endpoints) this.#left.add(key);
      return;
    }
    const uses = (this.#uses.get(service) ?? 0) + direction;
    if (uses > 0) this.#uses.set(service, uses);
    else this.#uses.delete(service);
    if (uses !== (direction > 0 ? 1 : 0)) return;
    for (const { key } of service.endpoints) {
      const services = (this.#services.get(key) ?? 0) + direction;
      if (services > 0) this.#services.set(key, services);
      else {
        this.#services.delete(key);
        this.#left.add(key);
      }
    }
  }

  /** Only when all revisions are counted: one that is not might lead there. */
  #takeLeft(): readonly string[] {
    if (this.#left.size === 0 || this.#count !== null || this.#revisions.at(-1)?.counted !== true) return [];
    const keys = [...this.#left].filter((key) => !this.#services.has(key));
    this.#left.clear();
    return keys;
  }
}
