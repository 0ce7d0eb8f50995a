/** Connections of clients as operators see them, over two workers. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import type { Edgeproxy } from "../fixtures/edgeproxy.ts";
import { Platform } from "../fixtures/platform.ts";
import { startPostgres, type TestDatabase } from "../fixtures/postgres.ts";
import { getRequest, openRaw, type RawConnection } from "../fixtures/raw-client.ts";

const HOST = "app.example.com";

interface ConnectionView {
  readonly id: number;
  readonly worker: number;
  readonly client: string;
  readonly state: string;
  readonly requests: number;
  readonly host: string;
  readonly method: string;
  readonly target: string;
  readonly upstream: string;
  readonly "bytes_in": number;
  readonly "bytes_out": number;
}

interface Page {
  readonly total: number;
  readonly connections: readonly ConnectionView[];
  readonly next: string | null;
}

let server: TestDatabase;
before(async () => server = await startPostgres());
after(() => server[Symbol.asyncDispose]());

async function list(edge: Edgeproxy, query = ""): Promise<Page> {
  const response = await edge.admin(`/api/connections${query}`);
  assert.equal(response.status, 200);
  return await response.json() as Page;
}

test("connections are listed with what they carry, filtered, sorted and paged over all workers", async () => {
  await using platform = await Platform.start(server);
  await using stack = new AsyncDisposableStack();
  const vm = await platform.vm(HOST);
  vm.script = (request, connection) => {
    if (request.target === "/quick") return connection.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    if (request.target !== "/tunnel") return;
    connection.write("HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n");
    connection.takeOver((chunk) => connection.write(chunk));
  };
  const edge = await platform.edge({ EDGEPROXY_WORKERS: "2" });
  // The clocks of two processes may be a little apart, and ages are compared over both
  const open = async (): Promise<RawConnection> => {
    await pause(50);
    return stack.use(await openRaw(edge.port, edge.host));
  };

  const idle = await open();
  for (let i = 0; i < 2; i++) {
    idle.send(getRequest(HOST, "/quick"));
    assert.equal((await idle.readResponse()).status, 200);
  }
  const busy = await open();
  busy.send(getRequest(HOST, "/slow?token=1", "Cookie: secret=1", "Authorization: Bearer secret"));
  await vm.until(({ requests }) => requests.some(({ target }) => target.startsWith("/slow")));
  const tunnel = await open();
  tunnel.send(getRequest(HOST, "/tunnel", "Connection: Upgrade", "Upgrade: echo"));
  assert.equal((await tunnel.readResponse()).status, 101);
  tunnel.send("x".repeat(5000));
  await tunnel.readBytes(5000);
  const begun = await open();
  begun.send("GET / HTT");

  await edge.waitFor(async () => (await list(edge, "?state=head")).total === 1);
  const all = await list(edge, "?sort=age");
  assert.equal(all.total, 4);
  assert.deepEqual(all.connections.map(({ state }) => state), ["head", "tunnel", "exchange", "idle"], "the youngest first");
  const [, tunnelled, exchange, idling] = all.connections;
  const upstream = `${vm.host}:${vm.port}`;
  const told = ({ host, method, target, upstream, requests }: ConnectionView) => [host, method, target, upstream, requests];
  assert.deepEqual(told(exchange!), [HOST, "GET", "/slow?token=1", upstream, 1]);
  assert.deepEqual(told(tunnelled!), [HOST, "GET", "/tunnel", upstream, 1]);
  assert.deepEqual(told(idling!), ["", "", "", "", 2]);
  assert.ok(tunnelled!.bytes_in > 5000 && tunnelled!.bytes_out > 5000);
  assert.ok(idling!.bytes_in > 0 && idling!.bytes_out > 0 && idling!.client.startsWith("127."));
  assert.ok(!JSON.stringify(all).includes("secret"));

  assert.deepEqual((await list(edge, "?kind=tunnel")).connections.map(({ id, worker }) => [id, worker]), [[
    tunnelled!.id,
    tunnelled!.worker,
  ]]);
  assert.equal((await list(edge, "?kind=connection")).total, 3);
  assert.deepEqual((await list(edge, "?q=APP.example")).connections.map(({ target }) => target).toSorted(), [
    "/slow?token=1",
    "/tunnel",
  ]);
  assert.equal((await list(edge, "?sort=-bytes_out")).connections[0]!.state, "tunnel");
  assert.equal((await list(edge, "?sort=-requests")).connections[0]!.state, "idle");

  const paged: string[] = [];
  for (let after = "";;) {
    const page = await list(edge, `?sort=age&limit=1&after=${after}`);
    paged.push(...page.connections.map(({ state }) => state));
    assert.equal(page.total, 4);
    if (page.next === null) break;
    after = page.next;
  }
  assert.deepEqual(paged, ["head", "tunnel", "exchange", "idle"]);
  assert.equal((await edge.admin("/api/connections?after=x")).status, 400);

  let opened = all.total;
  let many = all;
  do {
    const connection = stack.use(await openRaw(edge.port, edge.host));
    connection.send(getRequest(HOST, "/quick"));
    await connection.readResponse();
    many = await list(edge, "?limit=1000");
    assert.equal(many.total, ++opened);
  } while (new Set(many.connections.map(({ worker }) => worker)).size < 2);
  assert.deepEqual(new Set(many.connections.map(({ worker }) => worker)), new Set([1, 2]));
});
