/*  What a worker tells operators of single exchanges: gathered, and sent a few times a second, so that a storm of errors costs little.
 *
 *  A control plane that stands still reads nothing, and what it is sent meanwhile fills the worker's memory. So only a few messages leave
 *  before it is heard again; what does not fit until then is counted.
 */
import type { ExchangeReport } from "../observation/exchange-report.ts";
import type { TracedExchange } from "../observation/tracing.ts";
import type { Seen } from "./worker-channel.ts";

/** A live view need not be faster. */
const EVERY_MS = 250;
const MOST_ERRORS = 50;
const MOST_TRACED = 500;
/** Of targets, on which clients spend what they like. */
const MOST_CHARS = 512 * 1024;
/** Messages that leave without anything being heard; the control plane speaks once a second. */
const CREDIT = 20;

export class Outbox {
  readonly #send: (seen: Seen) => void;
  #errors: ExchangeReport[] = [];
  #traced: TracedExchange[] = [];
  #errorsLost = 0;
  #spansLost = 0;
  #chars = 0;
  #credit = CREDIT;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(send: (seen: Seen) => void) {
    this.#send = send;
  }

  /** Whether one more would be sent; otherwise it is only counted. */
  wantsError(): boolean {
    if (this.#errors.length < MOST_ERRORS && this.#chars < MOST_CHARS) return true;
    this.#errorsLost++;
    return false;
  }

  /** `spans`: how many would be lost. */
  wantsTraced(spans: number): boolean {
    if (this.#traced.length < MOST_TRACED && this.#chars < MOST_CHARS) return true;
    this.#spansLost += spans;
    return false;
  }

  error(report: ExchangeReport): void {
    this.#errors.push(report);
    this.#chars += report.target.length;
    this.#schedule();
  }

  traced(exchange: TracedExchange): void {
    this.#traced.push(exchange);
    this.#chars += exchange.report.target.length;
    this.#schedule();
  }

  /** The control plane lives, and reads. */
  heard(): void {
    this.#credit = CREDIT;
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
    this.#chars = 0;
    this.#credit--;
    this.#send(seen);
  }

  #schedule(): void {
    if (this.#timer !== undefined) return;
    this.#timer = setTimeout(() => this.#due(), EVERY_MS);
    this.#timer.unref();
  }

  #due(): void {
    this.#timer = undefined;
    if (this.#credit > 0) this.flush();
    else this.#schedule();
  }
}
