/*  What routes rewrite, edit and answer, on the compiled binary: what the VM gets byte for byte, what the client gets, and what neither
 *  a client nor a VM can make of it.
 */
import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import { fieldValue, fieldValues, type Message } from "../fixtures/http1.ts";
import { loopbackAddress } from "../fixtures/ports.ts";
import { openRaw, type RawResponse } from "../fixtures/raw-client.ts";
import { UnresponsiveListener } from "../fixtures/unresponsive-listener.ts";
import { hang, respond, startVm, type Vm, type VmScript } from "../fixtures/vm.ts";
import { WrittenRoutes } from "../fixtures/written-routes.ts";

let vm: Vm;
let silent: UnresponsiveListener;
let routes: WrittenRoutes;

before(async () => {
  vm = await startVm();
  silent = await UnresponsiveListener.start(loopbackAddress());
  routes = await WrittenRoutes.start({ services: servicesOf(vm, silent), routes: ROUTES }, {
    EDGEPROXY_MAX_BODY_SIZE: "1KiB",
    EDGEPROXY_RESPONSE_TIMEOUT: "2s",
    EDGEPROXY_STREAM_TIMEOUT: "2s",
  });
});
after(async () => {
  await routes[Symbol.asyncDispose]();
  await vm[Symbol.asyncDispose]();
  await silent[Symbol.asyncDispose]();
});
beforeEach(() => {
  vm.script = respond(200, "ok");
  vm.requests.length = 0;
});

function servicesOf(vm: Vm, silent: UnresponsiveListener): unknown {
  const health = { type: "none" };
  return {
    app: { endpoints: [{ url: `http://${vm.host}:${vm.port}` }], health },
    silent: { endpoints: [{ url: `http://${silent.host}:${silent.port}` }], health },
    nobody: { endpoints: [], health },
  };
}

const PRIVATE = { request: { remove: ["Authorization", "Cookie"], set: { "X-User": "{header:X-Name}|{cookie:name}" } } };
const PUBLIC = {
  response: { set: { "X-Served": "{service} {method} {path}" }, add: { Vary: "Origin" }, remove: ["Server", "X-Secret"] },
};

const ROUTES = [
  { id: "api", hosts: ["app.test"], path: "/api", service: "app", rewrite: { stripPrefix: "/api", addPrefix: "/v1" } },
  { id: "old", hosts: ["app.test"], path: "/old", service: "app", rewrite: { pattern: "^/old/(.*)$", to: "/new/$1/$1/$1/$1" } },
  {
    id: "query",
    hosts: ["app.test"],
    path: "/query",
    service: "app",
    rewrite: { query: { set: { name: "{header:X-Name}" }, remove: ["admin"] } },
  },
  { id: "fields", hosts: ["app.test"], path: "/fields", service: "app", headers: { ...PRIVATE, ...PUBLIC } },
  {
    id: "small",
    hosts: ["app.test"],
    path: "/small",
    service: "app",
    maxBodySize: "10B",
    errors: [{ on: "body_too_large", text: "too much" }],
  },
  { id: "large", hosts: ["app.test"], path: "/large", service: "app", maxBodySize: "1MiB" },
  { id: "setting", hosts: ["app.test"], path: "/setting", service: "app" },
  {
    id: "slow",
    hosts: ["app.test"],
    path: "/slow",
    service: "app",
    timeouts: { response: "200ms" },
    errors: [{ on: "timeout", status: 503, json: { sorry: "{request_id}" }, html: "<p>{path}</p>" }],
  },
  { id: "busy", hosts: ["app.test"], path: "/busy", service: "nobody", errors: [{ on: "no_endpoints", status: 501 }] },
  { id: "none", hosts: ["app.test"], path: "/none", service: "nobody", errors: [{ on: "no_endpoints", status: 204 }] },
  { id: "same", hosts: ["app.test"], path: "/same", service: "nobody", errors: [{ on: "no_endpoints", status: 304, text: "x" }] },
  {
    id: "shown",
    hosts: ["app.test"],
    path: "/shown",
    service: "nobody",
    errors: [{ on: "no_endpoints", status: 501, html: "<p>soon</p>" }],
  },
  { id: "patient", hosts: ["app.test"], path: "/patient", service: "app", timeouts: { response: "1m", idle: "1m" } },
  { id: "silent", hosts: ["app.test"], path: "/silent", service: "silent", timeouts: { connect: "200ms" } },
  { id: "stalling", hosts: ["app.test"], path: "/stalling", service: "app", timeouts: { idle: "300ms" } },
  {
    id: "nobody",
    hosts: ["app.test"],
    path: "/nobody",
    service: "nobody",
    errors: [{ on: "no_endpoints", redirect: "https://status.test{path}" }],
  },
  {
    id: "hello",
    hosts: ["app.test"],
    path: "/hello",
    respond: { status: 200, body: "Hello {header:X-Name}", headers: { "Content-Type": "text/html" } },
  },
  { id: "gone", hosts: ["app.test"], path: "/gone", respond: { status: 204 } },
  { id: "www", hosts: ["www.test"], redirect: { scheme: "https", host: "app.test", status: 308 } },
  { id: "back", hosts: ["app.test"], path: "/back", redirect: { to: "{path}?{query}", status: 302 } },
  { id: "works", hosts: ["app.test"], path: "/works", service: "app", maintenance: { body: "back at {host}", retryAfter: "2m" } },
  { id: "named", hosts: ["app.test"], path: "/named", service: "app", headers: { request: { set: { Host: "shop.internal:81" } } } },
  { id: "rest", hosts: ["app.test"], path: "/rest", service: "app", maintenance: { retryAfter: "30s" } },
];

