/*  Sampled exchanges on their way to a collector: gathered, sent in batches, one at a time. What a slow collector does not take is lost
 *  and counted; nothing waits for it but the end of the process, and that only for a moment.
 *
 *  Whoever speaks to collectors is loaded when the first exporter is made: a process without one never evaluates OpenTelemetry.
 */
import type { Log } from "../observation/log.ts";
import { spanCount, type TracedExchange } from "../observation/tracing.ts";
import { type CancelTimer, systemTimers, type Timers } from "../runtime/timers.ts";
import type { Settings } from "./settings.ts";
import { tracesUrl } from "./trace-settings.ts";

/** Takes batches to where they go. */
export interface SpanSink {
  /** Rejects with the reason when the batch is lost. */
  send(batch: readonly TracedExchange[]): Promise<void>;
  close(): Promise<void>;
}

export interface TraceExporterOptions {
  readonly open: () => Promise<SpanSink>;
  /** After this a batch counts as lost, whatever the sink says. */
  readonly timeoutMs: number;
  readonly log: Log;
  readonly timers: Timers;
}

export interface SpanFigures {
  readonly exported: number;
  readonly lost: number;
}

/** Exchanges per batch. */
const BATCH = 256;
const MOST_WAITING = 4096;
const EVERY_MS = 1000;
/** How often the log tells of lost spans. */
const COMPLAINT_MS = 60_000;
/** What a sink may take beyond its own timeout. */
const MARGIN_MS = 1000;

export class TraceExporter {
  readonly #options: TraceExporterOptions;
  readonly #sink: Promise<SpanSink>;
  #waiting: TracedExchange[] = [];
  #sending: Promise<void> | null = null;
  #cancelTimer: CancelTimer | null = null;
  #exported = 0;
  #lost = 0;
  /** Since the log was told. */
  #lostSilently = 0;
  #complainedAtMs = -Infinity;

  constructor(options: TraceExporterOptions) {
    this.#options = options;
    this.#sink = options.open();
    this.#sink.catch((error: Error) => options.log.error("cannot export spans", { error: error.message }));
  }

  get figures(): SpanFigures {
    return { exported: this.#exported, lost: this.#lost };
  }

  /** `lost`: spans that did not even get here. */
  add(exchanges: readonly TracedExchange[], lost: number): void {
    const free = Math.max(0, MOST_WAITING - this.#waiting.length);
    this.#waiting.push(...exchanges.slice(0, free));
    const dropped = lost + spansIn(exchanges.slice(free));
    if (dropped > 0) this.#lose(dropped, "spans come faster than the collector takes them");
    if (this.#waiting.length >= BATCH) this.#send();
    else if (this.#waiting.length > 0) {
      this.#cancelTimer ??= this.#options.timers.after(EVERY_MS, () => {
        this.#cancelTimer = null;
        this.#send();
      });
    }
  }

  /** Sends what there is; resolves when it is sent, or after `withinMs`, when the rest is lost. */
  async close(withinMs: number): Promise<void> {
    const over = Promise.withResolvers<void>();
    const cancel = this.#options.timers.after(withinMs, over.resolve);
    this.#send();
    const emptied = (async () => {
      while (this.#sending !== null) await this.#sending;
    })();
    await Promise.race([emptied, over.promise]);
    cancel();
    this.#cancelTimer?.();
    const left = spansIn(this.#waiting);
    this.#waiting = [];
    if (left > 0) this.#lose(left, "the proxy has stopped");
    void this.#sink.then((sink) => sink.close()).catch(() => {});
  }

  #send(): void {
    if (this.#sending !== null || this.#waiting.length === 0) return;
    const batch = this.#waiting.splice(0, BATCH);
    this.#sending = this.#deliver(batch).then(
      () => void (this.#exported += spansIn(batch)),
      (error: Error) => this.#lose(spansIn(batch), error.message),
    ).then(() => {
      this.#sending = null;
      this.#send();
    });
  }

  async #deliver(batch: readonly TracedExchange[]): Promise<void> {
    const { timers, timeoutMs } = this.#options;
    const late = Promise.withResolvers<never>();
    const cancel = timers.after(timeoutMs + MARGIN_MS, () => late.reject(new Error("The collector takes too long")));
    try {
      await Promise.race([this.#sink.then((sink) => sink.send(batch)), late.promise]);
    } finally {
      cancel();
    }
  }

  #lose(spans: number, reason: string): void {
    this.#lost += spans;
    this.#lostSilently += spans;
    const nowMs = this.#options.timers.nowMs();
    if (nowMs - this.#complainedAtMs < COMPLAINT_MS) return;
    this.#complainedAtMs = nowMs;
    this.#options.log.warn("spans are lost", { spans: this.#lostSilently, reason });
    this.#lostSilently = 0;
  }
}

function spansIn(exchanges: readonly TracedExchange[]): number {
  return exchanges.reduce((sum, { report }) => sum + spanCount(report), 0);
}

/** null where spans go nowhere. */
export function traceExporter(settings: Settings, log: Log): TraceExporter | null {
  const url = tracesUrl(settings);
  if (url === null) return null;
  const open = async () => (await import("./otlp-sink.ts")).openCollector(url, settings);
  return new TraceExporter({ open, timeoutMs: settings.otlpTimeoutMs, log, timers: systemTimers });
}
