/** Contract section 5, row by row: which endpoint a request reaches, and what it gets when there is none. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { Edgeproxy } from "../fixtures/edgeproxy.ts";
import { fieldValue } from "../fixtures/http1.ts";
import { get, Platform, send } from "../fixtures/platform.ts";
import { loopbackAddress, loopbackAddressWithPort80 } from "../fixtures/ports.ts";
import { createDatabase, createSchema, insertRegion, insertRoute, startPostgres, type TestDatabase } from "../fixtures/postgres.ts";
import { getRequest, openRaw, type RawResponse } from "../fixtures/raw-client.ts";
import { respond, startVm, type Vm } from "../fixtures/vm.ts";

let server: TestDatabase;
before(async () => {
  server = await startPostgres();
});
after(() => server[Symbol.asyncDispose]());

/** Status and error code, or the body when the answer is not the proxy's own. */
function outcome(response: RawResponse): string {
  return `${response.status} ${fieldValue(response, "x-edgeproxy-error") ?? response.body.toString()}`;
}

async function outcomes(edge: Edgeproxy, hosts: readonly string[]): Promise<Record<string, string>> {
  const pairs = await Promise.all(hosts.map(async (host) => [host, outcome(await get(edge, host))]));
  return Object.fromEntries(pairs) as Record<string, string>;
}

/** VMs that answer with the name of their domain. */
async function namedVms(platform: Platform, domains: readonly string[]): Promise<Vm[]> {
  return await Promise.all(domains.map((domain) => platform.vm(domain, { script: respond(200, domain) })));
}

test("edgeproxy finds a route by its exact name before any wildcard", async () => {
  await using platform = await Platform.start(server);
  await namedVms(platform, ["*.example.com", "app.example.com"]);
  const edge = await platform.edge();
  assert.deepEqual(await outcomes(edge, ["app.example.com", "other.example.com"]), {
    "app.example.com": "200 app.example.com",
    "other.example.com": "200 *.example.com",
  });
});

test("edgeproxy finds the longest wildcard at any depth, and never the bare name below which it stands", async () => {
  await using platform = await Platform.start(server);
  await namedVms(platform, ["*.example.com", "*.b.example.com", "*.c.b.example.com"]);
  const edge = await platform.edge();
  assert.deepEqual(
    await outcomes(edge, [
      "a.example.com",
      "x.y.z.example.com",
      "b.example.com",
      "a.b.example.com",
      "c.b.example.com",
      "a.c.b.example.com",
      "1.2.3.c.b.example.com",
      "example.com",
      "example.com.evil.test",
      "badexample.com",
    ]),
    {
      "a.example.com": "200 *.example.com",
      "x.y.z.example.com": "200 *.example.com",
      "b.example.com": "200 *.example.com",
      "a.b.example.com": "200 *.b.example.com",
      "c.b.example.com": "200 *.b.example.com",
      "a.c.b.example.com": "200 *.c.b.example.com",
      "1.2.3.c.b.example.com": "200 *.c.b.example.com",
      "example.com": "404 no_route",
      "example.com.evil.test": "404 no_route",
      "badexample.com": "404 no_route",
    },
  );
});

test("edgeproxy compares hosts without case, port and trailing dot, and hands Host on as it came", async () => {
  await using platform = await Platform.start(server);
  const [vm] = await namedVms(platform, ["app.example.com"]);
  const edge = await platform.edge();
  const spellings = ["APP.Example.COM", "app.example.com:8080", "app.example.com.", "App.Example.Com.:65535", "app.example.com:"];
  for (const host of spellings) assert.equal(outcome(await get(edge, host)), "200 app.example.com", host);
  assert.deepEqual(vm!.requests.map((request) => fieldValue(request, "host")), spellings);
});

