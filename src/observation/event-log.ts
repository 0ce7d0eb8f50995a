/** What operators can watch live: changes of the table, verdicts, bad ends, what other operators do. The last ones are kept. */
import type { ExchangeReport } from "./exchange-report.ts";
import { type BlameCounts, BLAMES, noBlames } from "./proxy-error.ts";

export const ENDPOINT_TURNS = ["ejected", "returned", "breaker_open", "breaker_half_open", "breaker_closed"] as const;
export type EndpointTurn = (typeof ENDPOINT_TURNS)[number];

/** Plain JSON. */
export type EdgeEvent =
  | {
    readonly type: "table";
    readonly revision: number;
    readonly routes: number;
    readonly added: number;
    readonly removed: number;
    readonly changed: number;
    readonly reason: string;
  }
  | { readonly type: "source"; readonly state: "failed" | "recovered" | "held" | "released"; readonly problem: string }
  | {
    readonly type: "health";
    /** Of the endpoint. */
    readonly key: string;
    readonly region: string;
    readonly verdict: "unprobed" | "healthy" | "unhealthy";
    readonly reason: string;
  }
  /** What live traffic has made of an endpoint under a policy. */
  /** `key`: of a breaker of a whole service its name. */
  | { readonly type: "endpoint"; readonly key: string; readonly turn: EndpointTurn; readonly reason: string }
  | { readonly type: "error"; readonly exchange: ExchangeReport }
  /** Of the routes file and the policies of domains. `refused`: the file is wrong, and the one before stays in force. */
  | {
    readonly type: "policies";
    readonly state: "changed" | "refused" | "recovered";
    /** In force. */
    readonly revision: number;
    readonly services: number;
    readonly routes: number;
    readonly domains: number;
    /** Empty: none. */
    readonly problem: string;
  }
  | { readonly type: "worker"; readonly worker: number; readonly state: string; readonly reason: string }
  /** An operator has changed something. */
  | {
    readonly type: "audit";
    /** `cordon`, `refresh`, `pin`, `log-level`, `drain`... */
    readonly action: string;
    /** What it was done to; empty: the edge. */
    readonly subject: string;
    readonly details: Readonly<Record<string, unknown>>;
    /** Address, or `unix socket`. */
    readonly by: string;
    readonly succeeded: boolean;
  };

export type EventType = EdgeEvent["type"];

/** Ids count from 1, without gaps, anew in each generation. */
export type StoredEvent = EdgeEvent & { readonly id: number; readonly atMs: number };

export type EventListener = (event: StoredEvent) => void;

/**
 * Of each type, so that a storm of errors does not push out what explains it; of errors by whose doing they were, so that what scanners
 * ask for does not push out what ails a VM.
 */
const KEPT = 1000;
/** Beyond them, before the oldest are let go together. */
const SLACK = 250;

export class EventLog {
  /** Tells ids of this generation from those of others. */
  readonly generation: string;
  readonly #nowMs: () => number;
  readonly #kept: Map<string, StoredEvent[]> = new Map();
  readonly #listeners: Set<EventListener> = new Set();
  readonly #lost: BlameCounts = noBlames();
  #lastId = 0;

  constructor(nowMs: () => number = Date.now) {
    this.#nowMs = nowMs;
    this.generation = Math.round(nowMs()).toString(36);
  }

  get lastId(): number {
    return this.#lastId;
  }

  publish(event: EdgeEvent): void {
    const stored = { ...event, id: ++this.#lastId, atMs: this.#nowMs() };
    const kept = this.#keptWith(event);
    kept.push(stored);
    if (kept.length > KEPT + SLACK) kept.splice(0, kept.length - KEPT);
    for (const listener of this.#listeners) listener(stored);
  }

  /** Errors that did not get here, since too many came at once. */
  lose(counts: Readonly<BlameCounts>): void {
    for (const blame of BLAMES) this.#lost[blame] += counts[blame];
  }

  /** How many, ever. */
  get lost(): Readonly<BlameCounts> {
    return this.#lost;
  }

  /** Of these types, oldest first, those after an id: at most the last 1000 of each type, of errors of each blame. */
  after(id: number, types: readonly EventType[]): StoredEvent[] {
    const rings = [...this.#kept.values()].filter(([first]) => first !== undefined && types.includes(first.type));
    return rings.flatMap((kept) => kept.slice(-KEPT).filter((event) => event.id > id)).sort((a, b) => a.id - b.id);
  }

  /** Answers how to stop listening. Listeners must not throw. */
  subscribe(listener: EventListener): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** Those that it may push out. */
  #keptWith(event: EdgeEvent): StoredEvent[] {
    const ring = event.type === "error" ? `error by ${event.exchange.blame}` : event.type;
    let kept = this.#kept.get(ring);
    if (kept === undefined) this.#kept.set(ring, kept = []);
    return kept;
  }
}
