/** Contract section 6: what counts as healthy, who is probed when, and what the traffic gets meanwhile. */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, before, test } from "node:test";
import { metric, reaches, stoodIn } from "../fixtures/served-vms.ts";
import type { Edgeproxy } from "../fixtures/edgeproxy.ts";
import { fieldValue } from "../fixtures/http1.ts";
import { get, Platform, postRequest, send } from "../fixtures/platform.ts";
import { startPostgres, type TestDatabase } from "../fixtures/postgres.ts";
import { getRequest, openRaw } from "../fixtures/raw-client.ts";
import { resetConnection, respond, type Vm } from "../fixtures/vm.ts";

let server: TestDatabase;
before(async () => {
  server = await startPostgres();
});
after(() => server[Symbol.asyncDispose]());

const HOST = "app.example.com";
/** No probe but those that a request or a failure causes. */
const NO_BACKGROUND = { EDGEPROXY_HEALTH_INTERVAL: "1h", EDGEPROXY_LOG_LEVEL: "debug" };
const OFTEN = { EDGEPROXY_HEALTH_INTERVAL: "100ms" };

interface WatchedEndpoint {
  readonly key: string;
  readonly verdict: string;
  readonly reason: string;
}

async function watched(edge: Edgeproxy): Promise<readonly WatchedEndpoint[]> {
  const { endpoints } = await (await edge.admin("/api/health")).json() as { endpoints: WatchedEndpoint[] };
  return endpoints;
}

function assertProbes(edge: Edgeproxy, vm: Vm, count: number): void {
  assert.ok(vm.probes === count || vm.probes > count && stoodIn(edge), `${vm.probes} probes instead of ${count}`);
}

/** From now on the VM's answers to probes wait for `open`; `arrived` resolves with the next probe. */
function holdProbes(vm: Vm): { readonly arrived: Promise<void>; readonly open: () => void } {
  const arrived = Promise.withResolvers<void>();
  const gate = Promise.withResolvers<void>();
  vm.onProbe = () => {
    arrived.resolve();
    return gate.promise;
  };
  return { arrived: arrived.promise, open: gate.resolve };
}

test("VM is healthy when its probe is answered with 200 to 399, and with nothing else", async () => {
  await using platform = await Platform.start(server);
  const healthy = [200, 204, 299, 301, 302, 399];
  const unhealthy = [400, 401, 404, 418, 500, 503, 599];
  for (const status of [...healthy, ...unhealthy]) await platform.vm(`s${status}.example.com`, { healthStatus: status });
  const edge = await platform.edge(NO_BACKGROUND);
  for (const status of healthy) assert.equal((await get(edge, `s${status}.example.com`)).status, 200, `probe answered ${status}`);
  for (const status of unhealthy) {
    const response = await get(edge, `s${status}.example.com`);
    assert.equal(response.status, 503, `probe answered ${status}`);
    assert.equal(fieldValue(response, "x-edgeproxy-error"), "vm_unhealthy");
  }
  await reaches(edge, {
    'edgeproxy_probes_total{result="healthy"}': healthy.length,
    'edgeproxy_probes_total{result="unhealthy"}': unhealthy.length,
  });
});

test("VM is unhealthy when it does not answer its probe in time, breaks it off, or refuses the connection", async () => {
  await using platform = await Platform.start(server);
  await platform.vm("slow.example.com", { healthStatus: "hang" });
  await platform.vm("reset.example.com", { healthStatus: "reset" });
  await (await platform.vm("refused.example.com")).die();
  const edge = await platform.edge({ ...NO_BACKGROUND, EDGEPROXY_HEALTH_TIMEOUT: "1s" });
  const hosts = ["slow.example.com", "reset.example.com", "refused.example.com"];
  const statuses = await Promise.all(hosts.map(async (host) => (await get(edge, host)).status));
  assert.deepEqual(statuses, [503, 503, 503]);
  const reasons = (await watched(edge)).map(({ reason }) => reason);
  for (const reason of ["no answer within 1s", "connection refused"]) assert.ok(reasons.includes(reason), reasons.join(", "));
});

test("edgeproxy probes with GET on the configured path, and says who asks", async () => {
  await using platform = await Platform.start(server);
  const vm = await platform.vm(HOST);
  const edge = await platform.edge({ ...NO_BACKGROUND, EDGEPROXY_HEALTH_PATH: "/healthz?deep=1" });
  await get(edge, HOST);
  const { version } = JSON.parse(await readFile(new URL("../../deno.json", import.meta.url), "utf8")) as { version: string };
  assert.equal(vm.lastProbe?.startLine, "GET /healthz?deep=1 HTTP/1.1");
  assert.equal(fieldValue(vm.lastProbe!, "user-agent"), `edgeproxy-health/${version}`);
  assert.equal(fieldValue(vm.lastProbe!, "host"), `${vm.host}:${vm.port}`);
});

