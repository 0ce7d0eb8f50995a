/** Ejection at the door of an endpoint: it counts what attempts meet there, and lets nobody in while the endpoint is out. */
import type { AnswerCode } from "../observation/proxy-error.ts";
import type { EjectionPolicy } from "../table/policy.ts";
import type { Cells, CellTable } from "./cell-table.ts";
import { type Ejection, type EjectionEvent, mayTry, mostEjected, readEjection, step, writeEjection } from "./ejection.ts";
import { endpointsFault, type Guard, type Hindrance, isStalledStream, speaksOfTrouble, type Visit } from "./endpoint-watch.ts";

/** What is news when an endpoint goes out, or comes back. */
export interface Turn {
  readonly key: string;
  readonly turn: "ejected" | "returned";
  /** Why it is out. */
  readonly reason: string;
  /** Of an ejected one: for how long, and how often in a row. */
  readonly forMs: number;
  readonly times: number;
}

export interface EjectionParts {
  readonly cells: CellTable;
  /** The endpoints of its service that are to take requests, itself among them. */
  peers(): readonly { readonly key: string }[];
  /** Nobody else is to take requests. */
  isLone(): boolean;
  /** Whether it fails its checks: as good as ejected. */
  failsChecks(key: string): boolean;
  turned(turn: Turn): void;
  /** It is out. Told again and again. */
  noticed(): void;
  /** Calls back after a while, if the process still lives then. */
  after(delayMs: number, run: () => void): void;
}

export class EjectionGuard implements Guard {
  readonly #key: string;
  readonly #policy: EjectionPolicy;
  readonly #parts: EjectionParts;

  constructor(key: string, policy: EjectionPolicy, parts: EjectionParts) {
    this.#key = key;
    this.#policy = policy;
    this.#parts = parts;
  }

  look(): Extract<Hindrance, "ejected" | "trial"> | null {
    if (!this.#isOut()) return null;
    this.#parts.noticed();
    return mayTry(this.#read(), this.#parts.cells.nowMs()) ? "trial" : "ejected";
  }

  enter(): Visit | null {
    const beganAtMs = this.#parts.cells.nowMs();
    if (this.#isOut()) {
      if (!mayTry(this.#read(), beganAtMs)) return null;
      this.#step({ kind: "tried", atMs: beganAtMs });
    }
    return new EjectionVisit((failure, status) => this.#ended(beganAtMs, failure, status));
  }

  /** How long it has been back; Infinity: it was never out. */
  get returnedForMs(): number {
    const now = this.#read();
    return now.state === "in" && now.returnedAtMs > 0 ? this.#parts.cells.nowMs() - now.returnedAtMs : Infinity;
  }

  /** Notices that its time is over. */
  #isOut(): boolean {
    if (this.#cells()[0] === 0) return false; // the usual case, without an object
    return this.#step({ kind: "looked", atMs: this.#parts.cells.nowMs() }).state === "out";
  }

  /** `status`: of an answer that says of trouble; 0: none. */
  #ended(beganAtMs: number, failure: AnswerCode | null, status: number): void {
    const atMs = this.#parts.cells.nowMs();
    if (failure !== null) {
      if (endpointsFault(failure)) this.#step({ kind: "failed", atMs, mayEject: () => this.#mayEject() }, failure);
    } else if (status > 0) {
      // A lone one's answer is better than ours
      if (!this.#parts.isLone()) {
        this.#step({ kind: "failed", atMs, mayEject: () => this.#mayEject() }, `status ${status}`);
      }
    } else if (this.#isOut()) this.#step({ kind: "succeeded", atMs, beganAtMs }, "a request on trial has succeeded");
  }

  #mayEject(): boolean {
    const { cells } = this.#parts;
    const peers = this.#parts.peers();
    const nowMs = cells.nowMs();
    const out = peers.filter(({ key }) => {
      if (key === this.#key) return false;
      const peer = readEjection(cells.of(nameOf(key)));
      return peer.state === "out" && peer.untilAtMs > nowMs || this.#parts.failsChecks(key);
    });
    return out.length < mostEjected(peers.length, this.#policy.maxShare);
  }

  #step(event: EjectionEvent, reason = "its time is over"): Ejection {
    const before = this.#read();
    const after = step(before, event, this.#policy);
    if (after === before) return before;
    writeEjection(this.#cells(), after);
    if (after.state === "out" && before.state === "in" && !this.#mayEject()) {
      writeEjection(this.#cells(), before); // another worker has put out another one in the same moment
      return before;
    }
    if (after.state !== before.state) this.#tell(after, reason);
    return after;
  }

  #tell(ejection: Ejection, reason: string): void {
    const key = this.#key;
    const { times } = ejection;
    if (ejection.state === "out") this.#parts.noticed();
    if (ejection.state === "in") return this.#parts.turned({ key, turn: "returned", reason, forMs: 0, times });
    const forMs = Math.round(ejection.untilAtMs - ejection.sinceAtMs);
    this.#parts.turned({ key, turn: "ejected", reason, forMs, times });
    this.#parts.after(forMs + 1, () => void this.look()); // or nobody would say that it is back
  }

  #read(): Ejection {
    return readEjection(this.#cells());
  }

  #cells(): Cells {
    return this.#parts.cells.of(nameOf(this.#key));
  }
}

class EjectionVisit implements Visit {
  readonly #ended: (failure: AnswerCode | null, status: number) => void;
  #answered = false;
  #told = false;

  constructor(ended: (failure: AnswerCode | null, status: number) => void) {
    this.#ended = ended;
  }

  answered(status: number): void {
    this.#answered = true;
    if (!speaksOfTrouble(status)) return;
    this.#told = true;
    this.#ended(null, status);
  }

  /** One that was given up says nothing. */
  ended(failure: AnswerCode | null): void {
    if (failure !== null && isStalledStream(failure, this.#answered)) return;
    if (!this.#told && (failure !== null || this.#answered)) this.#ended(failure, 0);
  }
}

function nameOf(key: string): string {
  return `ejection/${key}`;
}
