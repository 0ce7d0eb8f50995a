/** Questions to the workers of a fleet: asked of all at once, answered by those that can, in time. */
import type { CancelTimer, Timers } from "../runtime/timers.ts";
import type { FleetMember } from "./fleet-member.ts";
import type { Answer, Question } from "./worker-channel.ts";

export interface WorkerAnswer<Kind extends Question["kind"] = Question["kind"]> {
  readonly worker: number;
  readonly answer: Extract<Answer, { kind: Kind }>;
}

/** All that serve, the first of them, or the one with this number. */
export type Whom = "all" | "first" | number;

interface Round {
  readonly open: Set<FleetMember>;
  readonly push: (answer: WorkerAnswer) => void;
  readonly cancel: CancelTimer;
  readonly over: () => void;
}

/** A worker that is busy for longer is left out. */
const PATIENCE_MS = 1000;

export class Asking {
  readonly #timers: Timers;
  readonly #rounds: Map<number, Round> = new Map();
  #serial = 0;

  constructor(timers: Timers) {
    this.#timers = timers;
  }

  ask<Kind extends Question["kind"]>(
    members: readonly FleetMember[],
    question: Extract<Question, { kind: Kind }>,
  ): Promise<WorkerAnswer<Kind>[]> {
    const serial = ++this.#serial;
    return new Promise((resolve) => {
      const answers: WorkerAnswer<Kind>[] = [];
      const over = (): void => {
        this.#rounds.get(serial)?.cancel();
        this.#rounds.delete(serial);
        resolve(answers);
      };
      const cancel = this.#timers.after(PATIENCE_MS, over);
      const push = (answer: WorkerAnswer): void => void answers.push(answer as unknown as WorkerAnswer<Kind>); // of the question's kind
      this.#rounds.set(serial, { open: new Set(members), push, cancel, over });
      for (const member of members) member.end.send({ type: "ask", serial, question });
      this.#look(serial);
    });
  }

  answered(member: FleetMember, serial: number, answer: Answer): void {
    const round = this.#rounds.get(serial);
    if (round?.open.delete(member) !== true) return;
    round.push({ worker: member.worker, answer });
    this.#look(serial);
  }

  /** It will not answer any more. */
  gone(member: FleetMember): void {
    for (const [serial, { open }] of [...this.#rounds]) {
      open.delete(member);
      this.#look(serial);
    }
  }

  #look(serial: number): void {
    const round = this.#rounds.get(serial);
    if (round?.open.size === 0) round.over();
  }
}
