import { test } from "node:test";
import assert from "node:assert/strict";
import { createLog } from "../../src/observation/log.ts";
import type { HealthPolicy } from "../../src/table/policy.ts";
import type { EndpointRecord } from "../../src/table/record.ts";
import { Prober } from "../../src/upstream/prober.ts";
import { FakeTimers, settle } from "../fixtures/fake-timers.ts";
import { HEALTH } from "../fixtures/services.ts";

const INTERVAL_MS = 5_000;

interface StartedProbe {
  readonly key: string;
  cancelled: boolean;
  answer(healthy: boolean, reason?: string): void;
  /** There is no file for it. */
  lack(): void;
}

function vm(name: string): EndpointRecord {
  return { key: `vm/${name}`, kind: "vm", address: name, port: 80, region: "eu" };
}

/** A prober whose probes the test answers by hand. */
function proberByHand(concurrency?: number, healthOf: (key: string) => HealthPolicy | null = () => null) {
  const timers = new FakeTimers();
  const probes: StartedProbe[] = [];
  const published: string[] = [];
  const reasons: (string | undefined)[] = [];
  const logged: string[] = [];
  const changed: string[] = [];
  const prober = new Prober({
    probe: (endpoint, onResult) => {
      const probe: StartedProbe = {
        key: endpoint.key,
        cancelled: false,
        answer: (healthy, reason = healthy ? "status 200" : "connection refused") => {
          assert.equal(probe.cancelled, false);
          onResult({ healthy, reason, latencyMs: 3 });
        },
        lack: () => onResult({ healthy: false, reason: "EMFILE", latencyMs: 0, ours: true }),
      };
      probes.push(probe);
      return () => {
        probe.cancelled = true;
      };
    },
    intervalMs: INTERVAL_MS,
    healthOf,
    log: createLog("info", (line) => {
      const { level, msg, endpoint } = JSON.parse(line);
      logged.push(`${level} ${msg} ${endpoint}`);
    }),
    timers,
    random: () => 0,
    publish: (verdicts) => {
      for (const [key, verdict, reason] of verdicts) {
        published.push(`${key} ${verdict}`);
        reasons.push(reason);
      }
    },
    changed: ({ endpoint: { key }, verdict, reason }) => changed.push(`${key} ${verdict}, ${reason}`),
    ...(concurrency === undefined ? {} : { concurrency }),
  });
  return {
    prober,
    timers,
    probes,
    /** What was published or logged since the last call. */
    news: () => published.splice(0),
    /** Of the verdicts that were published since the last call. */
    reasons: () => reasons.splice(0),
    logs: () => logged.splice(0),
    changes: () => changed.splice(0),
    state: () => prober.list().map((health) => `${health.endpoint.key} ${health.verdict} ${health.state}`),
  };
}

test("Prober.want() runs one probe however many ask, and publishes its verdict once", () => {
  const { prober, probes, news, logs } = proberByHand();
  prober.want(vm("a"));
  prober.want(vm("a"));
  prober.want(vm("a"));
  assert.equal(probes.length, 1);
  assert.deepEqual(news(), []);
  probes[0]!.answer(true);
  assert.deepEqual(news(), ["vm/a healthy"]);
  assert.deepEqual(logs(), []);
});

test("Prober.want() answers a known verdict without a probe", async () => {
  const { prober, probes, news } = proberByHand();
  prober.want(vm("a"));
  probes[0]!.answer(false);
  news();
  prober.want(vm("a"));
  await Promise.resolve();
  assert.deepEqual(news(), ["vm/a unhealthy"]);
  assert.equal(probes.length, 1);
});

test("Prober publishes why a VM is unhealthy, shortly, and anew when that changes", async () => {
  const { prober, timers, probes, reasons } = proberByHand();
  const next = async (healthy: boolean, reason: string) => {
    prober.used(["vm/a"]);
    await timers.advance(INTERVAL_MS);
    probes.at(-1)!.answer(healthy, reason);
    return reasons();
  };
  prober.want(vm("a"));
  probes[0]!.answer(false, "status 500");
  assert.deepEqual(reasons(), ["status 500"]);
  assert.deepEqual(await next(false, "status 500"), []);
  assert.deepEqual(await next(false, "x".repeat(1000)), ["x".repeat(100)]);
  assert.deepEqual(await next(true, "status 200"), [undefined]);
  assert.deepEqual(await next(true, "status 204"), []);
});

