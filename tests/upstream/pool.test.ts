/** New connections to endpoints: how many there may be, who makes room, and whose fault it is. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Metrics } from "../../src/observation/metrics.ts";
import type { ProxyError } from "../../src/observation/proxy-error.ts";
import { Sweep } from "../../src/runtime/clock.ts";
import { listen, type Listener } from "../../src/runtime/sockets.ts";
import { ConnectionLimit } from "../../src/upstream/connection-limit.ts";
import { Endpoints, type EndpointState } from "../../src/upstream/endpoint-state.ts";
import type { H1UpstreamConnection } from "../../src/upstream/h1-connection.ts";
import { connectFailure, Pool } from "../../src/upstream/pool.ts";
import { HEAD_LIMITS } from "../fixtures/heads.ts";
import { vm } from "../fixtures/records.ts";

/** A pool with a limit, and VMs on loopback that answer everything with an empty 200. */
class Plane implements AsyncDisposable {
  readonly sweep: Sweep = new Sweep();
  readonly connections: ConnectionLimit;
  readonly pool: Pool;
  readonly #endpoints: Endpoints = new Endpoints({ wanted() {}, failed() {} });
  readonly #listeners: Listener[] = [];

  constructor(max: number) {
    this.connections = new ConnectionLimit(max);
    const environment = { limits: HEAD_LIMITS, sweep: this.sweep, metrics: new Metrics(), connections: this.connections };
    this.pool = new Pool(environment, 10_000);
  }

  async vm(): Promise<EndpointState> {
    const listener = await listen({
      host: "127.0.0.1",
      port: 0,
      onConnection: (socket) => ({
        onData: () => void socket.write(Buffer.from("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")),
        onDrain() {},
        onEnd: () => socket.end(),
        onClose() {},
      }),
    });
    this.#listeners.push(listener);
    return this.#endpoints.of(vm("127.0.0.1", listener.port));
  }

  /** A new connection, or the code of why there is none. */
  connect(endpoint: EndpointState): Promise<H1UpstreamConnection | string> {
    return new Promise((resolve) => {
      this.pool.connect(endpoint, { onConnected: resolve, onConnectFailure: (error) => resolve(`${error.code} ${error.retry}`) });
    });
  }

  async connected(endpoint: EndpointState): Promise<H1UpstreamConnection> {
    const connection = await this.connect(endpoint);
    assert(typeof connection !== "string", String(connection));
    return connection;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const listener of this.#listeners) listener.close();
    this.#endpoints.close();
    while (this.connections.count > 0) await new Promise<void>((resolve) => setImmediate(resolve));
    this.sweep.close();
  }
}

/** One exchange, after which the connection rests. */
function exchange(connection: H1UpstreamConnection): Promise<void> {
  return new Promise((resolve, reject) => {
    const onFailure = (error: ProxyError): void => reject(error);
    const nothing = (): void => {};
    const sink = {
      onInformational: nothing,
      onHead: nothing,
      onBody: nothing,
      onReadPause: nothing,
      onRequestProgress: () => {},
      onRequestDrain: nothing,
    };
    connection.begin({ ...sink, onEnd: () => resolve(), onFailure }, "GET", 0, null);
    connection.out.open().text("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    connection.endRequest(null, Infinity);
    connection.out.flush();
  });
}

test("at the limit the connection that has rested longest closes for a new one, whatever its endpoint", async () => {
  await using plane = new Plane(3);
  const [a, b] = [await plane.vm(), await plane.vm()];
  const connections = [await plane.connected(a), await plane.connected(a), await plane.connected(a)];
  for (const connection of [connections[1]!, connections[0]!, connections[2]!]) await exchange(connection);
  const reused = plane.pool.take(a)!;
  await exchange(reused);
  assert.equal(reused, connections[2]);
  const first = await plane.connected(b);
  assert.deepEqual(a.idle, [connections[0], connections[2]]);
  const second = await plane.connected(b);
  assert.deepEqual(a.idle, [connections[2]]);
  await Promise.all([exchange(first), exchange(second)]);
  assert.equal(b.idle.length, 2);
});

test("at the limit without a resting connection a request is refused as overload, which is no fault of the VM", async () => {
  await using plane = new Plane(2);
  const a = await plane.vm();
  const both = [plane.connected(a), plane.connected(a)];
  assert.equal(await plane.connect(a), "overloaded never", "those being opened count");
  const [first, second] = await Promise.all(both);
  assert.equal(await plane.connect(a), "overloaded never");
  plane.pool.connect(a, { onConnected: () => assert.fail("connected"), onConnectFailure: () => assert.fail("called back") })();
  await exchange(first!);
  const third = await plane.connected(a);
  await Promise.all([exchange(second!), exchange(third)]);
});

test("take() closes resting connections to another peer than the one that is wanted now", async () => {
  await using plane = new Plane(10); // whose end waits until all are closed
  const endpoint = await plane.vm();
  const connection = await plane.connected(endpoint);
  endpoint.idle.push(connection);
  endpoint.tls = { verify: true, serverName: "vm.internal", ca: null };
  assert.equal(plane.pool.take(endpoint), null);
  endpoint.tls = null;
  const plain = await plane.connected(endpoint);
  endpoint.idle.push(plain);
  assert.equal(plane.pool.take(endpoint), plain);
  plain.close();
});

test("connectFailure() blames the endpoint unless this machine lacks something", () => {
  const failure = (code: string): string => {
    const error = connectFailure("connect_failed", "10.0.0.1:80", { code, message: "" });
    return `${error.code} ${error.retry}`;
  };
  for (const code of ["EMFILE", "ENFILE", "EADDRNOTAVAIL", "ENOBUFS", "ENOMEM", "ENOSPC"]) {
    assert.equal(failure(code), "overloaded never", code);
  }
  for (const code of ["ECONNREFUSED", "EHOSTUNREACH", ""]) assert.equal(failure(code), "connect_failed safe", code);
});
