/** What operators order of routes and services by the admin API holds in every worker at once, and survives a restart. */
import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { type Edgeproxy, temporaryFolder } from "../fixtures/edgeproxy.ts";
import { fieldValue } from "../fixtures/http1.ts";
import { get, Platform } from "../fixtures/platform.ts";
import { startPostgres, type TestDatabase } from "../fixtures/postgres.ts";
import { respond, startVm, type Vm } from "../fixtures/vm.ts";

let server: TestDatabase;
let resources: AsyncDisposableStack;
let platform: Platform;
let edge: Edgeproxy;
let env: Record<string, string>;
const vms: Vm[] = [];
before(async () => {
  resources = new AsyncDisposableStack();
  server = resources.use(await startPostgres());
  platform = resources.use(await Platform.start(server));
  for (const name of ["old", "new", "spare"]) vms.push(resources.use(await startVm({ script: respond(200, name) })));
  const [old, young, spare] = vms.map(({ host, port }) => `http://${host}:${port}`);
  const { path } = resources.use(await temporaryFolder());
  await writeFile(
    join(path, "routes.yaml"),
    `
services:
  old: { endpoints: [{ url: "${old}" }], health: { type: none } }
  new: { endpoints: [{ url: "${young}" }], health: { type: none } }
  both: { endpoints: [{ url: "${old}" }, { url: "${spare}" }], health: { type: none } }
routes:
  - { id: split, hosts: [split.test], split: [{ service: old, weight: 50 }, { service: new, weight: 50 }], splitKey: "header:X-User" }
  - { id: lone, hosts: [lone.test], service: old }
  - { id: both, hosts: [both.test], service: both }
`,
  );
  env = {
    EDGEPROXY_WORKERS: "2",
    EDGEPROXY_CONFIG_FILE: join(path, "routes.yaml"),
    EDGEPROXY_STATE_DIR: join(path, "state"),
  };
  edge = await platform.edge(env);
  await edge.waitFor(async () => (await edge.workers()).every(({ state }) => state === "serving"));
});
after(() => resources.disposeAsync());

async function order(path: string, body: object = {}): Promise<Record<string, unknown>> {
  const response = await edge.admin(path, { method: "POST", body: JSON.stringify(body) });
  const answer = await response.json() as Record<string, unknown>;
  assert.equal(response.status, 200, JSON.stringify(answer));
  return answer;
}

async function takeBack(path: string): Promise<void> {
  assert.equal((await edge.admin(path, { method: "DELETE" })).status, 200);
}

/** Who answers, over connections of their own: both workers will be among them. */
async function answers(host: string, users = 20): Promise<string[]> {
  const all = Array.from({ length: users }, async (_, i) => {
    const { status, body } = await get(edge, host, "/", `X-User: ${i}`);
    return status === 200 ? body.toString() : String(status);
  });
  return [...new Set(await Promise.all(all))].sort();
}

test("a service is in maintenance in every worker when the order is answered, and out of it as soon", async () => {
  await order("/api/services/old/maintenance", { body: "back at {host} soon", retry_after: 90 });
  assert.deepEqual(await answers("lone.test"), ["503"]);
  const answer = await get(edge, "lone.test");
  assert.deepEqual([answer.status, answer.body.toString(), fieldValue(answer, "Retry-After")], [
    503,
    "back at lone.test soon",
    "90",
  ]);
  await order("/api/services/old/maintenance", { service: "new" });
  assert.deepEqual(await answers("lone.test"), ["new"]);
  await takeBack("/api/services/old/maintenance");
  assert.deepEqual(await answers("lone.test"), ["old"]);
});

test("a route in maintenance without words of an operator shows the proxy's own page", async () => {
  await order("/api/policies/routes/lone/maintenance");
  const answer = await get(edge, "lone.test");
  assert.deepEqual([answer.status, fieldValue(answer, "X-Edgeproxy-Error")], [503, "maintenance"]);
  assert.deepEqual(await answers("split.test"), ["new", "old"]);
  await takeBack("/api/policies/routes/lone/maintenance");
});

test("a service drains to the other target of the split, and to nobody where there is none; the share is shown", async () => {
  assert.deepEqual(await answers("split.test"), ["new", "old"]);
  await order("/api/services/old/drain", { over: "1ms" });
  await edge.waitFor(async () => (await (await edge.admin("/api/services/old")).json() as { share: number }).share === 0);
  assert.deepEqual(await answers("split.test"), ["new"]);
  const lone = await get(edge, "lone.test");
  assert.deepEqual([lone.status, fieldValue(lone, "X-Edgeproxy-Error")], [503, "maintenance"]);
  const shown = await (await edge.admin("/api/services/old")).json() as { share: number };
  assert.equal(shown.share, 0);
  await takeBack("/api/services/old/drain");
  assert.deepEqual(await answers("split.test"), ["new", "old"]);
});

test("an endpoint of a service is cordoned by its key", async () => {
  const { members } = await (await edge.admin("/api/services/both")).json() as {
    members: { key: string; address: string; port: number }[];
  };
  const spare = members.find(({ port }) => port === vms[2]!.port)!;
  await order(`/api/endpoints/${encodeURIComponent(spare.key)}/cordon`);
  assert.deepEqual(await answers("both.test"), ["old"]);
  await takeBack(`/api/endpoints/${encodeURIComponent(spare.key)}/cordon`);
});

test("orders are audited, and survive a restart", async () => {
  await order("/api/services/new/maintenance", { body: "closed", reason: "release 7" });
  const { changes } = await (await edge.admin("/api/audit?action=service-maintenance")).json() as {
    changes: { subject: string }[];
  };
  assert.equal(changes[0]!.subject, "new");
  assert.equal(await edge.stop(), 0);
  edge = await platform.edge(env);
  assert.deepEqual(await answers("split.test"), ["503", "old"]);
  const { orders } = await (await edge.admin("/api/policies/orders")).json() as { orders: { reason: string }[] };
  assert.deepEqual(orders.map(({ reason }) => reason), ["release 7"]);
});