test("Prober never probes another region's edge", () => {
  const { prober, probes } = proberByHand();
  const region: EndpointRecord = { ...vm("203.0.113.7"), kind: "region" };
  prober.want(region);
  prober.failed(region, "refused");
  assert.equal(probes.length, 0);
  assert.deepEqual(prober.list(), []);
});

test("Prober probes in the background while an endpoint is in use, and publishes changes only", async () => {
  const { prober, timers, probes, news, logs } = proberByHand();
  prober.want(vm("a"));
  probes[0]!.answer(true);
  news();
  await timers.advance(INTERVAL_MS);
  probes[1]!.answer(true);
  assert.deepEqual(news(), []);
  prober.used(["vm/a", "vm/unknown"]);
  await timers.advance(INTERVAL_MS);
  probes[2]!.answer(false);
  assert.deepEqual(news(), ["vm/a unhealthy"]);
  assert.deepEqual(logs(), ["warn VM unhealthy vm/a"]);
  prober.used(["vm/a"]);
  await timers.advance(INTERVAL_MS);
  probes[3]!.answer(false);
  assert.deepEqual([news(), logs()], [[], []]);
  await timers.advance(INTERVAL_MS);
  probes[4]!.answer(true);
  assert.deepEqual(news(), ["vm/a healthy"]);
  assert.deepEqual(logs(), ["info VM healthy again vm/a"]);
});

test("Prober does not blame a VM for a probe that this machine had no file for", async () => {
  const { prober, timers, probes, news, logs, state } = proberByHand();
  prober.want(vm("a"));
  probes[0]!.answer(true);
  news();
  await timers.advance(INTERVAL_MS);
  probes[1]!.lack();
  assert.deepEqual([news(), state(), logs()], [[], ["vm/a healthy resting"], ["warn cannot probe vm/a"]]);
  prober.failed(vm("a"), "connection refused");
  probes[2]!.lack();
  assert.deepEqual(state(), ["vm/a unhealthy resting"], "requests saw it fail");
  prober.want(vm("b"));
  probes[3]!.lack();
  assert.deepEqual(state()[1], "vm/b unhealthy resting", "nobody has seen it healthy");
});

test("Prober stops probing and forgets an endpoint without traffic for four intervals", async () => {
  const { prober, timers, probes, news, state } = proberByHand();
  prober.want(vm("a"));
  probes[0]!.answer(true);
  news();
  for (let i = 1; i <= 4; i++) {
    await timers.advance(INTERVAL_MS);
    probes[i]!.answer(true);
  }
  await timers.advance(INTERVAL_MS);
  assert.equal(probes.length, 5);
  assert.deepEqual(news(), ["vm/a unprobed"]);
  assert.deepEqual(state(), []);
  assert.equal(timers.delays.length, 0);
  prober.want(vm("a"));
  assert.equal(probes.length, 6);
});

test("Prober keeps an endpoint that a worker reports once a second, however short the interval", async () => {
  const timers = new FakeTimers();
  let probes = 0;
  const published: string[] = [];
  const prober = new Prober({
    probe: (_, onResult) => {
      probes++;
      queueMicrotask(() => onResult({ healthy: true, reason: "", latencyMs: 1 }));
      return () => {};
    },
    intervalMs: 100,
    log: createLog("error", () => {}),
    timers,
    random: () => 0,
    publish: (verdicts) => {
      for (const [, verdict] of verdicts) published.push(verdict);
    },
  });
  prober.want(vm("a"));
  await settle();
  for (let second = 0; second < 3; second++) {
    for (let i = 0; i < 10; i++) {
      await timers.advance(100);
      await settle();
    }
    prober.used(["vm/a"]);
  }
  assert.deepEqual(published, ["healthy"]);
  assert.equal(probes, 31);
  prober.stop();
});