const HOST = "Host: app.test";
const get = (target: string, ...fields: readonly string[]): Promise<RawResponse> =>
  routes.ask([`GET ${target} HTTP/1.1`, HOST, ...fields]);
/** Without the numbers that differ. */
const lastRequest = (): Message & { readonly target: string } => vm.requests.at(-1)!;

test("the VM gets the rewritten target and everything else as it came", async () => {
  assert.equal((await get("/api/a%2Fb%20c?x=%7e&&y", "x-a:1", "X-B:  2 ")).status, 200);
  const { raw } = lastRequest();
  assert.ok(
    raw.toString("latin1").startsWith(
      "GET /v1/a%2Fb%20c?x=%7e&&y HTTP/1.1\r\nHost: app.test\r\nx-a:1\r\nX-B:  2 \r\nX-Forwarded-For: ",
    ),
  );
});

test("targets are rewritten in every form that a client may send", async () => {
  const forms: Readonly<Record<string, string>> = {
    "GET http://app.test/api/x?y HTTP/1.1": "GET /v1/x?y HTTP/1.1",
    "GET /api/x HTTP/1.0": "GET /v1/x HTTP/1.1",
    "GET /%61pi/x HTTP/1.1": "GET /v1/x HTTP/1.1",
    "GET /api HTTP/1.1": "GET /v1 HTTP/1.1",
    "GET /old/x HTTP/1.1": "GET /new/x/x/x/x HTTP/1.1",
    "GET /query?admin=1&%61dmin=2&a=1 HTTP/1.1": "GET /query?a=1&name=1%26admin%3D1 HTTP/1.1",
  };
  for (const [asked, sent] of Object.entries(forms)) {
    await routes.ask([asked, HOST, "X-Name: 1&admin=1"]);
    assert.equal(lastRequest().startLine, sent, asked);
  }
});

test("a VM that knows itself by another name is asked for that, whatever form the request has", async () => {
  for (const line of ["GET /named HTTP/1.1", "GET http://app.test/named HTTP/1.1", "GET /named HTTP/1.0"]) {
    assert.equal((await routes.ask([line, HOST])).status, 200, line);
    const request = lastRequest();
    const told = [fieldValues(request, "host"), fieldValues(request, "x-forwarded-host")];
    assert.deepEqual(told, [["shop.internal:81"], ["app.test"]], line);
  }
});

