import { test } from "node:test";
import assert from "node:assert/strict";
import { once } from "node:events";
import { connect } from "node:net";
import { bindLibc } from "../../src/runtime/libc.ts";
import { serveFetch } from "../../src/runtime/serve.ts";

test("serveFetch() answers requests on a port the kernel chose", async () => {
  const server = await serveFetch({ host: "127.0.0.1", port: 0, fetch: (request) => new Response(new URL(request.url).pathname) });
  const response = await fetch(`http://127.0.0.1:${server.port}/healthz`);
  assert.equal(await response.text(), "/healthz");
  await server.close();
  await assert.rejects(fetch(`http://127.0.0.1:${server.port}/healthz`));
});

test("serveFetch() tells the address of the client", async () => {
  for (const host of ["127.0.0.1", "::1"]) {
    const server = await serveFetch({ host, port: 0, fetch: (_request, client) => new Response(client) });
    const response = await fetch(`http://${host.includes(":") ? `[${host}]` : host}:${server.port}/`);
    assert.equal(await response.text(), host);
    await server.close();
  }
});

test("serveFetch() rejects with the address when the port is taken", async () => {
  const first = await serveFetch({ host: "127.0.0.1", port: 0, fetch: () => new Response() });
  await assert.rejects(
    serveFetch({ host: "127.0.0.1", port: first.port, fetch: () => new Response() }),
    (error: Error & { code: string }) => {
      assert.match(error.message, new RegExp(`^Cannot listen on "127\\.0\\.0\\.1:${first.port}": .*in use`));
      assert.equal(error.code, "EADDRINUSE");
      return true;
    },
  );
  await first.close();
});

for (const host of ["127.0.0.1", "0:0:0:0:0:0:0:1", ""]) {
  test(`serveFetch() beside another server of "${host}" gets all that comes, and nothing is reset when that one closes`, {
    skip: bindLibc() === null,
  }, async () => {
    const served = { first: 0, second: 0, third: 0 };
    const serve = (name: keyof typeof served, port: number) =>
      serveFetch({ host, port, beside: port > 0, fetch: () => new Response(String(++served[name])) });
    const ask = async (port: number): Promise<void> => {
      const answers = Array.from(
        { length: 40 },
        () => fetch(`http://${host.includes(":") ? "[::1]" : "127.0.0.1"}:${port}/`, { keepalive: false }),
      );
      for (const answer of await Promise.all(answers)) assert.equal(answer.status, 200);
    };
    const first = await serve("first", 0);
    await ask(first.port);
    const second = await serve("second", first.port);
    await ask(first.port);
    assert.deepEqual(served, { first: 40, second: 40, third: 0 });
    await Promise.all([first.close({ succeeded: true }), ask(first.port)]);
    const third = await serve("third", first.port);
    await ask(first.port);
    assert.deepEqual(served, { first: 40, second: 80, third: 40 });
    await second.close({ succeeded: true });
    await ask(first.port);
    await third.close();
  });
}

test("serveFetch() does not wait for idle connections when it closes", async () => {
  const server = await serveFetch({ host: "127.0.0.1", port: 0, fetch: () => new Response("ok") });
  const socket = connect(server.port, "127.0.0.1");
  socket.on("error", () => {});
  socket.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  await once(socket, "data");
  const closed = once(socket, "close");
  await server.close();
  await closed;
});