test("Prober shortens the interval by up to a fifth", async () => {
  const timers = new FakeTimers();
  let probes = 0;
  const prober = new Prober({
    probe: (_, onResult) => {
      probes++;
      queueMicrotask(() => onResult({ healthy: true, reason: "", latencyMs: 1 }));
      return () => {};
    },
    intervalMs: INTERVAL_MS,
    log: createLog("error", () => {}),
    timers,
    random: () => 1,
    publish: () => {},
  });
  prober.want(vm("a"));
  await settle();
  await timers.advance(INTERVAL_MS * 0.8 - 1);
  assert.equal(probes, 1);
  await timers.advance(1);
  assert.equal(probes, 2);
  prober.stop();
});

test("Prober.failed() makes the verdict unhealthy at once and probes afresh", () => {
  const { prober, probes, news, logs, state } = proberByHand();
  prober.want(vm("a"));
  probes[0]!.answer(true);
  news();
  prober.failed(vm("a"), "connection reset");
  assert.deepEqual(state(), ["vm/a unhealthy probing"]);
  assert.deepEqual(news(), ["vm/a unprobed"]);
  assert.deepEqual(logs(), ["warn VM unhealthy vm/a"]);
  probes[1]!.answer(true);
  assert.deepEqual(news(), ["vm/a healthy"]);
  assert.deepEqual(logs(), ["info VM healthy again vm/a"]);
});

test("Prober.failed() publishes the fresh verdict also when it changes nothing", () => {
  const { prober, probes, news } = proberByHand();
  prober.want(vm("a"));
  probes[0]!.answer(false);
  news();
  prober.failed(vm("a"), "connection reset");
  probes[1]!.answer(false);
  assert.deepEqual(news(), ["vm/a unprobed", "vm/a unhealthy"]);
});

test("Prober does not count a healthy result of a probe that began before a failure", async () => {
  const { prober, timers, probes, news, state } = proberByHand();
  prober.want(vm("a"));
  probes[0]!.answer(true);
  await timers.advance(INTERVAL_MS);
  news();
  prober.failed(vm("a"), "connection reset");
  prober.failed(vm("a"), "connection reset");
  assert.equal(probes.length, 2);
  news();
  probes[1]!.answer(true);
  assert.deepEqual(news(), []);
  assert.deepEqual(state(), ["vm/a unhealthy probing"]);
  assert.equal(probes.length, 3);
  probes[2]!.answer(true);
  assert.deepEqual(news(), ["vm/a healthy"]);
});

test("Prober counts an unhealthy result of a probe that began before a failure", async () => {
  const { prober, timers, probes, news } = proberByHand();
  prober.want(vm("a"));
  probes[0]!.answer(true);
  await timers.advance(INTERVAL_MS);
  prober.failed(vm("a"), "connection reset");
  news();
  probes[1]!.answer(false);
  assert.deepEqual(news(), ["vm/a unhealthy"]);
  assert.equal(probes.length, 2);
});

test("Prober.failed() of an endpoint it had forgotten is a first use", () => {
  const { prober, probes, news } = proberByHand();
  prober.failed(vm("a"), "connection reset");
  probes[0]!.answer(false);
  assert.deepEqual(news(), ["vm/a unhealthy"]);
});

test("Prober.retain() forgets what left the table, in whatever state it is", () => {
  const { prober, timers, probes, news, state } = proberByHand(1);
  prober.want(vm("resting"));
  probes[0]!.answer(true);
  prober.want(vm("probing"));
  prober.want(vm("queued"));
  prober.want(vm("kept"));
  news();
  prober.retain(new Set(["vm/kept"]));
  assert.deepEqual(news(), ["vm/resting unprobed", "vm/probing unprobed", "vm/queued unprobed"]);
  assert.equal(probes[1]!.cancelled, true);
  assert.equal(timers.delays.length, 0);
  assert.deepEqual(state(), ["vm/kept unprobed probing"]);
});

