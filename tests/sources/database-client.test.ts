/** Which of several hosts a session is opened with, and that no other session stays behind. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:net";
import { after, before, describe, it } from "node:test";
import { openDatabase } from "../../src/sources/database-client.ts";
import { type DatabaseTarget, parseDatabaseUrl } from "../../src/sources/database-url.ts";
import { startPostgres, type TestDatabase } from "../fixtures/postgres.ts";

const never = new AbortController().signal;

let server: TestDatabase;
before(async () => {
  server = await startPostgres();
});
after(async () => {
  await server[Symbol.asyncDispose]();
});

function targetOf(...ports: readonly number[]): DatabaseTarget {
  const hosts = ports.map((port) => `127.0.0.1:${port}`).join(",");
  const target = parseDatabaseUrl(`${server.url.replace(/@.*/, "")}@${hosts}/postgres?sslmode=disable&application_name=several`);
  assert.ok(!("problem" in target));
  return target;
}

/** A server that answers the first message with these bytes. */
async function answering(bytes: Uint8Array): Promise<{ readonly port: number; readonly asked: Promise<void> } & Disposable> {
  const { promise: asked, resolve } = Promise.withResolvers<void>();
  const fake = createServer((socket) => {
    socket.on("error", () => {});
    socket.once("data", () => {
      socket.write(bytes);
      resolve();
    });
  }).listen(0, "127.0.0.1");
  await once(fake, "listening");
  const address = fake.address();
  assert.ok(address !== null && typeof address === "object");
  return { port: address.port, asked, [Symbol.dispose]: () => void fake.close() };
}

async function assertNoneLeft(): Promise<void> {
  while ((await server.sql("select from pg_stat_activity where application_name = 'several'")).length > 0);
}

function unwanted(): Promise<boolean> {
  return Promise.resolve(false);
}

describe("openDatabase()", () => {
  it("takes the second choice when the last host does not let us in", async () => {
    const fields = new TextEncoder().encode("SFATAL\0C28P01\0Mno\0\0");
    using refusing = await answering(new Uint8Array([0x45, 0, 0, 0, fields.length + 4, ...fields]));
    const client = await openDatabase(targetOf(server.port, refusing.port), never, unwanted);
    assert.equal(client.session.host.port, server.port);
    await client.close();
    await assertNoneLeft();
  });

  it("leaves no second choice behind when it is given up", async () => {
    using silent = await answering(new Uint8Array());
    const given = new AbortController();
    const opening = openDatabase(targetOf(server.port, silent.port), given.signal, unwanted);
    await silent.asked;
    given.abort(new Error("given up"));
    await assert.rejects(opening, /given up/);
    await assertNoneLeft();
  });
});

describe("DatabaseClient", () => {
  it("is closed by a query that was given up before it began", async () => {
    const client = await openDatabase(targetOf(server.port), never);
    await assert.rejects(client.query("select 1", () => {}, AbortSignal.abort(new Error("given up"))), /given up/);
    assert.ok(client.closed);
    await assertNoneLeft();
  });
});
