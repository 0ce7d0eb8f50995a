/** Routes of a file, with traffic: matched, split, by route key; without a database. */
import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { signedPreviewHost, signedRouteKey } from "../../src/decision/route-key.ts";
import { type Edgeproxy, startEdgeproxy, temporaryFolder } from "../fixtures/edgeproxy.ts";
import { fieldValue } from "../fixtures/http1.ts";
import { loopbackAddress } from "../fixtures/ports.ts";
import { getRequest, openRaw, rawRequest, type RawResponse } from "../fixtures/raw-client.ts";
import { HERE } from "../fixtures/records.ts";
import { respond, startVm, type Vm } from "../fixtures/vm.ts";

const SECRET = "a-secret-of-some-length";
const TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

let resources: AsyncDisposableStack;
let edge: Edgeproxy;
let blue: Vm, green: Vm;

before(async () => {
  resources = new AsyncDisposableStack();
  const folder = resources.use(await temporaryFolder());
  const vm = async (name: string) => resources.use(await startVm({ host: loopbackAddress(), script: respond(200, name) }));
  [blue, green] = [await vm("blue"), await vm("green")];
  const file = join(folder.path, "routes.yaml");
  await writeFile(
    file,
    `
services:
  blue: { endpoints: [{ url: "http://${blue.host}:${blue.port}" }] }
  green: { endpoints: [{ url: "http://${green.host}:${green.port}" }] }
routes:
  - { id: all, hosts: [app.test], service: blue }
  - { id: admin, hosts: [app.test], path: /admin, match: { headers: { X-Staff: "yes" } }, service: green }
  - { id: sandbox, hosts: [app.test], match: { routeKey: s-1 }, service: green }
  - id: split
    hosts: [split.test]
    split: [{ service: blue, weight: 90 }, { service: green, weight: 10 }]
    splitKey: "header:X-User"
`,
  );
  const env = { EDGEPROXY_CONFIG_FILE: file, EDGEPROXY_SECRET: SECRET, EDGEPROXY_ACCESS_LOG: "on", EDGEPROXY_WORKERS: "2" };
  edge = resources.use(await startEdgeproxy({ database: "", region: HERE, env }));
});
after(() => resources[Symbol.asyncDispose]());

async function ask(host: string, path: string, ...fields: string[]): Promise<RawResponse> {
  return await rawRequest(edge.port, getRequest(host, path, ...fields), edge.host);
}

async function bodyOf(host: string, path: string, ...fields: string[]): Promise<string> {
  const { status, body } = await ask(host, path, ...fields);
  return `${status} ${body.toString().trim()}`;
}

test("routes match by path and field; the log and the answer tell which", async () => {
  assert.equal(await bodyOf("app.test", "/x"), "200 blue");
  assert.equal(await bodyOf("app.test", "/admin/x"), "200 blue");
  const answer = await ask("app.test", "/%61dmin/x", "X-Staff: yes");
  assert.equal(answer.body.toString().trim(), "green");
  assert.equal(green.requests.at(-1)?.target, "/%61dmin/x", "as it came");
  const line = await edge.waitForLog(({ msg, target }) => msg === "access" && target === "/%61dmin/x");
  assert.deepEqual([line["policy"], line["service"], line["route"]], ["admin", "green", ""]);
});

test("a path that can be read as another route is refused, and reaches nobody", async () => {
  const before = blue.requests.length + green.requests.length;
  for (const path of ["/x/..%2fadmin", "//admin", "/x/../admin", "/x/..;/admin"]) {
    const answer = await ask("app.test", path, "X-Staff: yes");
    assert.deepEqual([answer.status, fieldValue(answer, "X-Edgeproxy-Error")], [400, "bad_request"], path);
  }
  assert.equal(blue.requests.length + green.requests.length, before);
});

test("a signed route key leads to its sandbox, and travels on with the trace", async () => {
  const key = signedRouteKey("s-1", SECRET);
  const trace = [`traceparent: ${TRACE}`, "X-Trace-ID: t-1", "X-Span-ID: p-1"];
  assert.equal(await bodyOf("app.test", "/", `X-Route-Key: ${key}`, ...trace), "200 green");
  const head = green.requests.at(-1)!;
  for (const [name, value] of [["X-Route-Key", key], ["X-Trace-ID", "t-1"], ["X-Span-ID", "p-1"]] as const) {
    assert.equal(fieldValue(head, name), value, name);
  }
  assert.match(fieldValue(head, "traceparent") ?? "", /^00-0af7651916cd43dd8448eb211c80319c-/);
  assert.equal(await bodyOf("app.test", "/", `Baggage: a=b,sd-routing-key=${key}`), "200 green");
  assert.equal(await bodyOf(signedPreviewHost("s-1", "app.test", SECRET)!, "/"), "200 green");
  assert.equal(await bodyOf("app.test", "/", "X-Route-Key: s-1"), "200 blue", "nobody vouches for it");
  assert.equal((await ask("s-1--app.test", "/")).status, 404);
});

test("a split sends its share of 10,000 users each way, and each of them there again", async () => {
  await using one = await openRaw(edge.port, edge.host);
  const sides = new Map<string, number>();
  const sideOf: string[] = [];
  for (let from = 0; from < 10_000; from += 100) {
    const users = Array.from({ length: 100 }, (_, index) => from + index);
    one.send(users.map((user) => getRequest("split.test", "/", `X-User: user-${user}`)).join(""));
    for (const _ of users) sideOf.push((await one.readResponse()).body.toString().trim());
  }
  for (const side of sideOf) sides.set(side, (sides.get(side) ?? 0) + 1);
  assert.ok(Math.abs(sides.get("green")! / 10_000 - 0.1) < 0.01, JSON.stringify([...sides]));
  await using other = await openRaw(edge.port, edge.host);
  other.send(sideOf.slice(0, 200).map((_, user) => getRequest("split.test", "/again", `X-User: user-${user}`)).join(""));
  for (const side of sideOf.slice(0, 200)) assert.equal((await other.readResponse()).body.toString().trim(), side);
});
