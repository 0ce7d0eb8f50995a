/** Two and more edges as regions: who the client is, what the far VM gets, and what happens when a region is away. */
import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import type { Edgeproxy, LogLine } from "../fixtures/edgeproxy.ts";
import { fieldValue, fieldValues } from "../fixtures/http1.ts";
import { get, Platform, postRequest, type Region, send } from "../fixtures/platform.ts";
import { startPostgres, type TestDatabase } from "../fixtures/postgres.ts";
import { getRequest, openRaw, rawRequest } from "../fixtures/raw-client.ts";
import { respond, sendRaw, startVm, type Vm, type VmRequest } from "../fixtures/vm.ts";

let server: TestDatabase;
before(async () => {
  server = await startPostgres();
});
after(() => server[Symbol.asyncDispose]());

const HOST = "app.example.com";
/** Where the client comes from; the edges' own connections come from 127.0.0.1. */
const CLIENT = "127.88.7.6";
const EDGE = "127.0.0.1";
const ACCESS_LOG = { EDGEPROXY_ACCESS_LOG: "on" };

interface TwoRegions {
  readonly there: Region;
  /** It runs in the far region. */
  readonly vm: Vm;
  readonly near: Edgeproxy;
  readonly far: Edgeproxy;
}

async function twoRegions(
  platform: Platform,
  near: Readonly<Record<string, string>>,
  far: Readonly<Record<string, string>>,
): Promise<TwoRegions> {
  const there = await platform.addRegion();
  const vm = await platform.vm(HOST, { region: there });
  return {
    there,
    vm,
    near: await platform.edge({ ...ACCESS_LOG, ...near }),
    far: await platform.edge({ ...ACCESS_LOG, ...far }, { region: there }),
  };
}

async function lastRequest(vm: Vm): Promise<VmRequest> {
  await vm.until((each) => each.requests.length > 0);
  return vm.requests.at(-1)!;
}

async function accessLine(edge: Edgeproxy): Promise<LogLine> {
  return await edge.waitForLog((line) => line["msg"] === "access");
}

test("edgeproxy keeps the client's address and the request id across regions that trust each other", async () => {
  await using platform = await Platform.start(server);
  const { vm, near, far, there } = await twoRegions(platform, {}, { EDGEPROXY_TRUSTED_PROXIES: `10.0.0.0/8, ${EDGE}/32` });
  const response = await rawRequest(near.port, getRequest(`${HOST}:8080`, "/x?y"), near.host, CLIENT);
  assert.equal(response.status, 200);
  const request = await lastRequest(vm);
  const nearLine = await accessLine(near);
  const farLine = await accessLine(far);
  assert.equal(request.startLine, "GET /x?y HTTP/1.1");
  assert.deepEqual(fieldValues(request, "host"), [`${HOST}:8080`]);
  assert.deepEqual(fieldValues(request, "x-forwarded-for"), [`${CLIENT}, ${EDGE}`]);
  assert.deepEqual(fieldValues(request, "x-real-ip"), [CLIENT]);
  assert.deepEqual(fieldValues(request, "x-forwarded-host"), [`${HOST}:8080`]);
  assert.deepEqual(fieldValues(request, "x-forwarded-proto"), ["http"]);
  assert.deepEqual(fieldValues(request, "via"), [`1.1 edgeproxy-${platform.region.id}, 1.1 edgeproxy-${there.id}`]);
  assert.match(String(nearLine["request_id"]), /^[0-9a-f]{32}$/);
  assert.deepEqual([farLine["request_id"], fieldValue(request, "x-request-id")], [nearLine["request_id"], nearLine["request_id"]]);
  const [, traceId, ...more] = (fieldValues(request, "traceparent").join(", ")).split("-");
  assert.deepEqual([traceId, more.length], [nearLine["request_id"], 2], "the second edge keeps the trace that the first one began");
  assert.deepEqual([nearLine["region"], nearLine["upstream"]], [there.id, `${there.address}:${platform.edgePort}`]);
  assert.deepEqual([farLine["region"], farLine["upstream"]], [there.id, `${vm.host}:${vm.port}`]);
});

