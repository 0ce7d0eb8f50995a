/** An endpoint that is cordoned gets no new request, from any worker, and nobody notices; where it was the last one, the answer says so. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { startLoad } from "../fixtures/constant-load.ts";
import { type Edgeproxy, temporaryFolder } from "../fixtures/edgeproxy.ts";
import { fieldValue } from "../fixtures/http1.ts";
import { loadScript } from "../fixtures/load-vm.ts";
import { get, Platform } from "../fixtures/platform.ts";
import { startPostgres, type TestDatabase } from "../fixtures/postgres.ts";
import { signalTo } from "../fixtures/processes.ts";
import { getRequest, openRaw } from "../fixtures/raw-client.ts";
import { metric } from "../fixtures/served-vms.ts";
import { respond, startVm, type Vm } from "../fixtures/vm.ts";

const HOST = "app.example.com";
const OFTEN = { EDGEPROXY_HEALTH_INTERVAL: "250ms" };

let server: TestDatabase;
before(async () => server = await startPostgres());
after(() => server[Symbol.asyncDispose]());

function keyOf({ host, port }: Vm): string {
  return `vm/${host}:${port}`;
}

async function cordon(edge: Edgeproxy, vm: Vm, body: object = {}): Promise<void> {
  const path = `/api/endpoints/${encodeURIComponent(keyOf(vm))}/cordon`;
  const response = await edge.admin(path, { method: "POST", body: JSON.stringify(body) });
  assert.equal(response.status, 200, await response.text());
}

async function uncordon(edge: Edgeproxy, vm: Vm): Promise<void> {
  const response = await edge.admin(`/api/endpoints/${encodeURIComponent(keyOf(vm))}/cordon`, { method: "DELETE" });
  assert.equal(response.status, 200, await response.text());
}

async function inFlight(edge: Edgeproxy, vm: Vm): Promise<number> {
  const response = await edge.admin(`/api/endpoints/${encodeURIComponent(keyOf(vm))}`);
  return (await response.json() as { in_flight: number }).in_flight;
}

async function codeOf(edge: Edgeproxy, host: string): Promise<string | undefined> {
  return fieldValue(await get(edge, host), "x-edgeproxy-error");
}

test("one of two VMs is cordoned under load: it gets no new request, none fails, and it comes back", async () => {
  await using platform = await Platform.start(server);
  const out = await platform.vm(HOST, { script: loadScript });
  const other = await platform.vm(HOST, { script: loadScript });
  const edge = await platform.edge({ ...OFTEN, EDGEPROXY_WORKERS: "2" });
  const flows = ["keep-alive", "new connection", "upload"] as const;
  await using load = startLoad({ host: edge.host, port: edge.port, domain: HOST, flows });
  await load.progress(1);
  await Promise.all([out, other].map((vm) => vm.until(({ requests }) => requests.length > 20)));
  await cordon(edge, out, { reason: "new disk" });
  await edge.waitFor(async () => await inFlight(edge, out) === 0, "what was under way does not end"); // an upload is seen when it is whole
  const before = out.requests.length;
  assert.equal(await metric(edge, "edgeproxy_endpoints_cordoned"), 1);
  const probes = out.probes, others = other.requests.length;
  await out.until((vm) => vm.probes >= probes + 4);
  await load.progress(1);
  assert.equal(out.requests.length, before, "no new request");
  assert.ok(other.requests.length > others);
  await uncordon(edge, out);
  await out.until(({ requests }) => requests.length > before + 20);
  await load.progress(1);
  assert.deepEqual((await load.stop()).failures, [], edge.report());
});

test("what runs at a VM that is cordoned goes on to its end; connections at rest are closed", async () => {
  await using platform = await Platform.start(server);
  const vm = await platform.vm(HOST);
  const edge = await platform.edge();
  assert.equal((await get(edge, HOST)).status, 200);
  const released = Promise.withResolvers<void>();
  vm.script = async (request, connection) => {
    if (request.target === "/tunnel") {
      connection.write("HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n");
      connection.takeOver((chunk) => connection.write(chunk));
      return;
    }
    await released.promise;
    await respond(200, "at last")(request, connection);
  };
  await using tunnel = await openRaw(edge.port, edge.host);
  tunnel.send(getRequest(HOST, "/tunnel", "Connection: Upgrade", "Upgrade: echo"));
  assert.equal((await tunnel.readResponse()).status, 101);
  const slow = get(edge, HOST, "/slow");
  await vm.until(({ requests }) => requests.length === 3);
  await cordon(edge, vm);
  assert.equal(await codeOf(edge, HOST), "vm_cordoned");
  tunnel.send("still here");
  assert.equal(await tunnel.readUntil("still here"), "still here");
  released.resolve();
  assert.equal((await slow).body.toString(), "at last");
  await vm.until(({ open }) => open === 1); // the tunnel
});

test("a cordoned VM leaves its requests to the other region, the last endpoint of all to an answer that says why", async () => {
  await using platform = await Platform.start(server);
  const there = await platform.addRegion();
  await using far = await startVm({ host: there.address, port: platform.edgePort, script: respond(200, "far") });
  const vm = await platform.vm(HOST);
  await platform.route(HOST, { address: "10.99.0.1", port: 80, region: there });
  const edge = await platform.edge();
  assert.equal((await get(edge, HOST)).body.toString(), `hello from ${vm.host}\n`);
  await cordon(edge, vm);
  assert.equal((await get(edge, HOST)).body.toString(), "far");
  const path = `/api/endpoints/${encodeURIComponent(`region/${far.host}:${far.port}`)}/cordon`;
  assert.equal((await edge.admin(path, { method: "POST", body: "{}" })).status, 200);
  const refused = await get(edge, HOST);
  assert.deepEqual(
    [refused.status, refused.body.toString(), fieldValue(refused, "x-edgeproxy-error"), fieldValue(refused, "x-edgeproxy-blame")],
    [503, "Service Unavailable", "vm_cordoned", "edge"],
  );
});

test("a cordon ends by itself, and that is told", async () => {
  await using platform = await Platform.start(server);
  const vm = await platform.vm(HOST);
  const edge = await platform.edge();
  const orderedAtMs = performance.now();
  await cordon(edge, vm, { expires: "1s", reason: "short" });
  const code = await codeOf(edge, HOST);
  assert.ok(code === "vm_cordoned" || performance.now() - orderedAtMs >= 1000, `${code} before its time is over`);
  await edge.waitFor(async () => await codeOf(edge, HOST) === undefined, "still cordons");
  const line = await edge.waitForLog(({ msg }) => msg === "cordon expired");
  assert.deepEqual([line["endpoint"], line["reason"]], [keyOf(vm), "short"]);
  const audit = await (await edge.admin("/api/audit")).text();
  assert.match(audit, /cordon-expired/);
});

test("cordons reach workers that start later, and survive restart and hand-over", async () => {
  await using platform = await Platform.start(server);
  await using folder = await temporaryFolder();
  const vm = await platform.vm(HOST);
  const env = { EDGEPROXY_STATE_DIR: folder.path };
  const edge = await platform.edge(env);
  await cordon(edge, vm, { reason: "new disk" });
  const [first] = await edge.workers();
  signalTo(first!.pid, "SIGKILL");
  await edge.waitFor(async () => {
    const [worker] = await edge.workers();
    return worker?.state === "serving" && worker.pid !== first!.pid;
  });
  assert.equal(await codeOf(edge, HOST), "vm_cordoned", "a worker that starts later");
  edge.signal("SIGUSR2");
  await edge.waitForLog(({ msg }) => msg === "cordons restored");
  await edge.ended;
  await edge.waitFor(async () => await codeOf(edge, HOST) === "vm_cordoned", "after the hand-over");
  const list = async (at: Edgeproxy) =>
    (await (await at.admin("/api/cordons", { keepalive: false })).json() as { cordons: unknown[] }).cordons;
  await edge.waitFor(async () => (await list(edge)).length === 1);
  const kept = await list(edge);
  for (const pid of edge.pids) signalTo(pid, "SIGTERM");
  await edge.exited;
  const again = await platform.edge(env);
  assert.equal(await codeOf(again, HOST), "vm_cordoned", "after a restart");
  assert.deepEqual(await list(again), kept);
  await uncordon(again, vm);
  assert.equal(await codeOf(again, HOST), undefined);
});

test("endpoints are listed with their health, its history and its use; changes are events", async () => {
  await using platform = await Platform.start(server);
  const there = await platform.addRegion();
  const vm = await platform.vm(HOST);
  await platform.route("far.example.com", { address: "10.99.0.1", port: 80, region: there });
  const edge = await platform.edge(OFTEN);
  assert.equal((await get(edge, HOST)).status, 200);
  assert.equal((await get(edge, "far.example.com")).status, 502);
  const show = async (key: string) => await (await edge.admin(`/api/endpoints/${encodeURIComponent(key)}`)).json() as EndpointView;
  const healthy = await show(keyOf(vm));
  assert.deepEqual([healthy.verdict, healthy.routes, healthy.hosts, healthy.in_flight], ["healthy", 1, [HOST], 0]);
  const region = await show(`region/${there.address}:${platform.edgePort}`);
  assert.deepEqual([region.verdict, region.probes, region.hosts], [null, [], ["far.example.com"]]);
  assert.match(region.last_failure?.reason ?? "", /ECONNREFUSED/);
  vm.healthStatus = 500;
  await edge.waitFor(async () => await codeOf(edge, HOST) === "vm_unhealthy");
  vm.healthStatus = 200;
  await edge.waitFor(async () => await codeOf(edge, HOST) === undefined);
  const { probes, changes } = await show(keyOf(vm));
  assert.deepEqual(changes.map(({ verdict, reason }) => `${verdict} ${reason}`), [
    "healthy status 200",
    "unhealthy status 500",
    "healthy status 200",
  ]);
  assert.ok(probes.length >= 3 && probes.some(({ healthy, reason }) => !healthy && reason === "status 500"));
  assert.match(await healthEvents(edge, 2), /"verdict":"unhealthy"[^]*"verdict":"healthy"/);
  const list = await (await edge.admin("/api/endpoints?sort=-in_flight")).json() as { endpoints: EndpointView[] };
  assert.deepEqual(list.endpoints.map(({ key }) => key).toSorted(), [keyOf(vm), region.key].toSorted());
});

/** The first of them, as they are streamed. */
async function healthEvents(edge: Edgeproxy, count: number): Promise<string> {
  const leave = new AbortController();
  const response = await edge.admin("/api/events?types=health", { headers: { "Last-Event-ID": "0" }, signal: leave.signal });
  let text = "";
  for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) {
    text += chunk;
    if (text.split("event: health").length > count && text.endsWith("\n\n")) break;
  }
  leave.abort();
  return text;
}

interface EndpointView {
  readonly key: string;
  readonly verdict: string | null;
  readonly routes: number;
  readonly "in_flight": number;
  readonly hosts: readonly string[];
  readonly "last_failure": { readonly reason: string } | null;
  readonly probes: readonly { readonly healthy: boolean; readonly reason: string }[];
  readonly changes: readonly { readonly verdict: string; readonly reason: string }[];
}
