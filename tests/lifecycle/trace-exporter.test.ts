/** Spans on their way to a collector: batches, losses, the end. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type SpanSink, TraceExporter } from "../../src/lifecycle/trace-exporter.ts";
import { tracesUrl, tracingOf } from "../../src/lifecycle/trace-settings.ts";
import type { TracedExchange } from "../../src/observation/tracing.ts";
import { CollectingLog } from "../fixtures/collecting-log.ts";
import { FakeTimers, settle } from "../fixtures/fake-timers.ts";

const SPANS = { parent: "", server: "1".repeat(16), client: "2".repeat(16) };

/** Of two spans each. */
function exchanges(count: number): TracedExchange[] {
  const report = { upstream: "10.0.0.5:80" } as TracedExchange["report"]; // what of a report is looked at
  return Array.from({ length: count }, () => ({ report, spans: SPANS }));
}

class Stage {
  readonly timers: FakeTimers = new FakeTimers();
  readonly log: CollectingLog = new CollectingLog();
  readonly sizes: number[] = [];
  /** Settles the batch under way. */
  answer: { resolve: () => void; reject: (error: Error) => void } | null = null;
  closed = false;
  readonly exporter: TraceExporter;

  constructor() {
    const sink: SpanSink = {
      send: (batch) => {
        this.sizes.push(batch.length);
        const { promise, resolve, reject } = Promise.withResolvers<void>();
        this.answer = { resolve, reject };
        return promise;
      },
      close: () => {
        this.closed = true;
        return Promise.resolve();
      },
    };
    this.exporter = new TraceExporter({ open: () => Promise.resolve(sink), timeoutMs: 10_000, log: this.log, timers: this.timers });
  }
}

test("TraceExporter gathers for a second, or until a batch is full, and sends one batch at a time", async () => {
  const { exporter, timers, sizes, ...stage } = new Stage();
  void stage;
  exporter.add(exchanges(2), 0);
  exporter.add(exchanges(1), 0);
  await timers.advance(999);
  assert.deepEqual(sizes, []);
  await timers.advance(1);
  assert.deepEqual(sizes, [3]);
  exporter.add(exchanges(600), 0);
  await settle();
  assert.deepEqual(sizes, [3], "the first is still on its way");
});

test("TraceExporter goes on with the next batch when one has arrived", async () => {
  const stage = new Stage();
  stage.exporter.add(exchanges(600), 0);
  for (const expected of [[256], [256, 256], [256, 256, 88]]) {
    await settle();
    assert.deepEqual(stage.sizes, expected);
    stage.answer?.resolve();
  }
  await settle();
  assert.deepEqual(stage.exporter.figures, { exported: 1200, lost: 0 });
  assert.deepEqual(stage.log.take(), []);
});

test("TraceExporter counts what is lost, and tells of it once a minute", async () => {
  const stage = new Stage();
  const fail = async (): Promise<void> => {
    stage.exporter.add(exchanges(256), 0);
    await settle();
    stage.answer?.reject(new Error("connect ECONNREFUSED"));
    await settle();
  };
  await fail();
  await fail();
  assert.deepEqual(stage.exporter.figures, { exported: 0, lost: 1024 });
  assert.deepEqual(stage.log.lines.map(({ msg, fields }) => [msg, fields]), [
    ["spans are lost", { spans: 512, reason: "connect ECONNREFUSED" }],
  ]);
  await stage.timers.advance(60_000);
  await fail();
  assert.deepEqual(stage.log.lines.at(-1)?.fields, { spans: 1024, reason: "connect ECONNREFUSED" });
});

test("TraceExporter takes no more memory than for a few thousand exchanges while a collector is slow", async () => {
  const stage = new Stage();
  stage.exporter.add(exchanges(256), 0);
  await settle();
  for (let i = 0; i < 10; i++) stage.exporter.add(exchanges(500), 0);
  assert.equal(stage.exporter.figures.lost, 2 * (5000 - 4096));
  stage.exporter.add([], 7);
  assert.equal(stage.exporter.figures.lost, 2 * (5000 - 4096) + 7, "what workers have lost counts, too");
  await stage.timers.advance(11_000);
  assert.equal(stage.exporter.figures.lost, 2 * (5000 - 4096) + 7 + 512, "a batch without an answer is lost in the end");
  assert.deepEqual(stage.sizes, [256, 256], "and the next one is sent");
});

test("TraceExporter sends what is left when it is closed, for as long as it may", async () => {
  const quick = new Stage();
  quick.exporter.add(exchanges(300), 0);
  const closed = quick.exporter.close(2000);
  for (let i = 0; i < 2; i++) {
    await settle();
    quick.answer?.resolve();
  }
  await closed;
  await settle();
  assert.deepEqual([quick.exporter.figures, quick.closed, quick.timers.delays], [{ exported: 600, lost: 0 }, true, []]);

  const slow = new Stage();
  slow.exporter.add(exchanges(300), 0);
  const given = slow.exporter.close(2000);
  await slow.timers.advance(2000);
  await given;
  assert.equal(slow.exporter.figures.lost, 88, "what was never sent");
});

test("TraceExporter loses everything when its sink cannot be opened, and says so", async () => {
  const log = new CollectingLog(), timers = new FakeTimers();
  const open = () => Promise.reject(new Error("no such module"));
  const exporter = new TraceExporter({ open, timeoutMs: 1000, log, timers });
  exporter.add(exchanges(1), 0);
  await timers.advance(1000);
  await exporter.close(1000);
  assert.equal(exporter.figures.lost, 2);
  assert.equal(log.lines[0]?.fields["error"], "no such module");
});

test("tracesUrl() is the collector's for traces, unless all is disabled", () => {
  const none = { otlpEndpoint: "", otlpTracesEndpoint: "", otelDisabled: false };
  assert.equal(tracesUrl(none), null);
  assert.equal(tracesUrl({ ...none, otlpEndpoint: "http://c:4318" }), "http://c:4318/v1/traces");
  assert.equal(tracesUrl({ ...none, otlpEndpoint: "http://c:4318/x/" }), "http://c:4318/x/v1/traces");
  assert.equal(tracesUrl({ ...none, otlpEndpoint: "http://c:4318", otlpTracesEndpoint: "http://d/t" }), "http://d/t");
  assert.equal(tracesUrl({ ...none, otlpTracesEndpoint: "http://d/t", otelDisabled: true }), null);
});

test("tracingOf() asks nobody where nothing is exported and no sampler is named", () => {
  assert.equal(tracingOf({ tracesSampler: "", tracesSamplerArg: 0.01 }, false), null);
  assert.equal(tracingOf({ tracesSampler: "always_on", tracesSamplerArg: 0.01 }, false)?.records, false);
  const usual = tracingOf({ tracesSampler: "", tracesSamplerArg: 0.01 }, true);
  const share = Array.from(
    { length: 1000 },
    (_, i) => `${"0".repeat(16)}${Math.floor((i + 0.5) * 2 ** 32 / 1000).toString(16).padStart(8, "0")}`,
  )
    .filter((id) => usual?.samples(id.padEnd(32, "0"), null));
  assert.equal(share.length, 10);
});