test("Prober runs a bounded number of probes, those that requests wait for first, in order", async () => {
  const { prober, timers, probes } = proberByHand(2);
  const first = ["a", "b", "c", "d"];
  for (const name of first) prober.want(vm(name));
  assert.deepEqual(probes.map((probe) => probe.key), ["vm/a", "vm/b"]);
  for (let i = 0; i < 4; i++) probes[i]!.answer(true);
  assert.deepEqual(probes.map((probe) => probe.key), first.map((name) => `vm/${name}`));
  await timers.advance(INTERVAL_MS);
  assert.equal(probes.length, 6);
  prober.want(vm("new"));
  prober.want(vm("d"));
  for (let i = 4; i < 7; i++) probes[i]!.answer(true);
  assert.deepEqual(probes.slice(6).map((probe) => probe.key), ["vm/new", "vm/d", "vm/c"]);
});

test("Prober.stop() ends probes and timers and publishes nothing more", () => {
  const { prober, timers, probes, news } = proberByHand();
  prober.want(vm("a"));
  prober.want(vm("b"));
  probes[0]!.answer(true);
  news();
  prober.stop();
  prober.want(vm("c"));
  prober.failed(vm("a"), "x");
  assert.equal(probes[1]!.cancelled, true);
  assert.equal(timers.delays.length, 0);
  assert.deepEqual([news(), probes.length], [[], 2]);
});

test("Prober.list() and figures() tell what is known", async () => {
  const { prober, timers, probes } = proberByHand();
  prober.want(vm("a"));
  prober.want(vm("b"));
  probes[0]!.answer(true);
  await timers.advance(INTERVAL_MS);
  probes[2]!.answer(true);
  const [a, b] = prober.list();
  assert.deepEqual({ ...a, endpoint: a!.endpoint.key }, {
    endpoint: "vm/a",
    verdict: "healthy",
    state: "resting",
    sinceAtMs: timers.nowMs() - INTERVAL_MS,
    lastProbeAtMs: timers.nowMs(),
    latencyMs: 3,
    reason: "status 200",
    consecutive: 2,
    nextProbeAtMs: timers.nowMs() + INTERVAL_MS,
  });
  assert.deepEqual([b!.verdict, b!.state, b!.lastProbeAtMs, b!.nextProbeAtMs], ["unprobed", "probing", null, null]);
  const { probeDurations, ...counts } = prober.figures();
  assert.equal(probeDurations.buckets.reduce((sum, count) => sum + count), 2);
  assert.deepEqual(counts, {
    probesHealthy: 2,
    probesUnhealthy: 0,
    endpoints: { unprobed: 1, healthy: 1, unhealthy: 0 },
  });
});

test("Prober keeps the last 50 probes and 20 changes of the verdict, newest first, and tells of changes that are news", async () => {
  const { prober, timers, probes, changes } = proberByHand();
  const a = vm("a");
  prober.want(a);
  probes.at(-1)!.answer(true);
  assert.deepEqual(changes(), [], "a first healthy verdict is no news");
  for (let n = 0; n < 30; n++) {
    for (const healthy of [false, true]) {
      prober.used([a.key]);
      await timers.advance(INTERVAL_MS);
      probes.at(-1)!.answer(healthy);
    }
  }
  const told = changes();
  assert.equal(told.length, 60);
  assert.deepEqual(told.slice(-2), ["vm/a unhealthy, connection refused", "vm/a healthy, status 200"]);
  const history = prober.history(a.key)!;
  assert.deepEqual([history.probes.length, history.changes.length], [50, 20]);
  assert.deepEqual(history.probes.slice(0, 2), [
    { atMs: timers.nowMs(), healthy: true, latencyMs: 3, reason: "status 200" },
    { atMs: timers.nowMs() - INTERVAL_MS, healthy: false, latencyMs: 3, reason: "connection refused" },
  ]);
  assert.deepEqual(history.changes[0], { atMs: timers.nowMs(), verdict: "healthy", reason: "status 200" });
  assert.deepEqual(prober.find(a.key), prober.list()[0]);
  assert.deepEqual([prober.find("vm/b"), prober.history("vm/b")], [undefined, undefined]);
  prober.stop();
});

