/** Probes in the worker: when the supervisor is silent, when it speaks again, when it is gone. */
import assert from "node:assert/strict";
import { request } from "node:http";
import { test } from "node:test";
import { parseSettings } from "../../src/lifecycle/settings.ts";
import { StandInProber } from "../../src/lifecycle/stand-in-prober.ts";
import { inProcessChannel, type UpMessage } from "../../src/lifecycle/worker-channel.ts";
import { Worker } from "../../src/lifecycle/worker.ts";
import { AccessLog, NO_ACCESS_LOG } from "../../src/observation/access-log.ts";
import { Endpoints } from "../../src/upstream/endpoint-state.ts";
import { CollectingLog } from "../fixtures/collecting-log.ts";
import { FakeTimers, settle } from "../fixtures/fake-timers.ts";
import { batchOf, HERE, route, vm } from "../fixtures/records.ts";
import { startVm } from "../fixtures/vm.ts";

const A = vm("10.0.0.1"), B = vm("10.0.0.2"), C = vm("10.0.0.3");

/** A worker's endpoints and their prober; probes are answered by what the test has set. */
class Stage {
  readonly timers: FakeTimers = new FakeTimers();
  readonly sent: UpMessage[] = [];
  readonly probed: string[] = [];
  readonly sick: Set<string> = new Set();
  readonly endpoints: Endpoints;
  readonly prober: StandInProber;
  readonly log: CollectingLog = new CollectingLog();
  /** Whether the supervisor says that it has heard. */
  awake = true;

  constructor() {
    this.prober = new StandInProber({
      endpoints: () => this.endpoints,
      send: (message) => {
        this.sent.push(message);
        if (this.awake) this.prober.heard();
      },
      probe: (endpoint, onResult) => {
        this.probed.push(endpoint.address);
        return this.timers.after(5, () => onResult({ healthy: !this.sick.has(endpoint.key), reason: "as told", latencyMs: 5 }));
      },
      intervalMs: 5000,
      log: this.log,
      timers: this.timers,
      random: () => 0,
    });
    this.endpoints = new Endpoints(this.prober);
  }

  /** What a request that waits for a VM learns. */
  wait(endpoint = A): string[] {
    const state = this.endpoints.of(endpoint);
    const learned: string[] = [];
    state.whenProbed(() => learned.push(state.verdict));
    return learned;
  }

  says(endpoint: { key: string }, verdict: "healthy" | "unhealthy" | "unprobed"): void {
    this.prober.heard();
    this.prober.judged([[endpoint.key, verdict]]);
  }
}

test("a supervisor that answers is not doubted, however slow the VM", async () => {
  const stage = new Stage();
  const learned = stage.wait();
  await stage.timers.advance(4000);
  assert.deepEqual([learned, stage.probed], [[], []]);
  assert.ok(
    stage.sent.length > 10 && stage.sent.every((message) => message.type === "wanted" && message.key === A.key),
    "asked again",
  );
  stage.says(A, "healthy");
  assert.deepEqual(learned, ["healthy"]);
  const { length } = stage.sent;
  await stage.timers.advance(4000);
  assert.equal(stage.sent.length, length, "no more ticks when nothing is due");
});

test("a supervisor that says nothing for 300 ms is stood in for, and the next request does not wait for that", async () => {
  const stage = new Stage();
  stage.awake = false;
  stage.sick.add(B.key);
  const first = stage.wait();
  await stage.timers.advance(299);
  assert.deepEqual(stage.probed, []);
  await stage.timers.advance(7);
  assert.deepEqual([first, stage.probed], [["healthy"], ["10.0.0.1"]]);
  assert.ok(stage.log.take().includes("debug standing in for the supervisor"));
  const second = stage.wait(B);
  await stage.timers.advance(6);
  assert.deepEqual(second, ["unhealthy"]);
  assert.deepEqual(stage.sent.at(-1), { type: "wanted", key: B.key }, "asked all the same");
});

test("a supervisor that falls silent after it has heard is stood in for", async () => {
  const stage = new Stage();
  const learned = stage.wait();
  await stage.timers.advance(200);
  stage.awake = false;
  await stage.timers.advance(460);
  assert.deepEqual(learned, ["healthy"]);
});

test("the verdict of a supervisor that speaks again wins, and our own prober forgets the VM", async () => {
  const stage = new Stage();
  stage.awake = false;
  stage.wait();
  await stage.timers.advance(310);
  assert.equal(stage.endpoints.of(A).verdict, "healthy");
  stage.awake = true;
  stage.says(A, "unhealthy");
  assert.equal(stage.endpoints.of(A).verdict, "unhealthy");
  for (let second = 0; second < 60; second++) {
    await stage.timers.advance(1000);
    stage.prober.heard();
  }
  assert.deepEqual([stage.endpoints.of(A).verdict, stage.probed.length], ["unhealthy", 1]);
  const learned = stage.wait(B);
  await stage.timers.advance(1000);
  assert.deepEqual([learned, stage.probed.length], [[], 1], "asked the supervisor alone");
});