test("edgeproxy probes / unless told otherwise", async () => {
  await using platform = await Platform.start(server);
  const vm = await platform.vm(HOST);
  await get(await platform.edge(NO_BACKGROUND), HOST);
  assert.equal(vm.lastProbe?.target, "/");
});

test("edgeproxy probes once when fifty first requests come at the same time", async () => {
  await using platform = await Platform.start(server);
  const vm = await platform.vm(HOST);
  const probe = holdProbes(vm);
  const edge = await platform.edge(NO_BACKGROUND);
  const responses = Array.from({ length: 50 }, () => get(edge, HOST));
  await edge.waitFor(async () => await metric(edge, "edgeproxy_exchanges_active") === 50, "does not have 50 requests waiting");
  assert.equal(vm.requests.length, 0, "nothing is forwarded before the verdict");
  probe.open();
  assert.deepEqual(new Set((await Promise.all(responses)).map(({ status }) => status)), new Set([200]));
  assert.equal(vm.requests.length, 50);
  assertProbes(edge, vm, 1);
});

test("edgeproxy answers fifty first requests with 503 after one probe when the VM is unhealthy", async () => {
  await using platform = await Platform.start(server);
  const vm = await platform.vm(HOST, { healthStatus: 503 });
  const probe = holdProbes(vm);
  const edge = await platform.edge(NO_BACKGROUND);
  const responses = Array.from({ length: 50 }, () => get(edge, HOST));
  await edge.waitFor(async () => await metric(edge, "edgeproxy_exchanges_active") === 50, "does not have 50 requests waiting");
  probe.open();
  assert.deepEqual(new Set((await Promise.all(responses)).map(({ status }) => status)), new Set([503]));
  assertProbes(edge, vm, 1);
});

test("edgeproxy sends no probe per request", async () => {
  await using platform = await Platform.start(server);
  const vm = await platform.vm(HOST);
  const sick = await platform.vm("sick.example.com", { healthStatus: 500 });
  const edge = await platform.edge(NO_BACKGROUND);
  for (let i = 0; i < 100; i++) {
    assert.equal((await get(edge, HOST)).status, 200);
    assert.equal((await get(edge, "sick.example.com")).status, 503);
  }
  for (const each of [vm, sick]) assertProbes(edge, each, 1);
});

test("edgeproxy probes a VM in the background while it is used, and stops when it is not", async () => {
  await using platform = await Platform.start(server);
  const vm = await platform.vm(HOST);
  const other = await platform.vm("other.example.com");
  const edge = await platform.edge(OFTEN);
  await edge.waitFor(async () => (await get(edge, HOST)).status === 200 && vm.probes >= 5, "does not probe in the background");
  await edge.waitFor(async () => (await watched(edge)).length === 0, "goes on watching a VM without traffic");
  const { probes } = vm;
  await edge.waitFor(async () => (await get(edge, "other.example.com")).status === 200 && other.probes >= 10);
  assert.equal(vm.probes, probes);
  assert.equal((await get(edge, HOST)).status, 200, "the next use is a first use");
  assert.ok(vm.probes > probes);
});

test("edgeproxy answers 503 at once while a VM is unhealthy, however long its next probe takes and traffic goes on", async () => {
  await using platform = await Platform.start(server);
  const vm = await platform.vm(HOST, { healthStatus: 500 });
  const edge = await platform.edge(OFTEN);
  assert.equal((await get(edge, HOST)).status, 503);
  // Longer than a VM without any traffic is kept in mind
  await edge.waitFor(async () => {
    assert.equal((await get(edge, HOST)).status, 503);
    return vm.probes >= 10;
  });
  const probe = holdProbes(vm);
  await probe.arrived;
  for (let i = 0; i < 5; i++) assert.equal((await get(edge, HOST)).status, 503);
  assert.equal((await watched(edge))[0]?.verdict, "unhealthy");
  vm.healthStatus = 200;
  probe.open();
  await edge.waitFor(async () => (await get(edge, HOST)).status === 200, "did not heal");
});

