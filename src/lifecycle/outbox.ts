/** What a worker tells operators of single exchanges: gathered, and sent a few times a second, so that a storm of errors costs little. */
import type { ExchangeReport } from "../observation/exchange-report.ts";
import type { TracedExchange } from "../observation/tracing.ts";
import type { Seen } from "./worker-channel.ts";

/** A live view need not be faster. */
const EVERY_MS = 250;
const MOST_ERRORS = 50;
const MOST_TRACED = 500;

export class Outbox {
  readonly #send: (seen: Seen) => void;
  #errors: ExchangeReport[] = [];
  #traced: TracedExchange[] = [];
  #errorsLost = 0;
  #spansLost = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(send: (seen: Seen) => void) {
    this.#send = send;
  }

  /** Whether one more would be sent; otherwise it is only counted. */
  wantsError(): boolean {
    if (this.#errors.length < MOST_ERRORS) return true;
    this.#errorsLost++;
    return false;
  }

  /** `spans`: how many would be lost. */
  wantsTraced(spans: number): boolean {
    if (this.#traced.length < MOST_TRACED) return true;
    this.#spansLost += spans;
    return false;
  }

  error(report: ExchangeReport): void {
    this.#errors.push(report);
    this.#schedule();
  }

  traced(exchange: TracedExchange): void {
    this.#traced.push(exchange);
    this.#schedule();
  }

  /** Sends what there is, now. */
  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#errors.length + this.#traced.length === 0) return;
    const seen: Seen = {
      errors: this.#errors,
      traced: this.#traced,
      errorsLost: this.#errorsLost,
      spansLost: this.#spansLost,
    };
    this.#errors = [];
    this.#traced = [];
    this.#errorsLost = 0;
    this.#spansLost = 0;
    this.#send(seen);
  }

  #schedule(): void {
    if (this.#timer !== undefined) return;
    this.#timer = setTimeout(() => this.flush(), EVERY_MS);
    this.#timer.unref();
  }
}