test("a connection that fails while nobody else probes is followed by a probe of our own", async () => {
  const stage = new Stage();
  stage.awake = false;
  stage.wait();
  await stage.timers.advance(310);
  stage.sick.add(A.key);
  stage.endpoints.of(A).failed("ECONNREFUSED", 0);
  assert.equal(stage.endpoints.of(A).verdict, "unprobed");
  await stage.timers.advance(6);
  assert.equal(stage.endpoints.of(A).verdict, "unhealthy");
});

test("after a long silence the VMs in use are probed without being asked for", async () => {
  const stage = new Stage();
  for (const endpoint of [A, B, C]) stage.endpoints.of(endpoint);
  stage.says(A, "healthy");
  stage.says(B, "unhealthy");
  await stage.timers.advance(4900);
  stage.prober.heard();
  await stage.timers.advance(4900);
  assert.deepEqual(stage.probed, []);
  stage.sick.add(A.key);
  stage.awake = false;
  await stage.timers.advance(5200);
  assert.deepEqual(stage.probed, ["10.0.0.1", "10.0.0.2"]);
  assert.deepEqual([A, B, C].map((each) => stage.endpoints.of(each).verdict), ["unhealthy", "healthy", "unprobed"]);
  const asked = stage.sent.map((message) => "key" in message ? message.key : "");
  assert.deepEqual(asked, [A.key, B.key], "so that the supervisor, when it wakes, has the last word on them");
});

test("an orphan probes what is in use at the interval, forgets what is not, and asks nobody", async () => {
  const stage = new Stage();
  const waiting = stage.wait(C);
  for (const endpoint of [A, B]) stage.endpoints.of(endpoint);
  stage.says(A, "healthy");
  stage.says(B, "healthy");
  stage.awake = false;
  const { length } = stage.sent;
  stage.sick.add(A.key);
  stage.prober.orphaned();
  await stage.timers.advance(10);
  assert.deepEqual(waiting, ["healthy"]);
  assert.equal(stage.endpoints.of(A).verdict, "unhealthy");
  stage.sick.delete(A.key);
  for (let second = 0; second < 60; second++) {
    stage.endpoints.of(A).availability(0);
    await stage.timers.advance(1000);
  }
  assert.deepEqual([A, B].map((each) => stage.endpoints.of(each).verdict), ["healthy", "unprobed"]);
  assert.equal(stage.sent.length, length);
  const again = stage.wait(B);
  await stage.timers.advance(10);
  assert.deepEqual(again, ["healthy"]);
});

test("takeUsed() tells the supervisor also what was used while it did not ask", async () => {
  const stage = new Stage();
  stage.awake = false;
  stage.wait();
  await stage.timers.advance(310);
  stage.endpoints.of(A).availability(0);
  await stage.timers.advance(3000);
  stage.endpoints.of(B).availability(0);
  assert.deepEqual(stage.prober.takeUsed().sort(), [A.key, B.key]);
  assert.deepEqual(stage.prober.takeUsed(), []);
});

test("forget() stops probes of VMs that the table has left", async () => {
  const stage = new Stage();
  stage.awake = false;
  stage.wait();
  stage.endpoints.forget([A.key]);
  stage.prober.forget([A.key]);
  await stage.timers.advance(10_000);
  assert.deepEqual(stage.probed, []);
});

test("stop() leaves no timer", async () => {
  const stage = new Stage();
  stage.awake = false;
  stage.wait();
  await stage.timers.advance(310);
  stage.prober.stop();
  await settle();
  assert.deepEqual(stage.timers.delays, []);
});

test("a request to a worker whose supervisor says nothing is answered by the VM, well before the wait for a verdict ends", async () => {
  await using machine = await startVm();
  const { control, worker: channel } = inProcessChannel();
  const parsed = parseSettings({
    EDGEPROXY_DATABASE_URL: "postgres://127.0.0.1/x",
    EDGEPROXY_REGION_ID: HERE,
    EDGEPROXY_HTTP_ADDR: "127.0.0.1:0",
    EDGEPROXY_HEALTH_TIMEOUT: "30s",
    EDGEPROXY_WORKERS: "0",
  });
  assert.ok("settings" in parsed);
  const worker = new Worker(parsed.settings, channel, new CollectingLog(), new AccessLog({ sampling: NO_ACCESS_LOG }));
  try {
    const port = await worker.listen([]);
    const endpoint = vm("127.0.0.1", machine.port);
    control.send({
      type: "routes",
      revision: 1,
      base: 0,
      first: true,
      last: true,
      ...batchOf([route("app.test", endpoint)]),
    });
    const startedAtMs = performance.now();
    assert.equal(await statusOf(port, "app.test"), 200);
    assert.ok(performance.now() - startedAtMs < 15_000, "the verdict is waited for for more than 30 s");
    assert.equal(machine.probes, 1);
  } finally {
    await worker.drain(0, false);
  }
});

function statusOf(port: number, host: string): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const sent = request({ host: "127.0.0.1", port, headers: { host }, agent: false }, (response) => {
      response.resume();
      response.on("end", () => resolve(response.statusCode));
    });
    sent.on("error", reject);
    sent.end();
  });
}
