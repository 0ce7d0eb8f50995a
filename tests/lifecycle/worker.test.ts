/** What a worker derives from its settings and the machine. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { parseSettings } from "../../src/lifecycle/settings.ts";
import { type Channel, type DownMessage, inProcessChannel, NO_ORDERS, type UpMessage } from "../../src/lifecycle/worker-channel.ts";
import { WorkerLink } from "../../src/lifecycle/worker-link.ts";
import { Worker } from "../../src/lifecycle/worker.ts";
import { AccessLog, NO_ACCESS_LOG } from "../../src/observation/access-log.ts";
import type { MetricsSnapshot } from "../../src/observation/metrics.ts";
import { settle } from "../fixtures/fake-timers.ts";
import { CollectingLog } from "../fixtures/collecting-log.ts";
import { route, routesOf, vm } from "../fixtures/records.ts";

const REGION = "00000000-0000-4000-8000-000000000001";

function newWorker(): { worker: Worker; control: Channel<DownMessage, UpMessage> } {
  const { control, worker: channel } = inProcessChannel();
  const parsed = parseSettings({
    EDGEPROXY_DATABASE_URL: "postgres://127.0.0.1/x",
    EDGEPROXY_REGION_ID: REGION,
    EDGEPROXY_WORKERS: "0",
  });
  assert.ok("settings" in parsed);
  return { control, worker: new Worker(parsed.settings, channel, new CollectingLog(), new AccessLog({ sampling: NO_ACCESS_LOG })) };
}

test("Worker takes a table of any size through its link, and counts it", async () => {
  const { worker, control } = newWorker();
  const routes = routesOf(Array.from({ length: 100_000 }, (_, i) => route(`d${i}.test`, vm("10.0.0.1"))));
  const link = new WorkerLink({ send: (message) => control.send(message), snapshot: () => ({ revision: 7, routes }) });
  let counted: MetricsSnapshot | undefined;
  control.onMessage = (message) => {
    if (!link.receive(message) && message.type === "stats") counted = message.metrics;
  };
  link.start();
  assert.equal(link.appliedRevision, 0, "the table comes in later turns");
  while (link.appliedRevision === 0) await settle();
  control.send({ type: "collect", serial: 1 });
  assert.deepEqual([counted?.revision, counted?.routes], [7, 100_000]);
  await worker.drain(0, false);
});

test("Worker says what it is asked for, when it is asked: figures of its process, and the serial of the question", async () => {
  const { worker, control } = newWorker();
  const heard: UpMessage[] = [];
  control.onMessage = (message) => heard.push(message);
  control.send({ type: "collect", serial: 42 });
  const [stats] = heard;
  assert.ok(heard.length === 1 && stats?.type === "stats");
  assert.equal(stats.serial, 42);
  assert.ok(stats.process.residentBytes > 2 ** 20 && stats.process.cpuSeconds > 0 && stats.process.stallSeconds >= 0);
  await worker.drain(0, false);
  const [, last, ...more] = heard as UpMessage[];
  assert.ok(more.length === 0 && last?.type === "stats" && last.serial === 42, "and once more at the end");
});

test("Worker answers verdicts, a great many in a later turn", async () => {
  const { worker, control } = newWorker();
  const heard: string[] = [];
  control.onMessage = (message) => heard.push(message.type);
  control.send({ type: "health", verdicts: [["vm/10.0.0.1:80", "healthy"]] });
  assert.deepEqual(heard, ["judged"]);
  control.send({ type: "health", verdicts: Array.from({ length: 1000 }, (_, i) => [`vm/${i}`, "healthy"] as const) });
  assert.deepEqual(heard, ["judged"]);
  await new Promise<void>((resolve) => control.onMessage = () => resolve());
  await worker.drain(0, false);
});

test("Worker ends a cordon by itself, since nobody may be there to say that it is over", async () => {
  const { worker, control } = newWorker();
  const routes = routesOf([route("a.test", vm("10.0.0.1"))]);
  const link = new WorkerLink({ send: (message) => control.send(message), snapshot: () => ({ revision: 1, routes }) });
  const heard: UpMessage[] = [];
  control.onMessage = (message) => {
    if (!link.receive(message)) heard.push(message);
  };
  link.start();
  while (link.appliedRevision === 0) await settle();
  const { key } = vm("10.0.0.1");
  const ask = (): string => {
    const question = { head: "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n", client: "127.0.0.1", suppose: {} };
    control.send({ type: "ask", serial: 1, question: { kind: "explain", question } });
    const last = heard.at(-1);
    assert.ok(last?.type === "answer" && last.answer.kind === "explain");
    return last.answer.explanation.conclusion.code ?? last.answer.explanation.conclusion.kind;
  };
  const orders = {
    ...NO_ORDERS,
    cordoned: [{ key, untilAtMs: Date.now() + 1000 }, { key: "vm/10.0.0.2:8080", untilAtMs: Date.now() - 1 }],
  };
  control.send({ type: "standing", orders });
  assert.equal(ask(), "vm_cordoned");
  while (ask() === "vm_cordoned") await new Promise((resolve) => setTimeout(resolve, 10));
  assert.equal(ask(), "probe-first");
  await worker.drain(0, false);
});
