/** Limits of the contract (section 3): what is too large or too much is refused early, and all else goes on. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import { cpuSeconds, openFiles } from "../fixtures/processes.ts";
import { DataPlane, metric, ONE_PROCESS, reaches, settled } from "../fixtures/served-vms.ts";
import type { Edgeproxy } from "../fixtures/edgeproxy.ts";
import { fieldValue } from "../fixtures/http1.ts";
import { getRequest, openRaw, type RawConnection, type RawResponse } from "../fixtures/raw-client.ts";

const KIB = 2 ** 10;
const MAX_HEAD = 4 * KIB;
const MAX_BODY = 64 * KIB;
const MAX_CONNECTIONS = 10;

let plane: DataPlane;
/** With the limits above; `plane.proxy` has the defaults. */
let small: Edgeproxy;
before(async () => {
  plane = await DataPlane.start(ONE_PROCESS);
  small = await plane.another({
    ...ONE_PROCESS,
    EDGEPROXY_MAX_HEADER_SIZE: "4KiB",
    EDGEPROXY_MAX_BODY_SIZE: "64KiB",
    EDGEPROXY_MAX_CONNECTIONS: String(MAX_CONNECTIONS),
  });
});
after(() => plane[Symbol.asyncDispose]());

/** Status and code of the answer to these pieces; a refusal must close the connection. */
async function answer(proxy: Edgeproxy, pieces: readonly (string | Uint8Array)[]): Promise<string> {
  await using client = await plane.open(proxy);
  await client.sendPieces(pieces);
  return await verdict(client);
}

async function verdict(client: RawConnection): Promise<string> {
  const response = await client.readResponse();
  const code = fieldValue(response, "x-edgeproxy-error");
  if (code === undefined) return String(response.status);
  assert.equal(fieldValue(response, "connection"), "close");
  assert.equal(await client.readToEnd(), "");
  return `${response.status} ${code}`;
}

/** A request whose head has exactly `size` bytes. */
function headOf(size: number, host: string): string {
  const empty = getRequest(host, "/", "X-Fill: ");
  return getRequest(host, "/", `X-Fill: ${"x".repeat(size - empty.length)}`);
}

function halves(text: string): string[] {
  return [text.slice(0, text.length / 2), text.slice(text.length / 2)];
}

// rule: RFC 6585, 5 | `431 head_too_large`, client connection closed
test("EDGEPROXY_MAX_HEADER_SIZE: a head of that size passes, one byte more is 431, however it arrives", async () => {
  const { vm, host } = await plane.vm();
  for (const cut of [(text: string): string[] => [text], halves]) {
    assert.equal(await answer(small, cut(headOf(MAX_HEAD, host))), "200");
    assert.equal(await answer(small, cut(headOf(MAX_HEAD + 1, host))), "431 head_too_large");
  }
  const line = `X: ${"x".repeat(100)}\r\n`;
  assert.equal(await answer(small, [`GET / HTTP/1.1\r\nHost: ${host}\r\n`, ...Array<string>(60).fill(line)]), "431 head_too_large");
  assert.equal(await answer(small, [`GET / HTTP/1.1\r\nHost: ${host}\r\nX: ${"x".repeat(MAX_HEAD)}`]), "431 head_too_large");
  assert.equal(vm.requests.length, 2);
});

// rule: RFC 9110, 15.5.15 | `414 target_too_long`, client connection closed, nothing reaches the VM
test("a request target of 8 KiB passes, one byte more is 414", async () => {
  const { vm, host } = await plane.vm();
  const target = `/${"t".repeat(8 * KIB - 1)}`;
  assert.equal(await answer(plane.proxy, [getRequest(host, target)]), "200");
  assert.equal(await answer(plane.proxy, [getRequest(host, `${target}t`)]), "414 target_too_long");
  assert.equal(await answer(plane.proxy, [`GET ${target}t`]), "414 target_too_long");
  assert.deepEqual(vm.requests.map((request) => request.target), [target]);
});

