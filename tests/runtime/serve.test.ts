import { test } from "node:test";
import assert from "node:assert/strict";
import { once } from "node:events";
import { connect } from "node:net";
import { serveFetch } from "../../src/runtime/serve.ts";

test("serveFetch() answers requests on a port the kernel chose", async () => {
  const server = await serveFetch({ host: "127.0.0.1", port: 0, fetch: (request) => new Response(new URL(request.url).pathname) });
  const response = await fetch(`http://127.0.0.1:${server.port}/healthz`);
  assert.equal(await response.text(), "/healthz");
  await server.close();
  await assert.rejects(fetch(`http://127.0.0.1:${server.port}/healthz`));
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