test("Prober turns a verdict after as many results in a row as the service wants", async () => {
  const { prober, timers, probes, news, state } = proberByHand(1, () => HEALTH);
  const next = async (healthy: boolean): Promise<void> => {
    await timers.advance(HEALTH.intervalMs);
    prober.used(["vm/a"]);
    probes.at(-1)!.answer(healthy, healthy ? "status 200" : "status 500");
  };
  prober.want(vm("a"));
  probes[0]!.answer(true);
  assert.deepEqual(news(), ["vm/a healthy"], "the first one counts at once");
  for (const healthy of [false, false, true, false, false]) await next(healthy);
  assert.deepEqual(news(), [], "never three in a row");
  await next(false);
  assert.deepEqual(news(), ["vm/a unhealthy"]);
  for (const healthy of [true, false, true]) await next(healthy);
  assert.deepEqual(news(), []);
  assert.equal(prober.find("vm/a")!.reason, "status 500", "what made it unhealthy");
  await next(true);
  assert.deepEqual(news(), ["vm/a healthy"]);
  assert.equal(probes.length, 11);
  assert.deepEqual(state(), ["vm/a healthy resting"]);
});

test("Prober heals by one result after a passive failure, whatever the threshold: requests wait for it", () => {
  const { prober, probes, news } = proberByHand(1, () => HEALTH);
  prober.want(vm("a"));
  probes[0]!.answer(true);
  prober.failed(vm("a"), "connection reset");
  probes[1]!.answer(true);
  assert.deepEqual(news(), ["vm/a healthy", "vm/a unprobed", "vm/a healthy"]);
  prober.failed(vm("a"), "connection refused");
  probes[2]!.answer(false);
  assert.deepEqual(news(), ["vm/a unprobed", "vm/a unhealthy"]);
});

test("Prober heals by the next good result what live traffic has put out, until checks alone would have", async () => {
  const { prober, timers, probes, news } = proberByHand(1, () => HEALTH);
  const next = async (healthy: boolean): Promise<void> => {
    await timers.advance(HEALTH.intervalMs);
    prober.used(["vm/a"]);
    probes.at(-1)!.answer(healthy);
  };
  prober.want(vm("a"));
  probes[0]!.answer(true);
  prober.failed(vm("a"), "connection refused");
  probes[1]!.answer(false); // still starting
  await next(false);
  news();
  await next(true);
  assert.deepEqual(news(), ["vm/a healthy"], "two failures are not three");
  prober.failed(vm("a"), "connection refused");
  probes.at(-1)!.answer(false);
  for (const healthy of [false, false]) await next(healthy);
  news();
  await next(true);
  assert.deepEqual(news(), [], "three checks in a row have condemned it, too");
  await next(true);
  assert.deepEqual(news(), ["vm/a healthy"]);
});

test("Prober.want() probes nothing where the service wants no checks", async () => {
  const { prober, probes, news, state } = proberByHand(1, () => ({ ...HEALTH, type: "none" }));
  prober.want(vm("a"));
  prober.failed(vm("a"), "connection refused");
  await settle();
  assert.deepEqual([probes.length, state()], [0, []]);
  assert.deepEqual(news(), ["vm/a healthy"]);
});

test("Prober.healthChanged() probes anew what is checked in another way now, and forgets what is not any more", () => {
  const health = new Map<string, HealthPolicy>([["vm/a", HEALTH], ["vm/b", HEALTH], ["vm/c", HEALTH]]);
  const { prober, probes, news, state } = proberByHand(8, (key) => health.get(key) ?? null);
  for (const name of ["a", "b", "c", "plain"]) prober.want(vm(name));
  for (const probe of [...probes]) probe.answer(true);
  news();
  health.set("vm/a", { ...HEALTH, path: "/other" }).set("vm/b", { ...HEALTH }).set("vm/c", { ...HEALTH, type: "none" });
  prober.healthChanged();
  assert.deepEqual(probes.slice(4).map(({ key }) => key), ["vm/a"]);
  assert.deepEqual(news(), ["vm/c unprobed"]);
  assert.deepEqual(state(), ["vm/a healthy probing", "vm/b healthy resting", "vm/plain healthy resting"]);
});