test("no rewrite can be made to reach what the route does not lead to", async () => {
  const targets = [
    "/api/../admin",
    "/api/%2e%2e/admin",
    "/api/x/%2E%2E%2f%2e%2e/admin",
    "/api/..%2fadmin",
    "/api/..%5cadmin",
    "/api/..;/admin",
    "/api/%252e%252e/admin",
    "/old/../admin",
    "/old//evil.test/../..",
    "/api/x%0d%0aX-Evil:%20y",
    "/api/%00",
    "http://app.test/api/../admin",
    `/old/${"x".repeat(4000)}`,
  ];
  for (const target of targets) {
    const answer = await get(target);
    assert.deepEqual([answer.status, fieldValue(answer, "x-edgeproxy-error")], [400, "bad_request"], target);
  }
  assert.equal(vm.requests.length, 0);
});

test("a route that strips a prefix from two slashes does not make an authority of the rest", async () => {
  const stripped = await WrittenRoutes.start({
    services: servicesOf(vm, silent),
    routes: [{ hosts: ["app.test"], path: "/api", service: "app", rewrite: { stripPrefix: "/api" } }],
  });
  await using _ = stripped;
  for (const target of ["/api//evil.test/x", "/api/%2fevil.test", "/api/\\evil.test"]) {
    assert.equal((await stripped.ask([`GET ${target} HTTP/1.1`, HOST])).status, 400, target);
  }
  assert.equal((await stripped.ask(["GET /api/x//y HTTP/1.1", HOST])).status, 200);
  assert.deepEqual(vm.requests.map(({ target }) => target), ["/x//y"]);
});

test("fields are taken away from every spelling and place, and those that are set are the proxy's alone", async () => {
  const lines = [
    "POST /fields HTTP/1.1",
    HOST,
    "authorization: Basic x",
    "COOKIE: name=eva; b",
    "X_User: root",
    "x-user: root",
    "X-Name: Eva\x85\x8a",
  ];
  const body = "3\r\nabc\r\n0\r\nX-User: root\r\nCookie: c\r\nX-Sum: 1\r\n\r\n";
  await routes.ask([...lines, "Connection: X-User", "Transfer-Encoding: chunked"], body);
  const request = lastRequest();
  assert.deepEqual(fieldValues(request, "x-user"), ["Eva\x85\x8a|eva"]);
  for (const name of ["authorization", "cookie", "x_user"]) assert.deepEqual(fieldValues(request, name), [], name);
  assert.deepEqual([request.body.toString(), request.trailers], ["abc", [["X-Sum", "1"]]]);
});

test("values of a request begin no line of another message", async () => {
  const name = "a%0d%0aX-Evil: 1";
  await get("/fields", `X-Name: ${name}`, "Cookie: name=%0d%0aX-Evil: 1");
  assert.deepEqual(fieldValues(lastRequest(), "x-user"), [`${name}|%0d%0aX-Evil: 1`]);
  assert.equal(fieldValue(lastRequest(), "x-evil"), undefined);
  for (const bad of ["X-Name: a\rX-Evil: 1", "X-Name: a\nX-Evil: 1", "X-Name: a\r\n X-Evil: 1", "X-Name: a\0"]) {
    const seen = vm.requests.length;
    assert.equal((await get("/fields", bad)).status, 400, JSON.stringify(bad));
    assert.equal(vm.requests.length, seen);
  }
});

/** The answer to a request for edited fields. */
async function answered(script: VmScript, lines: readonly string[]): Promise<RawResponse> {
  vm.script = script;
  return await routes.ask(lines);
}

function assertEdited(answer: Message, method = "GET"): void {
  assert.deepEqual(fieldValues(answer, "x-served"), [`app ${method} /fields`]);
  assert.deepEqual([fieldValue(answer, "server"), fieldValue(answer, "x-secret")], [undefined, undefined]);
}

const FROM_VM = ["Server: nginx", "X-Secret: 1", "Vary: Accept", "X-Served: me"];

test("answers are edited, and stay framed as they were", async () => {
  const answer = await answered(respond(200, "hello", ...FROM_VM), ["GET /fields HTTP/1.1", HOST]);
  assertEdited(answer);
  assert.deepEqual(fieldValues(answer, "vary"), ["Accept", "Origin"]);
  assert.equal(answer.body.toString(), "hello");
});