test("edgeproxy leaves what routes rewrite and edit to the edge of the VM's region, which has the same routes", async () => {
  const folder = await mkdtemp(join(tmpdir(), "edgeproxy-routes-"));
  const file = join(folder, "routes.json");
  const headers = { request: { set: { "X-Gateway": "{region}" } }, response: { add: { "X-Served": "{region}" } } };
  const rewrite = { stripPrefix: "/api", addPrefix: "/v1" };
  await writeFile(file, JSON.stringify({ routes: [{ hosts: [HOST], path: "/api", service: "vms", rewrite, headers }] }));
  await using platform = await Platform.start(server);
  const routes = { EDGEPROXY_CONFIG_FILE: file };
  const { vm, near, there } = await twoRegions(platform, routes, routes);
  const response = await rawRequest(near.port, getRequest(HOST, "/api/x", "X-Gateway: mine"), near.host, CLIENT);
  await rm(folder, { recursive: true });
  const request = await lastRequest(vm);
  assert.equal(request.startLine, "GET /v1/x HTTP/1.1");
  assert.deepEqual([fieldValues(request, "x-gateway"), fieldValues(response, "x-served")], [[there.id], [there.id]]);
});

test("edgeproxy replaces what a peer says of the client when it does not trust that peer", async () => {
  await using platform = await Platform.start(server);
  const { vm, near, far } = await twoRegions(platform, {}, {});
  await rawRequest(near.port, getRequest(HOST), near.host, CLIENT);
  const request = await lastRequest(vm);
  assert.deepEqual(fieldValues(request, "x-forwarded-for"), [EDGE]);
  assert.deepEqual(fieldValues(request, "x-real-ip"), [EDGE]);
  const [nearLine, farLine] = [await accessLine(near), await accessLine(far)];
  assert.notEqual(nearLine["request_id"], farLine["request_id"]);
  assert.equal(fieldValue(request, "x-request-id"), farLine["request_id"]);
  assert.match(fieldValue(request, "traceparent") ?? "", new RegExp(`^00-${nearLine["request_id"]}-[0-9a-f]{16}-00$`));
});

test("edgeproxy believes no client that tells stories about itself", async () => {
  await using platform = await Platform.start(server);
  const { vm, near } = await twoRegions(platform, {}, { EDGEPROXY_TRUSTED_PROXIES: EDGE });
  const stories = [
    "X-Forwarded-For: 198.51.100.1",
    "x-forwarded-for: 198.51.100.2",
    "X-Real-IP: 198.51.100.3",
    "X-Forwarded-Host: bank.example",
    "X-Forwarded-Proto: https",
    "X-Forwarded-Port: 443",
    "Forwarded: for=198.51.100.4",
    "X-Request-Id: mine",
  ];
  await rawRequest(near.port, getRequest(HOST, "/", ...stories), near.host, CLIENT);
  const request = await lastRequest(vm);
  assert.deepEqual(fieldValues(request, "x-forwarded-for"), [`${CLIENT}, ${EDGE}`]);
  assert.deepEqual(fieldValues(request, "x-real-ip"), [CLIENT]);
  assert.deepEqual(fieldValues(request, "x-forwarded-host"), [HOST]);
  assert.deepEqual(fieldValues(request, "x-forwarded-proto"), ["http"]);
  for (const name of ["x-forwarded-port", "forwarded"]) assert.deepEqual(fieldValues(request, name), [], name);
  assert.notEqual(fieldValue(request, "x-request-id"), "mine");
});

test("edgeproxy takes a trusted load balancer's word for the client, through both regions", async () => {
  await using platform = await Platform.start(server);
  const trusted = { EDGEPROXY_TRUSTED_PROXIES: `${EDGE},127.88.0.0/16` };
  const { vm, near, far } = await twoRegions(platform, trusted, trusted);
  const told = [
    "X-Forwarded-For: 192.0.2.66, 203.0.113.5",
    "X-Forwarded-Proto: https",
    "X-Forwarded-Host: shop.example",
    "X-Request-Id: lb-7",
  ];
  await rawRequest(near.port, getRequest(HOST, "/", ...told), near.host, CLIENT);
  const request = await lastRequest(vm);
  assert.deepEqual(fieldValues(request, "x-forwarded-for"), [`192.0.2.66, 203.0.113.5, ${CLIENT}, ${EDGE}`]);
  assert.deepEqual(fieldValues(request, "x-real-ip"), ["203.0.113.5"], "the last address that no trusted proxy has");
  assert.deepEqual(fieldValues(request, "x-forwarded-proto"), ["https"]);
  assert.deepEqual(fieldValues(request, "x-forwarded-host"), ["shop.example"]);
  assert.deepEqual(fieldValues(request, "x-request-id"), ["lb-7"]);
  assert.match(fieldValues(request, "traceparent").join(", "), /^00-[0-9a-f]{32}-[0-9a-f]{16}-00$/);
  assert.deepEqual([(await accessLine(near))["request_id"], (await accessLine(far))["request_id"]], ["lb-7", "lb-7"]);
});