// rule: RFC 6585, 5 | `431 head_too_large`, client connection closed
test("128 fields pass, 129 are 431", async () => {
  const { vm, host } = await plane.vm();
  const fields = Array.from({ length: 127 }, (_, index) => `X-${index}: ${index}`);
  assert.equal(await answer(plane.proxy, [getRequest(host, "/", ...fields)]), "200");
  assert.equal(await answer(plane.proxy, [getRequest(host, "/", ...fields, "X: one more")]), "431 head_too_large");
  assert.equal(vm.requests.length, 1);
});

// rule: RFC 9112, 7.1.2 | `431 head_too_large`, client connection closed, the request never complete for the VM
test("a trailer section is limited like a head", async () => {
  const { vm, host } = await plane.vm();
  const head = `POST / HTTP/1.1\r\nHost: ${host}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n`;
  assert.equal(await answer(small, [head, `X: ${"x".repeat(3 * KIB)}\r\n\r\n`]), "200");
  assert.equal(await answer(small, [head, `X: ${"x".repeat(MAX_HEAD)}\r\n\r\n`]), "431 head_too_large");
  assert.equal(await answer(small, [head, ...Array<string>(129).fill("X: y\r\n"), "\r\n"]), "431 head_too_large");
  assert.equal(vm.requests.length, 1);
});

// rule: RFC 9110, 15.5.14 | `413 body_too_large`, client connection closed, nothing reaches the VM
test("EDGEPROXY_MAX_BODY_SIZE: a longer announced body is 413 at once, and nothing of it reaches the VM", async () => {
  const { vm, host } = await plane.vm();
  const head = (length: number): string => `POST / HTTP/1.1\r\nHost: ${host}\r\nContent-Length: ${length}\r\n\r\n`;
  assert.equal(await answer(small, [head(MAX_BODY), Buffer.alloc(MAX_BODY)]), "200");
  const transcripts = vm.transcripts.join();
  assert.equal(await answer(small, [head(MAX_BODY + 1)]), "413 body_too_large");
  assert.equal(await answer(small, [head(1e12)]), "413 body_too_large");
  await settled(small);
  assert.equal(vm.transcripts.join(), transcripts);
  assert.equal(await answer(plane.proxy, [head(MAX_BODY + 1), Buffer.alloc(MAX_BODY + 1)]), "200", "no limit by default");
});

// rule: RFC 9110, 15.5.14 | `413 body_too_large`, client connection closed, the request never complete for the VM
test("EDGEPROXY_MAX_BODY_SIZE: a chunked body that grows beyond it is 413 then, and never complete for the VM", async () => {
  const { vm, host } = await plane.vm();
  const head = `POST / HTTP/1.1\r\nHost: ${host}\r\nTransfer-Encoding: chunked\r\n\r\n`;
  const chunk = Buffer.concat([Buffer.from("4000\r\n"), Buffer.alloc(16 * KIB), Buffer.from("\r\n")]);
  assert.equal(await answer(small, [head, chunk, chunk, chunk, chunk, "0\r\n\r\n"]), "200");
  assert.equal(await answer(small, [head, chunk, chunk, chunk, chunk, "1\r\nx\r\n0\r\n\r\n"]), "413 body_too_large");
  await settled(small);
  assert.equal(vm.requests.length, 1);
});

/** Opens connections until `count` are open or closed again; those that were not closed. */
async function flood(proxy: Edgeproxy, count: number): Promise<RawConnection[]> {
  const opening = Array.from({ length: count }, () => openRaw(proxy.port, proxy.host).catch(() => null)); // null: closed at once
  const connections = (await Promise.all(opening)).filter((connection) => connection !== null);
  const shed = new Set<RawConnection>();
  for (const connection of connections) void connection.ended.then(() => shed.add(connection));
  await proxy.waitFor(async () => {
    const open = await metric(proxy, "edgeproxy_connections");
    return connections.length - shed.size <= open;
  }, "did not shed");
  return connections.filter((connection) => !shed.has(connection));
}

async function closeAll(connections: readonly RawConnection[]): Promise<void> {
  for (const connection of connections) await connection[Symbol.asyncDispose]();
}

async function ask(client: RawConnection, host: string): Promise<RawResponse> {
  client.send(getRequest(host));
  return await client.readResponse();
}