test("answers without a body are edited, too: HEAD, 204, 304", async () => {
  const head = await answered(respond(200, "hello", ...FROM_VM), ["HEAD /fields HTTP/1.1", HOST]);
  assertEdited(head, "HEAD");
  assert.equal(fieldValue(head, "content-length"), "5");
  for (const status of [204, 304]) {
    await using client = await openRaw(routes.proxy.port);
    vm.script = respond(status, "", ...FROM_VM);
    client.send(`GET /fields HTTP/1.1\r\n${HOST}\r\n\r\n`);
    const answer = await client.readResponse();
    assertEdited(answer);
    client.send(`GET /fields HTTP/1.1\r\n${HOST}\r\n\r\n`);
    assert.equal((await client.readResponse()).status, status, "the connection goes on");
  }
});

test("of interim answers and trailers what is removed goes, and nothing is added", async () => {
  const early = "HTTP/1.1 103 Early Hints\r\nX-Secret: 1\r\nLink: </a>\r\n\r\n";
  const chunks =
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nX-Secret: 2\r\nX-Served: me\r\nX-Sum: 3\r\n\r\n";
  const script: VmScript = (_request, connection) => connection.write(early + chunks);
  const answer = await answered(script, ["GET /fields HTTP/1.1", HOST, "TE: trailers", "Connection: TE"]);
  assert.deepEqual(answer.interim.map(({ fields }) => fields), [[["Link", "</a>"]]]);
  assertEdited(answer);
  assert.deepEqual([answer.body.toString(), answer.trailers], ["ab", [["X-Sum", "3"]]]);
});

test("an upgrade is edited and tunnels", async () => {
  vm.script = (_request, connection) => {
    connection.takeOver((chunk) => connection.write(`echo ${chunk.toString()}`));
    connection.write("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nX-Secret: 1\r\n\r\n");
  };
  await using client = await openRaw(routes.proxy.port);
  client.send(`GET /fields HTTP/1.1\r\n${HOST}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nX-Name: Eva\r\nCookie: c\r\n\r\n`);
  const answer = await client.readResponse();
  assert.equal(answer.status, 101);
  assertEdited(answer);
  assert.equal(fieldValue(answer, "upgrade"), "websocket");
  assert.equal(fieldValue(lastRequestHead(), "cookie"), undefined);
  client.send("hi");
  assert.equal((await client.readBytes(7)).toString(), "echo hi");
});

const lastRequestHead = (): Message => lastRequest();

test("a client of HTTP/1.0 gets edited answers", async () => {
  const answer = await answered(respond(200, "hello", ...FROM_VM), ["GET /fields HTTP/1.0", HOST]);
  assertEdited(answer);
  assert.equal(answer.body.toString(), "hello");
});

test("routes answer by themselves, on connections that go on", async () => {
  await using client = await openRaw(routes.proxy.port);
  client.send(`POST /hello HTTP/1.1\r\n${HOST}\r\nX-Name: <script>\r\nContent-Length: 3\r\n\r\nabc`);
  const hello = await client.readResponse();
  assert.deepEqual([hello.status, hello.body.toString()], [200, "Hello &lt;script&gt;"]);
  assert.ok(fieldValue(hello, "x-request-id"));
  assert.equal(fieldValue(hello, "x-edgeproxy-error"), undefined);
  client.send(`HEAD /hello HTTP/1.1\r\n${HOST}\r\n\r\n`);
  assert.equal(fieldValue(await client.readResponse({ toHead: true }), "content-length"), "6");
  client.send(`GET /gone HTTP/1.1\r\n${HOST}\r\n\r\n`);
  const gone = await client.readResponse();
  assert.deepEqual([gone.status, fieldValue(gone, "content-length")], [204, undefined]);
  assert.equal(vm.requests.length, 0);
});

test("redirects go where they are written to, and to no host that a client names", async () => {
  const www = await routes.ask(["GET /a%20b?x=1 HTTP/1.1", "Host: www.test:8080"]);
  assert.deepEqual([www.status, fieldValue(www, "location")], [308, "https://app.test/a%20b?x=1"]);
  const back = await get('/back/\xe4\\x?q="<>');
  assert.equal(fieldValue(back, "location"), "/back/%E4%5Cx?q=%22%3C%3E");
  const crlf = await get("/back/%0d%0aX-Evil:1");
  assert.deepEqual([fieldValue(crlf, "location"), fieldValue(crlf, "x-evil")], ["/back/%0d%0aX-Evil:1", undefined]);
});

