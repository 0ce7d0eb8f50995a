/** The Hono adapter: what an app sees of an exchange, and how its Responses look on the wire. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Hono } from "hono";
import { type EdgeEnv, edgePath, EdgeRouter, honoDispatch, onWire } from "../../src/downstream/hono-request.ts";
import { createEdge } from "../../src/edge.ts";
import type { PassageEnvironment } from "../../src/forwarding/passage.ts";
import { World } from "../fixtures/world.ts";

interface Served {
  readonly text: string;
  readonly faults: readonly string[];
  readonly state: string;
  readonly outcomes: readonly string[];
}

/** What the client gets from an app for these bytes. */
async function served(app: Hono<EdgeEnv>, request: string): Promise<Served> {
  const faults: string[] = [];
  const world = new World("at once", 0, { dispatch: honoDispatch(app, (error) => faults.push(String(error))) });
  world.client.send(Buffer.from(request));
  for (let turns = 0; turns < 3; turns++) await new Promise((resolve) => setImmediate(resolve));
  world.network.settle();
  const text = world.client.take().toString();
  const { state } = world.client;
  world.sweep.close();
  return { text, faults, state, outcomes: world.outcomes };
}

const newApp = (): Hono<EdgeEnv> => new Hono<EdgeEnv>({ getPath: edgePath, router: new EdgeRouter() });
const get = (target: string, method = "GET"): string =>
  `${method} ${target} HTTP/1.1\r\nHost: A.test:80\r\nX-A: 1\r\nx-a: 2\r\n\r\n`;

test("an app sees method, url, path and fields", async () => {
  const app = newApp();
  app.all(
    "/a/:name",
    (c) => c.json([c.req.method, c.req.url, c.req.path, c.req.param("name"), c.req.query("q"), c.req.header("x-a")]),
  );
  assert.match(
    (await served(app, get("/a/b?q=1"))).text,
    /\r\n\r\n\["GET","http:\/\/a\.test\/a\/b\?q=1","\/a\/b","b","1","1, 2"\]$/,
  );
  assert.match((await served(app, get("http://b.test/a/b?q=1", "PURGE"))).text, /\["PURGE","http:\/\/b\.test\/a\/b/);
});

test("respond() frames a Response and keeps its fields, several cookies too", async () => {
  const app = newApp();
  app.get("/", (c) => {
    c.header("Set-Cookie", "a=1", { append: true });
    c.header("Set-Cookie", "b=2", { append: true });
    c.header("Connection", "close");
    return c.text("hello", 201);
  });
  const { text, state, outcomes } = await served(app, get("/"));
  assert.match(text, /^HTTP\/1\.1 201 .*\r\n/);
  assert.match(text, /set-cookie: a=1\r\nset-cookie: b=2\r\n/);
  assert.match(text, /content-length: 5\r\n\r\nhello$/);
  assert.ok(!/connection/i.test(text));
  assert.deepEqual([state, outcomes], ["open", ["refused 201"]]);
});

test("respond() sends no body, and no made-up length, where there is none", async () => {
  const app = newApp();
  app.get("/page", (c) => c.text("hello", 200, { "Content-Length": "5" }));
  app.get("/none", (c) => c.body(null, 204));
  app.get("/same", (c) => c.body(null, 304));
  const head = (await served(app, get("/page", "HEAD"))).text;
  assert.match(head, /^HTTP\/1\.1 200 /);
  assert.match(head, /\r\ncontent-length: 5\r\n(.+\r\n)*\r\n$/i);
  for (const path of ["/none", "/same"]) assert.doesNotMatch((await served(app, get(path))).text, /content-length/i, path);
  assert.match((await served(app, get("/missing"))).text, /^HTTP\/1\.1 404 /);
});

test("a handler that throws or rejects gives 500, and the fault is told", async () => {
  const handlers: (() => Response | Promise<Response>)[] = [
    () => {
      throw new Error("sync");
    },
    () => Promise.reject(new Error("async")),
    () => new Response(new ReadableStream({ start: (controller) => controller.error(new Error("body")) })),
  ];
  for (const handler of handlers) {
    const app = newApp();
    app.onError((error) => {
      throw error;
    });
    app.get("/", handler);
    const { text, faults } = await served(app, get("/"));
    assert.match(text, /^HTTP\/1\.1 500 [^]*X-Edgeproxy-Error: internal\r\n[^]*Internal Server Error$/);
    assert.equal(faults.length, 1);
  }
});

test("createEdge() answers a bug of ours as such", async () => {
  const bug = { surroundings: { table: null } } as unknown as PassageEnvironment;
  const { text, faults } = await served(createEdge(bug), get("/"));
  assert.match(text, /^HTTP\/1\.1 500 [^]*X-Edgeproxy-Error: internal\r\n/);
  assert.equal(faults.length, 1);
});

test("a request body that the app does not read is dropped, and the connection goes on", async () => {
  const app = newApp();
  app.all("/", (c) => c.text("ok"));
  const { text, state } = await served(app, "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n\r\nabc" + get("/"));
  assert.equal(text.match(/HTTP\/1\.1 200/g)?.length, 2);
  assert.equal(state, "open");
});

test("EdgeRouter runs handlers for everything in their order, and searches as soon as one is for something", async () => {
  const app = newApp();
  app.use(async (c, next) => {
    c.header("X-First", "yes");
    await next();
  });
  app.use("/*", async (c, next) => {
    await next();
    c.header("X-Last", c.req.path);
  });
  app.all("*", (c) => c.text("anything"));
  const plain = (await served(app, get("/a?b", "PURGE"))).text;
  assert.match(plain, /^HTTP\/1\.1 200 .*x-first: yes\r\n.*x-last: \/a\r\n.*\r\n\r\nanything$/s);

  const special = newApp();
  special.use(async (c, next) => {
    c.header("X-First", "yes");
    await next();
  });
  special.get("/special/:n", (c) => c.text(`special ${c.req.param("n")}`));
  special.all("*", (c) => c.text("anything"));
  assert.match((await served(special, get("/special/1"))).text, /x-first: yes\r\n.*\r\n\r\nspecial 1$/s);
  assert.match((await served(special, get("/special/1", "POST"))).text, /x-first: yes\r\n.*\r\n\r\nanything$/s);
  assert.match((await served(special, get("/other"))).text, /\r\n\r\nanything$/);
});

test("middleware sees its own request, also when its answer has ended and the next request has come", async () => {
  const seen: string[] = [];
  const app = newApp();
  app.use(async (c, next) => {
    await next();
    seen.push(`${c.req.url} ${c.req.header("x-a")}`);
  });
  app.all("*", (c) => {
    c.env.exchange.refuse("no_route");
    return onWire(c.env);
  });
  await served(app, get("/first") + get("/second").replace("X-A: 1", "X-A: 3"));
  assert.deepEqual(seen, ["http://a.test/first 1, 2", "http://a.test/second 3, 2"]);
});
