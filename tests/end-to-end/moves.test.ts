/** Domains that move from VM to VM: nobody notices, whatever becomes of the VMs, and in whatever order two regions learn of it. */
import assert from "node:assert/strict";
import process from "node:process";
import { setTimeout as wait } from "node:timers/promises";
import { after, before, test } from "node:test";
import { type FlowName, loadSummary, startLoad } from "../fixtures/constant-load.ts";
import { type Edgeproxy, runEdgeproxy } from "../fixtures/edgeproxy.ts";
import { fieldValue } from "../fixtures/http1.ts";
import { loadScript } from "../fixtures/load-vm.ts";
import { MovingDomain } from "../fixtures/moving-domain.ts";
import { get, Platform, postRequest, type Region, send } from "../fixtures/platform.ts";
import { startPostgres, type TestDatabase } from "../fixtures/postgres.ts";
import { getRequest } from "../fixtures/raw-client.ts";
import { stoodIn } from "../fixtures/served-vms.ts";
import { respond } from "../fixtures/vm.ts";

const HOST = "app.example.com";
const TWO_WORKERS = { EDGEPROXY_WORKERS: "2" };
/** How soon a VM that was unhealthy is found to be healthy. */
const OFTEN = { EDGEPROXY_HEALTH_INTERVAL: "250ms" };
/** Exchanges that are over before a platform stops the VM behind a domain that has moved. */
const SHORT: readonly FlowName[] = ["keep-alive", "new connection", "upload"];

let server: TestDatabase;
before(async () => server = await startPostgres());
after(() => server[Symbol.asyncDispose]());

test("200 moves to VMs that were never probed, under load, and no exchange fails", async () => {
  await using platform = await Platform.start(server);
  await using domain = await MovingDomain.create(platform, HOST, { script: loadScript });
  const edge = await platform.edge({ ...TWO_WORKERS, ...OFTEN });
  await using load = startLoad({ host: edge.host, port: edge.port, domain: HOST });
  await load.progress(1);
  for (let n = 1; n <= 200; n++) await moveOn(domain, edge, { late: n % 10 === 0 });
  await load.progress(1);
  const report = await load.stop();
  process.stdout.write(`200 moves in ${loadSummary(report)}\n`);
  assert.deepEqual(report.failures, [], edge.report());
});

/** To a new VM, until that gets requests. `late`: it does not listen before requests have gone to the old one instead. */
async function moveOn(domain: MovingDomain, edge: Edgeproxy, { late = false } = {}): Promise<void> {
  const { vm: old } = domain;
  await domain.move(await domain.place({ script: loadScript, listens: !late }), edge);
  if (late) {
    const before = old.requests.length;
    await old.until(({ requests }) => requests.length > before);
    await domain.vm.listen();
  }
  await domain.vm.until(({ requests }) => requests.length > 0);
}

test("a VM that ends a second after its domain has moved away takes nothing with it", async () => {
  await using platform = await Platform.start(server);
  await using domain = await MovingDomain.create(platform, HOST, { script: loadScript });
  const edge = await platform.edge(TWO_WORKERS);
  await using load = startLoad({ host: edge.host, port: edge.port, domain: HOST, flows: SHORT });
  await load.progress(1);
  for (let n = 0; n < 10; n++) {
    const { vm: old } = domain;
    await moveOn(domain, edge);
    await wait(1000);
    await old.die();
  }
  await load.progress(1);
  const report = await load.stop();
  process.stdout.write(`10 moves and ends in ${loadSummary(report)}\n`);
  assert.deepEqual(report.failures, [], edge.report());
});