test("maintenance is answered in the operator's words, or in the proxy's own", async () => {
  const works = await get("/works");
  assert.deepEqual([works.status, works.body.toString(), fieldValue(works, "retry-after")], [503, "back at app.test", "120"]);
  assert.equal(fieldValue(works, "cache-control"), "no-store");
  assert.deepEqual([fieldValue(works, "x-edgeproxy-error"), fieldValue(works, "x-edgeproxy-blame")], ["maintenance", "edge"]);
  const rest = await get("/rest", "Accept: application/json");
  assert.deepEqual([rest.status, fieldValue(rest, "retry-after"), fieldValue(rest, "x-edgeproxy-error")], [
    503,
    "30",
    "maintenance",
  ]);
  assert.equal(JSON.parse(rest.body.toString()).error, "maintenance");
  assert.equal(vm.requests.length, 0);
});

test("a body may be as large as its route says, more or less than the setting", async () => {
  const post = (path: string, length: number): Promise<RawResponse> =>
    routes.ask([`POST ${path} HTTP/1.1`, HOST, `Content-Length: ${length}`], "x".repeat(length));
  const chunked = (path: string, length: number): Promise<RawResponse> =>
    routes.ask(
      [`POST ${path} HTTP/1.1`, HOST, "Transfer-Encoding: chunked"],
      `${length.toString(16)}\r\n${"x".repeat(length)}\r\n0\r\n\r\n`,
    );
  for (const send of [post, chunked]) {
    assert.equal((await send("/small", 10)).status, 200);
    const refused = await send("/small", 11);
    assert.deepEqual([refused.status, refused.body.toString()], [413, "too much"]);
    assert.equal((await send("/large", 100_000)).status, 200);
    assert.equal((await send("/large", 2 ** 20 + 1)).status, 413);
    assert.equal((await send("/setting", 1024)).status, 200);
    assert.equal((await send("/setting", 1025)).status, 413);
  }
  assert.equal((await routes.ask(["POST / HTTP/1.1", "Host: nobody.test", "Content-Length: 1025"])).status, 413);
});

test("an endpoint has as long as its route says", async () => {
  vm.script = hang();
  const slow = await get("/slow", "Accept: application/json");
  assert.deepEqual([slow.status, fieldValue(slow, "x-edgeproxy-error")], [503, "response_timeout"]);
  assert.equal(JSON.parse(slow.body.toString()).sorry, fieldValue(slow, "x-request-id"));
  const page = await get("/slow/%3Cb%3E<b>&", "Accept: text/html");
  assert.equal(page.body.toString(), "<p>/slow/%3Cb%3E&lt;b&gt;&amp;</p>");
  const silence = await get("/silent");
  assert.deepEqual([silence.status, fieldValue(silence, "x-edgeproxy-error")], [502, "connect_timeout"]);
});

test("an exchange on which nothing moves ends when its route says", async () => {
  vm.script = (_request, connection) => connection.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
  await using client = await openRaw(routes.proxy.port);
  client.send(`GET /stalling HTTP/1.1\r\n${HOST}\r\n\r\n`);
  await client.readUntil("half");
  assert.equal(await client.ended, "reset");
  vm.script = hang();
  const waiting = await get("/stalling");
  assert.deepEqual([waiting.status, fieldValue(waiting, "x-edgeproxy-error")], [504, "stream_timeout"]);
});

test("a route may be more patient than the settings", async () => {
  const over = Promise.withResolvers<void>();
  vm.script = async (request, connection) => {
    await over.promise;
    await respond(200, "at last")(request, connection);
  };
  const patient = get("/patient");
  await vm.until(({ requests }) => requests.length === 1);
  assert.equal((await get("/setting")).status, 504); // it came later, and has had its time
  over.resolve();
  const { status, body } = await patient;
  assert.deepEqual([status, body.toString()], [200, "at last"]);
});