test("edgeproxy understands domains as people write them into the database", async () => {
  await using platform = await Platform.start(server);
  await namedVms(platform, [
    "Upper.Example.COM",
    "dotted.example.com.",
    " padded.example.com ",
    "*.Wild.Example.com",
    "bücher.example",
  ]);
  const edge = await platform.edge();
  assert.deepEqual(
    await outcomes(edge, [
      "upper.example.com",
      "dotted.example.com",
      "padded.example.com",
      "a.wild.example.com",
      "xn--bcher-kva.example",
    ]),
    {
      "upper.example.com": "200 Upper.Example.COM",
      "dotted.example.com": "200 dotted.example.com.",
      "padded.example.com": "200  padded.example.com ",
      "a.wild.example.com": "200 *.Wild.Example.com",
      "xn--bcher-kva.example": `200 ${Buffer.from("bücher.example").toString()}`,
    },
  );
});

test("edgeproxy understands IP addresses as hosts, IPv6 in any spelling", async () => {
  await using platform = await Platform.start(server);
  await namedVms(platform, ["2001:db8::5", "203.0.113.9"]);
  const edge = await platform.edge();
  for (const host of ["[2001:db8::5]", "[2001:DB8:0:0::0005]:8080", "[2001:db8::5]:"]) {
    assert.equal(outcome(await get(edge, host)), "200 2001:db8::5", host);
  }
  assert.equal(outcome(await get(edge, "203.0.113.9:80")), "200 203.0.113.9");
  assert.equal(outcome(await get(edge, "[2001:db8::6]")), "404 no_route");
  assert.equal(outcome(await get(edge, "2001:db8::5")), "400 bad_request");
});

test("edgeproxy answers 404 when there is no route, and the connection goes on", async () => {
  await using platform = await Platform.start(server);
  const edge = await platform.edge();
  await using connection = await openRaw(edge.port, edge.host);
  for (let i = 0; i < 2; i++) {
    connection.send(getRequest("nobody.example.com"));
    assert.equal(outcome(await connection.readResponse()), "404 no_route");
  }
  assert.equal(outcome(await send(edge, "GET / HTTP/1.0\r\n\r\n")), "404 no_route", "HTTP/1.0 may come without Host");
});

test("edgeproxy answers 400 to HTTP/1.1 without Host, with two, or with a malformed one", async () => {
  await using platform = await Platform.start(server);
  const [vm] = await namedVms(platform, ["app.example.com"]);
  const edge = await platform.edge();
  const heads = {
    none: "GET / HTTP/1.1\r\nAccept: */*\r\n\r\n",
    two: "GET / HTTP/1.1\r\nHost: app.example.com\r\nHost: app.example.com\r\n\r\n",
    "two that differ": "GET / HTTP/1.1\r\nHost: app.example.com\r\nX-A: b\r\nhost: other.example.com\r\n\r\n",
    list: "GET / HTTP/1.1\r\nHost: app.example.com, other.example.com\r\n\r\n",
    "user information": "GET / HTTP/1.1\r\nHost: me@app.example.com\r\n\r\n",
    path: "GET / HTTP/1.1\r\nHost: app.example.com/x\r\n\r\n",
    port: "GET / HTTP/1.1\r\nHost: app.example.com:99999\r\n\r\n",
    empty: "GET / HTTP/1.1\r\nHost:\r\n\r\n",
  };
  for (const [name, head] of Object.entries(heads)) assert.equal(outcome(await send(edge, head)), "400 bad_request", name);
  assert.equal(vm!.requests.length, 0);
});

test("edgeproxy takes the host of an absolute target rather than the Host field", async () => {
  await using platform = await Platform.start(server);
  const [vm] = await namedVms(platform, ["app.example.com", "other.example.com"]);
  const edge = await platform.edge();
  const response = await send(edge, "GET http://app.example.com/a?b HTTP/1.1\r\nHost: other.example.com\r\n\r\n");
  assert.equal(outcome(response), "200 app.example.com");
  assert.deepEqual(vm!.requests.map((request) => [request.target, fieldValue(request, "host")]), [["/a?b", "app.example.com"]]);
});