test("edgeproxy answers 503 at once when a VM is killed, and uses it again when it is back", async () => {
  await using platform = await Platform.start(server);
  const vm = await platform.vm(HOST);
  const edge = await platform.edge(OFTEN);
  await using client = await openRaw(edge.port, edge.host);
  const request = async (): Promise<string> => {
    client.send(getRequest(HOST));
    const response = await client.readResponse();
    return `${response.status} ${fieldValue(response, "x-edgeproxy-error") ?? "from the VM"}`;
  };
  assert.equal(await request(), "200 from the VM");
  await vm.die();
  for (let i = 0; i < 20; i++) assert.equal(await request(), "503 vm_unhealthy");
  const line = await edge.waitForLog((each) => each["msg"] === "VM unhealthy");
  assert.equal(line["level"], "warn");
  assert.equal(line["endpoint"], `vm/${vm.host}:${vm.port}`);
  await reaches(edge, { 'edgeproxy_endpoints{verdict="unhealthy"}': 1 });

  await vm.listen();
  await edge.waitFor(async () => await request() === "200 from the VM", "did not use the VM again");
  await edge.waitForLog((each) => each["msg"] === "VM healthy again");
  assert.equal(edge.log.filter((each) => each["msg"] === "VM unhealthy").length, 1, "on change, not per request");
});

for (const method of ["GET", "POST"]) {
  test(`edgeproxy sends a ${method} again when the connection was refused but a fresh probe passes`, async () => {
    await using platform = await Platform.start(server);
    const vm = await platform.vm(HOST);
    const edge = await platform.edge({ ...OFTEN, EDGEPROXY_HEALTH_TIMEOUT: "20s" }); // the probe is held for as long as this test takes
    vm.script = respond(200, "first", "Connection: close");
    assert.equal((await get(edge, HOST)).status, 200);
    vm.script = respond(200, "again");
    const probe = holdProbes(vm);
    await probe.arrived;
    // The VM restarts: its old self still has a probe to answer, and refuses connections; that answer must not count.
    await vm.refuse();
    const response = send(edge, method === "GET" ? getRequest(HOST) : postRequest(HOST, "the body"));
    await edge.waitFor(async () => await metric(edge, 'edgeproxy_upstream_connects_total{result="failed"}') === 1);
    await vm.listen();
    const { probes } = vm;
    probe.open();
    assert.equal((await response).body.toString(), "again");
    assert.equal(vm.requests.length, 2);
    assert.equal(vm.requests[1]?.body.toString(), method === "GET" ? "" : "the body");
    assert.ok(vm.probes > probes, "a fresh probe decided");
    await reaches(edge, { 'edgeproxy_upstream_retries_total{reason="probe_passed"}': 1 });
  });
}

test("edgeproxy answers 503 and sends nothing twice when the connection was refused and the fresh probe fails", async () => {
  await using platform = await Platform.start(server);
  const vm = await platform.vm(HOST);
  const edge = await platform.edge(NO_BACKGROUND);
  await get(edge, HOST);
  await vm.die();
  const response = await send(edge, postRequest(HOST, "the body"));
  assert.equal(fieldValue(response, "x-edgeproxy-error"), "vm_unhealthy");
  assert.equal(vm.requests.length, 1);
});

test("edgeproxy takes a connection broken by the VM as a sign, and a fresh probe heals the VM", async () => {
  await using platform = await Platform.start(server);
  const vm = await platform.vm(HOST);
  const edge = await platform.edge(NO_BACKGROUND);
  vm.script = resetConnection();
  assert.equal(fieldValue(await get(edge, HOST), "x-edgeproxy-error"), "upstream_reset");
  assert.equal(vm.requests.length, 1, "a request that may have had an effect is not sent again");
  await edge.waitForLog((line) => line["msg"] === "VM unhealthy");
  vm.script = respond(200, "well again");
  assert.equal((await get(edge, HOST)).body.toString(), "well again");
  assertProbes(edge, vm, 2);
});

test("edgeproxy breaks off the client's connection when the VM dies in the middle of its answer", async () => {
  await using platform = await Platform.start(server);
  const vm = await platform.vm(HOST);
  const edge = await platform.edge(NO_BACKGROUND);
  const beginnings = {
    length: "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf an ans",
    chunked: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nb\r\nhalf an ans\r\n",
  };
  for (const [framing, beginning] of Object.entries(beginnings)) {
    for (const end of ["reset", "end"] as const) {
      const died = Promise.withResolvers<void>();
      vm.script = async (_request, connection) => {
        connection.write(beginning);
        await died.promise;
        connection[end]();
      };
      await using client = await openRaw(edge.port, edge.host);
      client.send(getRequest(HOST));
      await client.readUntil("half an ans");
      died.resolve();
      assert.equal(await client.ended, "reset", `${framing}, ${end}`);
    }
  }
  await reaches(edge, { 'edgeproxy_requests_total{outcome="truncated",status_class="2xx"}': 4 });
});