test("a client that waits for 100 is told at once that its body is too large for the route", async () => {
  await using client = await openRaw(routes.proxy.port);
  client.send(`POST /small HTTP/1.1\r\n${HOST}\r\nExpect: 100-continue\r\nContent-Length: 11\r\n\r\n`);
  const answer = await client.readResponse();
  assert.deepEqual([answer.status, answer.interim.length, answer.body.toString()], [413, 0, "too much"]);
  assert.equal(await client.ended, "end", "nobody could tell what its next bytes are");
  assert.equal(vm.requests.length, 0);
});

test("what errors leave out is as the proxy's own answer: for programs that ask for JSON, and for all where only a status is written", async () => {
  const json = "Accept: application/json";
  for (const [path, accept] of [["/busy", json], ["/shown", json]] as const) {
    const answer = await get(path, accept);
    assert.deepEqual([answer.status, fieldValue(answer, "x-edgeproxy-error")], [501, "no_endpoints"]);
    assert.equal(JSON.parse(answer.body.toString()).error, "no_endpoints");
  }
  const page = await get("/busy", "Accept: text/html");
  assert.match(page.raw.toString("latin1"), /^HTTP\/1\.1 501 Not Implemented\r\n[^]*text\/html/);
  assert.match(page.body.toString(), /<title>501 Service Unavailable<\/title>/);
  assert.equal((await get("/shown")).body.toString(), "<p>soon</p>");
});

test("statuses without a body have none where an error is answered with them: clients would take it for the next answer", async () => {
  for (const [path, status] of [["/none", 204], ["/same", 304]] as const) {
    for (const accept of ["*/*", "text/html", "application/json"]) {
      await using client = await openRaw(routes.proxy.port);
      const next = `GET /hello HTTP/1.1\r\n${HOST}\r\nX-Name: next\r\n\r\n`;
      client.send(`GET ${path} HTTP/1.1\r\n${HOST}\r\nAccept: ${accept}\r\n\r\n${next}`);
      const answer = await client.readResponse();
      assert.deepEqual([answer.status, fieldValue(answer, "x-edgeproxy-error")], [status, "no_endpoints"]);
      assert.deepEqual(fieldValues(answer, "content-length"), []);
      assert.equal((await client.readResponse()).body.toString(), "Hello next", `${path} ${accept}`);
    }
  }
});

test("errors can lead elsewhere", async () => {
  const answer = await get("/nobody/x");
  assert.deepEqual([answer.status, fieldValue(answer, "location")], [302, "https://status.test/nobody/x"]);
  assert.equal(fieldValue(answer, "x-edgeproxy-error"), "no_endpoints");
});

interface Explained {
  readonly steps: readonly string[];
  readonly conclusion: { readonly code: string | null };
  readonly fields: Record<"set" | "added" | "removed", { readonly name: string; readonly value: string }[]> | null;
}

async function explained(url: string, headers: readonly (readonly [string, string])[] = []): Promise<Explained> {
  const answer = await fetch(`${routes.proxy.adminUrl}/api/explain`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ url, headers }),
  });
  assert.equal(answer.status, 200);
  return await answer.json() as Explained;
}

test("explain tells of the head that the VM would get", async () => {
  const rewritten = await explained("http://app.test/api/x?y");
  assert.ok(rewritten.steps.includes("the target is rewritten to /v1/x?y"), rewritten.steps.join("\n"));
  const edited = await explained("http://app.test/fields", [["Cookie", "name=eva"], ["X-Name", "Eva"], ["X-User", "root"]]);
  assert.deepEqual(edited.fields!.removed.map(({ name }) => name), ["Cookie"]);
  assert.deepEqual(edited.fields!.set, [{ name: "X-User", value: "Eva|eva" }]);
  const refused = await explained("http://app.test/api/%2e%2e%2fadmin");
  assert.deepEqual([refused.conclusion.code, refused.fields], ["bad_request", null]);
  const large = await explained("http://app.test/small", [["Content-Length", "11"]]);
  assert.equal(large.conclusion.code, "body_too_large");
  const back = await explained("http://app.test/back/x");
  assert.ok(back.steps.some((step) => step.includes("Location: /back/x")), back.steps.join("\n"));
});