test("while a new VM does not listen yet the old one answers, and the new one as soon as it is healthy", async () => {
  await using platform = await Platform.start(server);
  await using domain = await MovingDomain.create(platform, HOST, { script: loadScript });
  const edge = await platform.edge({ ...TWO_WORKERS, ...OFTEN });
  await using load = startLoad({ host: edge.host, port: edge.port, domain: HOST });
  await load.progress(1);
  const { vm: old } = domain;
  await domain.move(await domain.place({ script: loadScript, listens: false }), edge);
  const before = old.requests.length;
  await wait(2000);
  assert.ok(old.requests.length > before);
  await domain.vm.listen();
  await domain.vm.until(({ requests }) => requests.length > 0);
  await load.progress(1);
  // One worker after the other learns of it
  let asked: number;
  for (let rounds = 0; rounds < 5; rounds++) {
    asked = old.requests.length;
    await load.progress(10);
    if (old.requests.length === asked) break;
  }
  assert.equal(old.requests.length, asked!, "everything goes to the new one");
  const report = await load.stop();
  assert.deepEqual(report.failures, [], edge.report());
});

test("while the health page of a new VM takes its time the old one answers", async () => {
  await using platform = await Platform.start(server);
  await using domain = await MovingDomain.create(platform, HOST, { script: respond(200, "old") });
  const edge = await platform.edge({ EDGEPROXY_LOG_LEVEL: "debug" });
  assert.equal((await get(edge, HOST)).body.toString(), "old");
  const slow = await domain.place({ script: respond(200, "new") });
  const probed = Promise.withResolvers<void>(), answer = Promise.withResolvers<void>();
  slow.vm.onProbe = () => {
    probed.resolve();
    return answer.promise;
  };
  await domain.move(slow, edge);
  for (let n = 0; n < 3; n++) assert.equal((await send(edge, postRequest(HOST, "body"))).body.toString(), "old");
  await probed.promise;
  assert.ok(slow.vm.probes === 1 || stoodIn(edge), `${slow.vm.probes} probes`);
  answer.resolve();
  await edge.waitFor(async () => (await get(edge, HOST)).body.toString() === "new", "does not send anything to the new VM");
});

test("a new VM that stays unhealthy is 503 after ten seconds, and not before", async () => {
  await using platform = await Platform.start(server);
  await using domain = await MovingDomain.create(platform, HOST);
  const edge = await platform.edge();
  assert.equal((await get(edge, HOST)).status, 200);
  const startMs = performance.now();
  await domain.move(await domain.place({ healthStatus: 500 }), edge);
  let answer = await get(edge, HOST);
  for (; answer.status === 200; answer = await get(edge, HOST)) await wait(50);
  assert.deepEqual([answer.status, fieldValue(answer, "x-edgeproxy-error")], [503, "vm_unhealthy"]);
  assert.ok(performance.now() - startMs >= 10_000, `after ${performance.now() - startMs} ms`);
  assert.equal(domain.vm.requests.length, 0);
});

test("a domain that is gone is 404 at once, however well its VM is", async () => {
  await using platform = await Platform.start(server);
  await using domain = await MovingDomain.create(platform, HOST);
  const edge = await platform.edge();
  assert.equal((await get(edge, HOST)).status, 200);
  await platform.database.sql("update deployments set status = 'stopped'");
  await edge.refresh();
  assert.equal((await get(edge, HOST)).status, 404);
  assert.equal(domain.vm.requests.length, 1);
});

/** The edges of two regions, and a load on each, while the domain's VM moves between the regions by way of `move`. */
async function moveBetweenRegions(move: (domain: MovingDomain, to: Region, n: number) => Promise<void>): Promise<void> {
  await using platform = await Platform.start(server);
  const there = await platform.addRegion();
  await using domain = await MovingDomain.create(platform, HOST, { script: loadScript });
  const edges = [await platform.edge(TWO_WORKERS), await platform.edge({}, { region: there })] as const;
  await using near = startLoad({ host: edges[0].host, port: edges[0].port, domain: HOST });
  await using far = startLoad({ host: edges[1].host, port: edges[1].port, domain: HOST });
  for (let n = 0; n < 12; n++) {
    await move(domain, n % 2 === 0 ? there : platform.region, n);
    const [first, second] = n % 4 < 2 ? edges : edges.toReversed();
    await first!.refresh();
    await wait(300);
    await second!.refresh();
    await Promise.all([near.progress(1), far.progress(1)]);
  }
  for (const load of [near, far]) {
    const report = await load.stop();
    process.stdout.write(`12 moves between regions in ${loadSummary(report)}\n`);
    assert.deepEqual(report.failures, [], edges.map((edge) => edge.report()).join("\n"));
  }
}