test("edgeproxy streams bodies through both regions and keeps their fields", async () => {
  await using platform = await Platform.start(server);
  const { vm, near } = await twoRegions(platform, {}, {});
  const body = "x".repeat(300_000);
  vm.script = (request, connection) =>
    respond(201, request.body, "X-Case: Kept", "Set-Cookie: a=1", "Set-Cookie: b=2")(request, connection);
  const response = await send(near, postRequest(HOST, body));
  assert.equal(response.status, 201);
  assert.ok(response.body.equals(Buffer.from(body)));
  assert.deepEqual(fieldValues(response, "set-cookie"), ["a=1", "b=2"]);
  assert.ok(response.raw.includes("X-Case: Kept"));
});

test("edgeproxy hands on what the far region answers itself", async () => {
  await using platform = await Platform.start(server);
  const { vm, near } = await twoRegions(platform, {}, { EDGEPROXY_TRUSTED_PROXIES: EDGE });
  await vm.die();
  const response = await get(near, HOST);
  const line = await accessLine(near);
  assert.equal(`${response.status} ${response.body.toString()}`, "503 Service Unavailable - VM not responding");
  assert.deepEqual(fieldValues(response, "x-edgeproxy-error"), ["vm_unhealthy"]);
  assert.deepEqual(fieldValues(response, "x-request-id"), [line["request_id"]]);
  assert.deepEqual([line["status"], line["error"]], [503, ""], "it was no error of the near region");
});

test("edgeproxy answers 502 when a region cannot be reached, and 200 as soon as it is back", async () => {
  await using platform = await Platform.start(server);
  const there = await platform.addRegion();
  await platform.vm(HOST, { region: there });
  const near = await platform.edge();
  for (let i = 0; i < 3; i++) {
    const response = await get(near, HOST);
    assert.deepEqual([response.status, fieldValue(response, "x-edgeproxy-error")], [502, "connect_failed"]);
  }
  const line = await near.waitForLog((each) => each["msg"] === "proxy error");
  assert.deepEqual([line["level"], line["code"], line["host"]], ["error", "connect_failed", HOST]);
  assert.equal(line["upstream"], `${there.address}:${platform.edgePort}`);
  await platform.edge({}, { region: there });
  assert.equal((await get(near, HOST)).status, 200);
});

test("edgeproxy tries the second region when the first cannot be reached, also with a body", async () => {
  await using platform = await Platform.start(server);
  const [dead, alive] = [await platform.addRegion(), await platform.addRegion()];
  await using far = await startVm({ host: alive.address, port: platform.edgePort, script: respond(200, "alive") });
  for (const region of [dead, alive]) await platform.route(HOST, { address: "10.99.0.1", port: 80, region });
  const near = await platform.edge();
  for (let i = 0; i < 20; i++) {
    const response = await send(near, i % 2 === 0 ? getRequest(HOST) : postRequest(HOST, `body ${i}`));
    assert.equal(response.body.toString(), "alive");
  }
  assert.equal(far.requests.length, 20);
  assert.deepEqual(
    far.requests.filter((_, i) => i % 2 === 1).map((request) => request.body.toString()),
    Array.from({ length: 10 }, (_, i) => `body ${2 * i + 1}`),
  );
  assert.equal(far.probes, 0, "regions are never probed");
});

test("edgeproxy answers 502 when every region of a domain cannot be reached", async () => {
  await using platform = await Platform.start(server);
  for (let i = 0; i < 3; i++) await platform.route(HOST, { address: "10.99.0.1", port: 80, region: await platform.addRegion() });
  const response = await get(await platform.edge(), HOST);
  assert.deepEqual([response.status, fieldValue(response, "x-edgeproxy-error")], [502, "connect_failed"]);
});

test("edgeproxy breaks off when the far VM dies in the middle of its answer", async () => {
  await using platform = await Platform.start(server);
  const { vm, near } = await twoRegions(platform, {}, {});
  vm.script = sendRaw("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf an ans", "reset");
  await using client = await openRaw(near.port, near.host);
  client.send(getRequest(HOST));
  assert.match(await client.readToEnd(), /half an ans$|^$/);
  assert.equal(await client.ended, "reset");
});
