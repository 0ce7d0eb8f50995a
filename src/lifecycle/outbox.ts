/*  What a worker tells operators of single exchanges: gathered, and sent a few times a second, so that a storm of errors costs little.
 *
 *  A control plane that stands still reads nothing, and what it is sent meanwhile fills the worker's memory. So only a few messages leave
 *  before it is heard again; what does not fit until then is counted.
 */
import type { ExchangeReport } from "../observation/exchange-report.ts";
import { type Blame, type BlameCounts, noBlames } from "../observation/proxy-error.ts";
import type { TracedExchange } from "../observation/tracing.ts";
import type { Seen } from "./worker-channel.ts";

/** A live view need not be faster. */
const EVERY_MS = 250;
/** Of each blame: scanners make as many errors as they like, and must not push out those that matter. */
const MOST_ERRORS: Readonly<BlameCounts> = { client: 20, vm: 50, region: 50, edge: 50, database: 50 };
const MOST_TRACED = 500;
/** Of targets, on which clients spend what they like; of errors and of what is traced. */
const MOST_CHARS = 512 * 1024;
/** Messages that leave without anything being heard; the control plane speaks once a second. */
const CREDIT = 20;

export class Outbox {
  readonly #send: (seen: Seen) => void;
  #errors: ExchangeReport[] = [];
  #errorCounts: BlameCounts = noBlames();
  #errorChars = 0;
  #errorsLost: BlameCounts = noBlames();
  #traced: TracedExchange[] = [];
  #tracedChars = 0;
  #spansLost = 0;
  #credit = CREDIT;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(send: (seen: Seen) => void) {
    this.#send = send;
  }

  /** Whether one more would be sent; otherwise it is only counted. */
  wantsError(blame: Blame): boolean {
    if (this.#errorCounts[blame] < MOST_ERRORS[blame] && this.#errorChars < MOST_CHARS) return true;
    this.#errorsLost[blame]++;
    return false;
  }

  /** `spans`: how many would be lost. */
  wantsTraced(spans: number): boolean {
    if (this.#traced.length < MOST_TRACED && this.#tracedChars < MOST_CHARS) return true;
    this.#spansLost += spans;
    return false;
  }

  error(report: ExchangeReport): void {
    this.#errors.push(report);
    if (report.blame !== null) this.#errorCounts[report.blame]++;
    this.#errorChars += report.target.length;
    this.#schedule();
  }

  traced(exchange: TracedExchange): void {
    this.#traced.push(exchange);
    this.#tracedChars += exchange.report.target.length;
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
    this.#errorCounts = noBlames();
    this.#errorChars = 0;
    this.#errorsLost = noBlames();
    this.#traced = [];
    this.#tracedChars = 0;
    this.#spansLost = 0;
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
