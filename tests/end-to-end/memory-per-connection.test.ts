/*  What a connection costs in memory, in each state it can be held in: the figures of docs/operations.md, which are printed, and
 *  bounds of about twice as much, for a noisy allocator. Each state has a proxy of its own, since memory that was used once is not given back.
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import process from "node:process";
import { after, before, test } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import type { Edgeproxy } from "../fixtures/edgeproxy.ts";
import { getRequest } from "../fixtures/raw-client.ts";
import { residentBytes } from "../fixtures/processes.ts";
import { DataPlane, ONE_PROCESS, reaches, type RoutedVm } from "../fixtures/served-vms.ts";
import { hang, respond } from "../fixtures/vm.ts";

const KIB = 2 ** 10;
const MIB = 2 ** 20;
/** Connections that cost little are counted by the thousand. */
const MANY = 2000;
const FEW = 100;
/** More than all buffers between a client and a VM. */
const MUCH = Buffer.alloc(8 * MIB, "x");
/** Memory has stood still for so long. */
const STILL_MS = 1000;

let plane: DataPlane;
before(async () => plane = await DataPlane.start(ONE_PROCESS, { fileLimit: 20_000 }));
after(() => plane[Symbol.asyncDispose]());

async function openMany(proxy: Edgeproxy, count: number): Promise<Socket[]> {
  const sockets: Socket[] = [];
  for (let at = 0; at < count; at += 100) {
    const some = Array.from({ length: Math.min(100, count - at) }, () => {
      const socket = connect({ port: proxy.port, host: proxy.host });
      socket.on("error", () => {});
      return socket;
    });
    await Promise.all(some.map((socket) => once(socket, "connect")));
    sockets.push(...some);
  }
  return sockets;
}

/** The memory once it has stopped growing. */
async function restingBytes(proxy: Edgeproxy): Promise<number> {
  let most = 0;
  for (let sinceMs = performance.now(); performance.now() - sinceMs < STILL_MS; await wait(100)) {
    const now = residentBytes(proxy.pid);
    if (now <= most * 1.01) continue;
    most = now;
    sinceMs = performance.now();
  }
  return residentBytes(proxy.pid);
}

interface State {
  readonly what: string;
  readonly connections: number;
  /** Of the proxy's memory, per connection of a client with what belongs to it. */
  readonly mostBytes: number;
  /** Brings connections into the state; what they do not read is not read. */
  readonly enter: (sockets: readonly Socket[], routed: RoutedVm) => void | Promise<void>;
}

function pauseVm({ vm }: RoutedVm): void {
  vm.onHead = (_head, connection) => void connection.socket.pause();
}

function sendAll(sockets: readonly Socket[], ...parts: readonly (string | Buffer)[]): void {
  for (const socket of sockets) for (const part of parts) socket.write(part);
}

const STATES: readonly State[] = [
  { what: "connected, nothing sent", connections: MANY, mostBytes: 6 * KIB, enter: () => {} },
  {
    what: "idle after a request",
    connections: MANY,
    mostBytes: 16 * KIB,
    enter: async (sockets, { host }) => {
      for (const socket of sockets) {
        socket.write(getRequest(host));
        await once(socket, "data");
      }
    },
  },
  {
    what: "in an exchange: the VM has the request",
    connections: MANY,
    mostBytes: 20 * KIB,
    enter: async (sockets, { vm, host }) => {
      vm.script = hang();
      sendAll(sockets, getRequest(host));
      await vm.until(() => vm.requests.length === sockets.length);
    },
  },
  {
    what: "a head of 20 KiB that is not complete",
    connections: MANY,
    mostBytes: 48 * KIB,
    enter: (sockets) => sendAll(sockets, `GET / HTTP/1.1\r\nX: ${"x".repeat(20_000)}`),
  },
  {
    what: "stalled client: it does not read its answer",
    connections: FEW,
    mostBytes: 600 * KIB,
    enter: (sockets, { vm, host }) => {
      vm.script = respond(200, MUCH);
      for (const socket of sockets) socket.pause();
      sendAll(sockets, getRequest(host));
    },
  },
  {
    what: "slow client: it has read a part of its answer",
    connections: FEW,
    mostBytes: 640 * KIB,
    enter: async (sockets, { vm, host }) => {
      vm.script = respond(200, MUCH);
      const parts = sockets.map((socket) =>
        new Promise<void>((resolve) => {
          let received = 0;
          socket.on("data", (chunk: Buffer) => {
            received += chunk.length;
            if (received < MIB) return;
            socket.pause();
            resolve();
          });
        })
      );
      sendAll(sockets, getRequest(host));
      await Promise.all(parts);
    },
  },
  {
    what: "stalled VM: it does not read the body",
    connections: FEW,
    mostBytes: 400 * KIB,
    enter: (sockets, routed) => {
      pauseVm(routed);
      sendAll(sockets, `POST / HTTP/1.1\r\nHost: ${routed.host}\r\nContent-Length: ${MUCH.length}\r\n\r\n`, MUCH);
    },
  },
  {
    what: "a tunnel that neither side reads",
    connections: FEW,
    mostBytes: 900 * KIB,
    enter: (sockets, { vm, host }) => {
      vm.onHead = (_head, connection) => {
        connection.takeOver(() => {});
        connection.socket.pause();
        connection.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n");
        connection.write(MUCH);
      };
      for (const socket of sockets) socket.pause();
      sendAll(sockets, getRequest(host, "/", "Connection: Upgrade", "Upgrade: echo"), MUCH);
    },
  },
  {
    what: "requests without end behind one that is not answered",
    connections: FEW,
    mostBytes: 340 * KIB,
    enter: (sockets, { vm, host }) => {
      vm.script = hang();
      sendAll(sockets, getRequest(host), MUCH);
    },
  },
  {
    what: "a body whose VM has not been probed yet",
    connections: FEW,
    mostBytes: 128 * KIB,
    enter: (sockets, { vm, host }) => {
      vm.healthStatus = "hang";
      sendAll(sockets, `POST / HTTP/1.1\r\nHost: ${host}\r\nContent-Length: ${MUCH.length}\r\n\r\n`, MUCH);
    },
  },
];

for (const { what, connections, mostBytes, enter } of STATES) {
  test(`memory per connection, ${what}`, async () => {
    await using proxy = await plane.another(
      { ...ONE_PROCESS, EDGEPROXY_HEADER_TIMEOUT: "1m", EDGEPROXY_MIN_BODY_RATE: "0", EDGEPROXY_HEALTH_TIMEOUT: "1m" },
      { fileLimit: 20_000 },
    );
    const routed = await plane.vm();
    const before = await restingBytes(proxy);
    const sockets = await openMany(proxy, connections);
    await enter(sockets, routed);
    const each = (await restingBytes(proxy) - before) / connections;
    await reaches(proxy, { "edgeproxy_connections": connections }); // all of them are still open
    for (const socket of sockets) socket.destroy();
    process.stdout.write(`${what}: ${(each / KIB).toFixed(1)} KiB\n`);
    assert.ok(each < mostBytes, `${(each / KIB).toFixed(1)} KiB for each of ${connections} connections`);
  });
}