test("a domain that moves to VMs in another region and back, while the edges learn of it one after the other: no exchange fails", async () => {
  await moveBetweenRegions(async (domain, region) => await domain.move(await domain.place({ script: loadScript, region })));
});

test("a VM whose row says another region, and the first one again: no exchange fails", async () => {
  await moveBetweenRegions(async (domain, region) => await domain.moveVm(region));
});

test("moves that two edges learn of from the change feed, within a region and between the two: no exchange fails", async () => {
  await using platform = await Platform.start(server);
  const there = await platform.addRegion();
  await using domain = await MovingDomain.create(platform, HOST, { script: loadScript });
  const migrated = await runEdgeproxy(["migrate"], { env: { EDGEPROXY_DATABASE_URL: platform.database.url } });
  assert.equal(migrated.exitCode, 0, migrated.stderr);
  const edges = [await platform.edge(TWO_WORKERS), await platform.edge({}, { region: there })] as const;
  await using near = startLoad({ host: edges[0].host, port: edges[0].port, domain: HOST });
  await using far = startLoad({ host: edges[1].host, port: edges[1].port, domain: HOST });
  for (let n = 0; n < 40; n++) {
    const region = [platform.region, there, there, platform.region][n % 4]!;
    await domain.move(await domain.place({ script: loadScript, region }));
    await domain.vm.until(({ requests }) => requests.length > 0);
  }
  await Promise.all([near.progress(1), far.progress(1)]);
  for (const load of [near, far]) {
    const report = await load.stop();
    process.stdout.write(`40 moves by the feed in ${loadSummary(report)}\n`);
    assert.deepEqual(report.failures, [], edges.map((edge) => edge.report()).join("\n"));
  }
});

test("an edge that is behind reads the database when a request from another region contradicts its table", async () => {
  await using platform = await Platform.start(server);
  const there = await platform.addRegion();
  await using domain = await MovingDomain.create(platform, HOST);
  const near = await platform.edge();
  const far = await platform.edge({}, { region: there });
  await domain.move(await domain.place({ region: there, script: respond(200, "moved") }), near);
  const answers = await Promise.all([get(near, HOST), send(near, postRequest(HOST, "body"))]);
  assert.deepEqual(answers.map(({ status, body }) => `${status} ${body}`), ["200 moved", "200 moved"]);
  const line = await far.waitForLog(({ msg, reason }) => msg === "routes changed" && reason === "contradiction");
  assert.equal(line["changed"], 1);
});

test("while a VM in another region is ill the old one here answers what is harmless to repeat, and in that region everything", async () => {
  await using platform = await Platform.start(server);
  const there = await platform.addRegion();
  await using domain = await MovingDomain.create(platform, HOST, { script: respond(200, "old") });
  const near = await platform.edge();
  const far = await platform.edge({}, { region: there });
  for (const edge of [near, far]) assert.equal((await get(edge, HOST)).body.toString(), "old");
  await domain.move(await domain.place({ region: there, healthStatus: 500 }), near, far);
  const outcome = async (edge: Edgeproxy, request: string): Promise<string> => {
    const { status, body } = await send(edge, request);
    return `${status} ${body}`;
  };
  assert.equal(await outcome(near, getRequest(HOST)), "200 old");
  assert.equal(await outcome(near, postRequest(HOST, "body")), "503 Service Unavailable - VM not responding");
  assert.equal(await outcome(far, getRequest(HOST)), "200 old");
  assert.equal(await outcome(far, postRequest(HOST, "body")), "200 old");
});
