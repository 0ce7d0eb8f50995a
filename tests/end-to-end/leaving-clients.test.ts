/*  Clients that leave while their request waits: for the first verdict on its VM, for a connection to be made, for the VM. Each
 *  must be let go at once, and its VM must hear nothing of it later.
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import { after, before, test } from "node:test";
import { insertRegion, insertRoute } from "../fixtures/postgres.ts";
import { getRequest } from "../fixtures/raw-client.ts";
import { DataPlane, metric, settled } from "../fixtures/served-vms.ts";
import { UnresponsiveListener } from "../fixtures/unresponsive-listener.ts";
import { hang } from "../fixtures/vm.ts";

/** Whoever is held until then has failed. */
const LONG_MS = 60_000;
const SOON_MS = 10_000;

let plane: DataPlane;
let silent: UnresponsiveListener;
before(async () => {
  silent = await UnresponsiveListener.start("127.0.0.1");
  plane = await DataPlane.start({
    EDGEPROXY_HEALTH_TIMEOUT: `${LONG_MS}ms`,
    EDGEPROXY_CONNECT_TIMEOUT: `${LONG_MS}ms`,
    EDGEPROXY_REGION_PORT: String(silent.port),
  });
});
after(async () => {
  await plane[Symbol.asyncDispose]();
  await silent[Symbol.asyncDispose]();
});

const BODY = "x".repeat(100_000);
/** Requests for a host, by what is special about them. */
const REQUESTS: Readonly<Record<string, (host: string) => string>> = {
  "a request without body": (host) => getRequest(host),
  "a request with its whole body": (host) => `POST / HTTP/1.1\r\nHost: ${host}\r\nContent-Length: 3\r\n\r\nabc`,
  "a request whose body is too much to be kept": (host) =>
    `POST / HTTP/1.1\r\nHost: ${host}\r\nContent-Length: ${BODY.length}\r\n\r\n${BODY}`,
};

/** Sends the request, leaves with RST once it is under way, and waits until the proxy has let go. */
async function leaveEarly(request: string, underWay: () => Promise<void>): Promise<void> {
  const client = await plane.open();
  client.send(request);
  await underWay();
  await plane.proxy.waitFor(async () => await metric(plane.proxy, "edgeproxy_exchanges_active") === 1);
  const leftAtMs = performance.now();
  client.reset();
  await once(client.socket, "close");
  await plane.proxy.waitFor(async () => await metric(plane.proxy, "edgeproxy_exchanges_active") === 0);
  assert.ok(performance.now() - leftAtMs < SOON_MS, "held long after its client had gone");
}

for (const [what, request] of Object.entries(REQUESTS)) {
  // rule: RFC 9112, 9.5 | nothing reaches the VM
  test(`${what} is let go when its client leaves before the first verdict on its VM`, async () => {
    const { vm, host } = await plane.vm();
    const verdict = Promise.withResolvers<void>();
    vm.onProbe = () => verdict.promise;
    await leaveEarly(request(host), () => vm.until(() => vm.probes > 0));
    verdict.resolve();
    await using next = await plane.open();
    next.send(getRequest(host));
    assert.equal((await next.readResponse()).status, 200);
    assert.deepEqual(vm.requests.map((each) => each.method), ["GET"], "the VM hears of the one who has stayed");
    assert.equal(vm.transcripts.length, 1);
  });

  // rule: RFC 9112, 9.5 | nothing reaches the VM
  test(`${what} is let go when its client leaves while a connection is made`, async () => {
    const elsewhere = await insertRegion(plane.database, { publicIpv4: silent.host });
    const name = `far-${what.length}.example.com`;
    await insertRoute(plane.database, { name, regionId: elsewhere, privateIp: "10.255.255.1", port: 80 });
    await plane.refresh();
    await leaveEarly(request(name), () => Promise.resolve());
    assert.equal(await metric(plane.proxy, 'edgeproxy_upstream_connections{state="busy"}'), 0);
  });

  // rule: RFC 9112, 9.5 | VM connection closed
  test(`${what} is let go when its client leaves before the VM's answer`, async () => {
    const { vm, host } = await plane.vm({ script: hang() });
    let heads = 0;
    vm.onHead = () => void heads++;
    await leaveEarly(request(host), () => vm.until(() => heads > 0));
    await vm.until(() => vm.open === 0);
  });
}

test("nothing is left in use when all clients have gone", () => settled(plane.proxy));