test("edgeproxy speaks to a VM of its own region at private address and port", async () => {
  await using platform = await Platform.start(server);
  const vm = await platform.vm("app.example.com", { script: respond(200, "from the VM") });
  const edge = await platform.edge();
  assert.equal(outcome(await get(edge, "app.example.com", "/x?y=1")), "200 from the VM");
  assert.deepEqual(vm.requests.map((request) => request.startLine), ["GET /x?y=1 HTTP/1.1"]);
  assert.equal(fieldValue(vm.requests[0]!, "via"), `1.1 edgeproxy-${platform.region.id}`);
});

test("edgeproxy speaks to another region at its public address, port 80", async (t) => {
  const address = await loopbackAddressWithPort80().catch(() => null);
  if (address === null) return t.skip("this user may not listen on port 80");
  await using platform = await Platform.start(server);
  await using otherEdge = await startVm({ host: address, port: 80, script: respond(200, "from the other region") });
  const there = await platform.addRegion(address);
  await platform.route("far.example.com", { address: "10.99.0.1", port: 8080, region: there });
  const edge = await platform.edge({ EDGEPROXY_REGION_PORT: "" });
  assert.equal(outcome(await get(edge, "far.example.com")), "200 from the other region");
  assert.equal(fieldValue(otherEdge.requests[0]!, "host"), "far.example.com");
  assert.equal(otherEdge.probes, 0, "regions are never probed");
});

test("edgeproxy prefers VMs here and fails over to the other region while they are unhealthy", async () => {
  await using platform = await Platform.start(server);
  const local = await platform.vm("both.example.com", { script: respond(200, "here") });
  const there = await platform.addRegion();
  await using otherEdge = await startVm({ host: there.address, port: platform.edgePort, script: respond(200, "there") });
  await platform.route("both.example.com", { address: "10.99.0.1", port: 8080, region: there });
  const edge = await platform.edge({ EDGEPROXY_HEALTH_INTERVAL: "100ms" });

  for (let i = 0; i < 10; i++) assert.equal(outcome(await get(edge, "both.example.com")), "200 here");
  assert.equal(otherEdge.requests.length, 0);
  await local.die();
  for (let i = 0; i < 10; i++) assert.equal(outcome(await get(edge, "both.example.com")), "200 there");
  await local.listen();
  await edge.waitFor(async () => outcome(await get(edge, "both.example.com")) === "200 here", "did not return to the VM here");
});

test("edgeproxy uses every healthy VM here and none that is unhealthy", async () => {
  await using platform = await Platform.start(server);
  const vms = [
    await platform.vm("app.example.com"),
    await platform.vm("app.example.com"),
    await platform.vm("app.example.com", { healthStatus: 500 }),
  ];
  const edge = await platform.edge();
  const [first, second, sick] = vms.map((vm) => vm.requests);
  let asked = 0;
  await edge.waitFor(async () => {
    for (let i = 0; i < 60; i++, asked++) assert.equal((await get(edge, "app.example.com")).status, 200);
    return first!.length > 0 && second!.length > 0; // there is a verdict on both
  });
  assert.equal(first!.length + second!.length, asked);
  assert.equal(sick!.length, 0);
});

test("edgeproxy answers 503 when all VMs are unhealthy and there is no other region", async () => {
  await using platform = await Platform.start(server);
  const vms = [
    await platform.vm("app.example.com", { healthStatus: 500 }),
    await platform.vm("app.example.com", { healthStatus: "reset" }),
  ];
  const edge = await platform.edge();
  assert.equal(outcome(await get(edge, "app.example.com")), "503 vm_unhealthy");
  assert.deepEqual(vms.map((vm) => vm.requests.length), [0, 0]);
});

