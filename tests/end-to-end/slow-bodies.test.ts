/*  The minimum pace of request bodies on the compiled binary, with the settings that everybody has: 240 bytes a second after
 *  10 s. All of it happens at the same time, since it takes longer than that.
 */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import { fieldValue } from "../fixtures/http1.ts";
import type { RawConnection } from "../fixtures/raw-client.ts";
import { DataPlane, settled } from "../fixtures/served-vms.ts";

const GRACE_MS = 10_000;
/** Long enough that whoever is too slow has been found out. */
const LONG_MS = GRACE_MS + 2500;
const STEP_MS = 250;

let plane: DataPlane;
before(async () => {
  plane = await DataPlane.start();
});
after(() => plane[Symbol.asyncDispose]());

function post(host: string, length: number): string {
  return `POST / HTTP/1.1\r\nHost: ${host}\r\nContent-Length: ${length}\r\n\r\n`;
}

/** Sends pieces of one size, `count` of them at most, until the connection ends. */
async function pour(client: RawConnection, size: number, count: number): Promise<void> {
  let ended = false;
  void client.ended.then(() => ended = true);
  const piece = "x".repeat(size);
  for (let i = 0; i < count && !ended; i++) {
    client.send(piece);
    await wait(STEP_MS);
  }
}

async function dribble(): Promise<void> {
  const { vm, host } = await plane.vm();
  await using client = await plane.open();
  const startedAtMs = performance.now();
  client.send(post(host, 1_000_000));
  await vm.until(() => vm.accepted > 0);
  const pouring = pour(client, 1, Infinity);
  const response = await client.readResponse();
  assert.deepEqual([response.status, fieldValue(response, "x-edgeproxy-error")], [408, "body_timeout"]);
  assert.ok(performance.now() - startedAtMs >= GRACE_MS, "not before the grace is over");
  assert.equal(await client.readToEnd(), "");
  await vm.until(() => vm.open === 0);
  assert.equal(vm.requests.length, 0);
  await pouring;
}

async function keepPace(): Promise<void> {
  const { vm, host } = await plane.vm();
  await using client = await plane.open();
  const size = 500, count = Math.ceil(LONG_MS / STEP_MS);
  client.send(post(host, size * count));
  await pour(client, size, count);
  assert.equal((await client.readResponse()).status, 200);
  assert.equal(vm.requests[0]!.body.length, size * count);
}

async function slowVm(): Promise<void> {
  const { vm, host } = await plane.vm();
  const length = 20_000_000; // more than all buffers on the way
  vm.onHead = (_head, connection) => {
    connection.socket.pause();
    void wait(LONG_MS).then(() => connection.socket.resume());
  };
  await using client = await plane.open();
  client.send(post(host, length));
  client.send(Buffer.alloc(length));
  assert.equal((await client.readResponse()).status, 200);
  assert.equal(vm.requests[0]!.body.length, length);
}

async function bothWays(): Promise<void> {
  const { vm, host } = await plane.vm();
  vm.onHead = (_head, connection) => connection.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no");
  vm.script = (_request, connection) => connection.write("k");
  await using client = await plane.open();
  const count = Math.ceil(LONG_MS / STEP_MS);
  client.send(post(host, count));
  await pour(client, 1, count);
  assert.equal((await client.readResponse()).body.toString(), "ok");
}

// rule: RFC 9110, 15.5.9 | 408 and client connection closed where it dribbles, relayed otherwise
test("a body that dribbles ends, one that keeps pace, waits for its VM or is being answered lives on", async () => {
  await Promise.all([dribble(), keepPace(), slowVm(), bothWays()]);
});

test("nothing is left in use when all clients have gone", () => settled(plane.proxy));
