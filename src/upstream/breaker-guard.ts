/** A breaker at the door of an endpoint, or of all endpoints of a service: it lets in while closed, and on trial while half-open. */
import type { AnswerCode } from "../observation/proxy-error.ts";
import type { BreakerPolicy } from "../table/policy.ts";
import { type Breaker, type BreakerEvent, readBreaker, step, writeBreaker } from "./breaker.ts";
import type { BreakerView } from "./breaker-view.ts";
import type { Cells, CellTable } from "./cell-table.ts";
import { endpointsFault, type Guard, type Hindrance, isStalledStream, speaksOfTrouble, type Visit } from "./endpoint-watch.ts";
import type { JointCount } from "./joint-count.ts";

/** What is news: a breaker has changed its state. `name`: the endpoint's key or the service, whose breaker it is. */
export interface BreakerTurn {
  readonly name: string;
  readonly from: Breaker["state"];
  readonly to: Breaker["state"];
  /** What it was that made it open; empty otherwise. */
  readonly reason: string;
}

export interface BreakerParts {
  readonly cells: CellTable;
  readonly trials: JointCount;
  turned(turn: BreakerTurn): void;
  /** It is not closed. Told again and again. */
  noticed(): void;
}

export class BreakerGuard implements Guard {
  readonly name: string;
  readonly policy: BreakerPolicy;
  readonly #cells: CellTable;
  readonly #trials: JointCount;
  readonly #turned: (turn: BreakerTurn) => void;
  readonly #noticed: () => void;

  /** `trials`: under way, the same count for as long as there are any. */
  constructor(name: string, policy: BreakerPolicy, { cells, trials, turned, noticed }: BreakerParts) {
    this.name = name;
    this.policy = policy;
    this.#cells = cells;
    this.#trials = trials;
    this.#turned = turned;
    this.#noticed = noticed;
  }

  get breaker(): Breaker {
    return readBreaker(this.#numbers());
  }

  look(): Hindrance | null {
    const cells = this.#numbers();
    if (cells[0] === 0) return null; // closed, the usual case, without an object
    const breaker = readBreaker(cells);
    if (breaker.state === "closed") return null;
    this.#noticed();
    if (breaker.state === "open") return this.#cells.nowMs() < breaker.untilMs ? "open" : null;
    return this.#trials.count >= this.policy.halfOpenRequests ? "open" : null;
  }

  enter(): Visit | null {
    const breaker = this.#step({ kind: "asked", atMs: this.#cells.nowMs() });
    if (breaker.state === "open") return null;
    const trial = breaker.state === "half-open";
    if (trial && !this.#trials.take(this.policy.halfOpenRequests)) return null;
    return new BreakerVisit(this, breaker.opened, trial ? this.#trials : null);
  }

  /** Open: nobody is let in now. Half-open: trials are under way, or the next request is one. null: closed. */
  get trouble(): "breaker_open" | "breaker_half_open" | null {
    const { breaker } = this;
    if (breaker.state === "closed") return null;
    return breaker.state === "open" && this.#cells.nowMs() < breaker.untilMs ? "breaker_open" : "breaker_half_open";
  }

  view(service: string): BreakerView {
    const { breaker } = this;
    return {
      name: this.name,
      service,
      state: breaker.state,
      openForMs: breaker.state === "open" ? Math.max(0, breaker.untilMs - this.#cells.nowMs()) : 0,
      opened: breaker.opened,
      failures: breaker.state === "closed" ? breaker.row : 0,
      trials: this.#trials.count,
    };
  }

  reset(): void {
    this.#step({ kind: "reset" });
  }

  /** Of an attempt that began when it had opened so often. */
  result(succeeded: boolean, opened: number, reason: string): void {
    this.#step({ kind: succeeded ? "succeeded" : "failed", atMs: this.#cells.nowMs(), opened }, reason);
  }

  #step(event: BreakerEvent, reason = ""): Breaker {
    const before = this.breaker;
    const after = step(before, event, this.policy);
    if (after === before) return before;
    writeBreaker(this.#numbers(), after);
    if (after.state !== before.state) this.#turned({ name: this.name, from: before.state, to: after.state, reason });
    return after;
  }

  #numbers(): Cells {
    return this.#cells.of(`breaker/${this.name}`);
  }
}

/**
 * An answer in trouble counts at once, a good one when it is complete, since it may still break off; but on trial, too, at once: it may be a
 * stream or a tunnel without an end, which must not keep the next trials out either.
 */
class BreakerVisit implements Visit {
  readonly #guard: BreakerGuard;
  readonly #opened: number;
  /** Where it is under way as a trial. */
  #trials: JointCount | null;
  #answered = false;
  #good = false;

  constructor(guard: BreakerGuard, opened: number, trials: JointCount | null) {
    this.#guard = guard;
    this.#opened = opened;
    this.#trials = trials;
  }

  answered(status: number): void {
    const onTrial = this.#trials !== null;
    this.#answered = true;
    if (speaksOfTrouble(status)) this.#guard.result(false, this.#opened, `status ${status}`);
    else if (!onTrial && status !== 101) this.#good = true;
    else this.#guard.result(true, this.#opened, "");
    this.#endTrial();
  }

  ended(failure: AnswerCode | null): void {
    this.#endTrial();
    if (failure === null) {
      if (this.#good) this.#guard.result(true, this.#opened, "");
    } else if (endpointsFault(failure) && !isStalledStream(failure, this.#answered)) {
      this.#guard.result(false, this.#opened, failure);
    }
  }

  #endTrial(): void {
    this.#trials?.release();
    this.#trials = null;
  }
}