test("edgeproxy answers 508 when a request comes back with its own name in Via", async () => {
  await using platform = await Platform.start(server);
  const [vm] = await namedVms(platform, ["app.example.com"]);
  const edge = await platform.edge();
  const own = `edgeproxy-${platform.region.id}`;
  for (
    const via of [
      `1.1 ${own}`,
      `1.0 varnish, 1.1 ${own.toUpperCase().replace("EDGEPROXY", "edgeproxy")} (comment)`,
      `1.1 ${own}, 1.1 cdn`,
    ]
  ) {
    assert.equal(outcome(await get(edge, "app.example.com", "/", `Via: ${via}`)), "508 loop", via);
  }
  assert.equal(
    outcome(await get(edge, "app.example.com", "/", "Via: 1.1 cdn", `Via: 1.1 ${own}`)),
    "508 loop",
    "in a second field",
  );
  assert.equal(vm!.requests.length, 0);
  const edges = [1, 2, 3].map(() => `1.1 edgeproxy-${crypto.randomUUID()}`);
  assert.equal(outcome(await get(edge, "app.example.com", "/", `Via: ${edges.join(", ")}`)), "508 loop", "three edges");
  assert.equal(outcome(await get(edge, "app.example.com", "/", `Via: ${edges.slice(1).join(", ")}`)), "200 app.example.com");
  assert.equal(outcome(await get(edge, "app.example.com", "/", "Via: 1.1 a, 1.1 b, 1.1 c, 1.1 d")), "200 app.example.com");
});

test("edgeproxy answers 508 when two regions' tables point at each other", async () => {
  await using platform = await Platform.start(server);
  await using contrary = await createDatabase(server, { tables: "inet" });
  const there = await platform.addRegion();
  await platform.route("lost.example.com", { address: "10.99.0.1", port: 8080, region: there });
  await insertRegion(contrary, { id: platform.region.id, publicIpv4: platform.region.address });
  await insertRoute(contrary, { name: "lost.example.com", regionId: platform.region.id, privateIp: "10.98.0.1", port: 8080 });
  const here = await platform.edge();
  await platform.edge({}, { region: there, database: contrary.url });
  assert.equal(outcome(await get(here, "lost.example.com")), "508 loop");
});

test("edgeproxy answers 508 when a request has passed three edges, however good the fourth table is", async () => {
  await using platform = await Platform.start(server);
  const regions = [platform.region, ...await Promise.all([1, 2, 3].map(() => platform.addRegion()))];
  const databases = await Promise.all([1, 2, 3].map(() => createDatabase(server)));
  await using resources = new AsyncDisposableStack();
  for (const database of databases) {
    resources.use(database);
    await createSchema(database, { inet: true });
    for (const { id, address } of regions) await insertRegion(database, { id, publicIpv4: address });
  }
  await using vm = await startVm({ host: loopbackAddress(), script: respond(200, "from the VM") });
  // Each edge believes that the VM runs in the next region; the last is right, and so is the third for `short`.
  const tables = [platform.database, ...databases];
  for (const [index, database] of tables.entries()) {
    const long = regions[Math.min(index + 1, 3)]!.id;
    const short = regions[Math.min(index + 1, 2)]!.id;
    await insertRoute(database, { name: "long.example.com", regionId: long, privateIp: vm.host, port: vm.port });
    await insertRoute(database, { name: "short.example.com", regionId: short, privateIp: vm.host, port: vm.port });
  }
  await using edges = new AsyncDisposableStack();
  const first = edges.use(await platform.edge());
  for (const index of [1, 2, 3]) {
    edges.use(await platform.edge({}, { region: regions[index]!, database: tables[index]!.url }));
  }

  assert.equal(outcome(await get(first, "short.example.com")), "200 from the VM");
  const [, ...passed] = (fieldValue(vm.requests[0]!, "via") ?? "").split(", ").reverse();
  assert.deepEqual(passed.reverse(), [regions[0]!, regions[1]!].map(({ id }) => `1.1 edgeproxy-${id}`));
  assert.equal(outcome(await get(first, "long.example.com")), "508 loop");
  assert.equal(vm.requests.length, 1);
});