// rule: RFC 9112, 9.5 | closed without an answer, logged once
test("EDGEPROXY_MAX_CONNECTIONS: connections above it are closed at once, the others are served, and places become free", async () => {
  const { host } = await plane.vm();
  const shedBefore = await metric(small, "edgeproxy_connections_shed_total");
  const connections = await flood(small, MAX_CONNECTIONS + 7);
  assert.equal(connections.length, MAX_CONNECTIONS);
  await reaches(small, { "edgeproxy_connections_shed_total": shedBefore + 7 });
  for (const connection of connections) assert.equal((await ask(connection, host)).status, 200);
  await small.waitForLog((line) => line["msg"] === "connections shed");
  assert.equal(small.log.filter((line) => line["msg"] === "connections shed").length, 1);

  await connections.pop()?.[Symbol.asyncDispose]();
  await small.waitFor(async () => await metric(small, "edgeproxy_connections") === MAX_CONNECTIONS - 1);
  await using late = await plane.open(small);
  assert.equal((await ask(late, host)).status, 200);
  await closeAll(connections);
});

// rule: RFC 9112, 9.5 | some closed without an answer, the others served
test("a process with 256 files is flooded with 400 connections: it sheds, serves, does not spin, and recovers", async () => {
  await using proxy = await plane.another(ONE_PROCESS, { fileLimit: 256 });
  const { host } = await plane.vm();
  await using first = await plane.open(proxy);
  assert.equal((await ask(first, host)).status, 200);
  for (let round = 0; round < 2; round++) {
    const connections = await flood(proxy, 400);
    assert.ok(connections.length > 0 && connections.length < 256, `${connections.length} of 400 are open`);
    assert.equal((await ask(first, host)).status, 200);
    assert.equal((await ask(connections[0]!, host)).status, 200);

    const cpuBefore = cpuSeconds(proxy.pid);
    await wait(1000);
    const cpu = cpuSeconds(proxy.pid) - cpuBefore;
    assert.ok(cpu < 0.4, `${cpu} s of CPU time in one second without work`);
    await closeAll(connections);
    await proxy.waitFor(async () => await metric(proxy, "edgeproxy_connections") === 1);
  }
  await using late = await plane.open(proxy);
  assert.equal((await ask(late, host)).status, 200);
  assert.equal(proxy.log.filter((line) => line["level"] === "error").length, 0);
});

// rule: RFC 9112, 9.5 | new connections wait, the others are served; logged once
test("a process whose file limit sinks under what it has open serves on, logs it once, and recovers", async () => {
  await using proxy = await plane.another(ONE_PROCESS);
  const { host } = await plane.vm();
  await using first = await plane.open(proxy);
  assert.equal((await ask(first, host)).status, 200);
  const limitFiles = (files: string): void => void execFileSync("prlimit", ["--pid", String(proxy.pid), `--nofile=${files}`]);
  const unlimited = readFileSync(`/proc/${proxy.pid}/limits`, "utf8").match(/^Max open files\s+(\d+)\s+(\d+)/m);
  limitFiles(`${openFiles(proxy.pid)}:${unlimited?.[2]}`);

  const waiting = await Promise.all(Array.from({ length: 20 }, () => openRaw(proxy.port, proxy.host)));
  for (const connection of waiting) connection.send(getRequest(host));
  const complaints = (): number => proxy.log.filter((line) => line["msg"] === "cannot accept connections").length;
  await proxy.waitFor(() => Promise.resolve(complaints() > 0), "did not log it");
  const cpuBefore = cpuSeconds(proxy.pid);
  await wait(1000);
  const cpu = cpuSeconds(proxy.pid) - cpuBefore;
  assert.ok(cpu < 0.4, `${cpu} s of CPU time in one second without work`);
  assert.equal((await ask(first, host)).status, 200);
  assert.equal(complaints(), 1);

  limitFiles(`${unlimited?.[1]}:${unlimited?.[2]}`);
  for (const connection of waiting) assert.equal((await connection.readResponse()).status, 200);
  await closeAll(waiting);
});

test("nothing is left in use when all clients have gone", async () => {
  await settled(plane.proxy);
  await settled(small);
});
