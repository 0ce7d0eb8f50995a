/** What a route's policy makes of requests: the head that an endpoint gets, and the answers that it gives by itself. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type {
  ErrorAnswer,
  FieldEdits,
  PolicyRoute,
  RedirectPolicy,
  RewritePolicy,
  ServiceEndpoint,
} from "../../src/table/policy.ts";
import type { EndpointRecord } from "../../src/table/record.ts";
import { requestHead } from "../fixtures/heads.ts";
import { ADDED, editedHead, exchangeOf, ID, planned, planOrFail, TRUSTED, UNTRUSTED } from "../fixtures/planned.ts";

import { ELSEWHERE, region, vm } from "../fixtures/records.ts";

const GET = "GET /a?b=1 HTTP/1.1", HOST = "Host: a.test";
const NO_EDITS: FieldEdits = { set: [], add: [], remove: [] };
const NO_REWRITE: RewritePolicy = { stripPrefix: null, addPrefix: null, replacePrefix: null, pattern: null, to: null, query: null };

const request = (edits: Partial<FieldEdits>): Partial<PolicyRoute> => ({ requestFields: { ...NO_EDITS, ...edits } });
const response = (edits: Partial<FieldEdits>): Partial<PolicyRoute> => ({ responseFields: { ...NO_EDITS, ...edits } });
const rewriting = (edits: Partial<RewritePolicy>): Partial<PolicyRoute> => ({ rewrite: { ...NO_REWRITE, ...edits } });

/** Lines of the head that an endpoint gets. */
function sent(lines: readonly string[], change: Partial<PolicyRoute>): string[] {
  const head = editedHead(exchangeOf(lines), change);
  assert.ok(head.endsWith("\r\n\r\n"));
  return head.slice(0, -4).split("\r\n");
}

/** Values of the fields that are set. */
function filled(value: string, lines: readonly string[] = [GET, HOST], peer?: string): string {
  const { requestFields } = planOrFail(exchangeOf(lines, peer), request({ set: [["X-V", value]] }));
  return requestFields!.lines.join("");
}

const targetOf = (target: string, change: Partial<PolicyRoute>): string =>
  sent([`GET ${target} HTTP/1.1`, HOST], change)[0]!.split(" ")[1]!;

test("a plan without edits leaves the head byte for byte as without a policy", () => {
  const lines = [GET, "b:1", HOST, "B:  2 ", "Cookie: a=1"];
  assert.deepEqual(sent(lines, {}), [...lines, ...ADDED]);
});

test("edits of fields keep the others where they are, byte for byte", () => {
  const lines = [GET, "x-gateway:  mine ", HOST, "Accept:*/*", "COOKIE: a=1", "X_Gateway: mine", "Cookie:b=2", "b:1"];
  const edits = request({ set: [["X-Gateway", "edge"]], add: [["Accept", "text/plain"]], remove: ["cookie"] });
  assert.deepEqual(sent(lines, edits), [GET, HOST, "Accept:*/*", "b:1", "X-Gateway: edge", "Accept: text/plain", ...ADDED]);
});

test("edits of fields are not for a client to undo by naming them in Connection", () => {
  const lines = [GET, HOST, "Connection: X-Gateway, X-Other", "X-Other: 1"];
  assert.deepEqual(sent(lines, request({ set: [["X-Gateway", "edge"]] })), [GET, HOST, "X-Gateway: edge", ...ADDED]);
});

test("edits of fields touch neither framing nor what says who the client is, whatever they say", () => {
  const names = ["Content-Length", "Transfer-Encoding", "X-Forwarded-For", "x_real_ip", "Via", "Connection", "TE"];
  const edits = request({ set: names.map((name) => [name, "evil"]), remove: names.map((name) => name.toLowerCase()) });
  const lines = ["POST /a HTTP/1.1", HOST, "Content-Length: 3"];
  assert.deepEqual(sent(lines, edits), [...lines, ...ADDED]);
});

test("a Host of the route's takes the place of the client's, once, wherever that stands; X-Forwarded-Host tells the client's", () => {
  const edits = request({ set: [["X-Gateway", "edge"], ["host", "shop.internal:81"]] });
  const set = ["Host: shop.internal:81", "X-Gateway: edge"];
  assert.deepEqual(sent([GET, "b:1", HOST, "B: 2"], edits), [GET, "b:1", "B: 2", ...set, ...ADDED]);
  assert.deepEqual(sent([GET, HOST, "Connection: host"], edits), [GET, ...set, ...ADDED]);
  const absolute = sent(["GET http://a.test/a?b=1 HTTP/1.1", "Host: a.test"], edits);
  assert.deepEqual(absolute.filter((line) => /^host:/i.test(line)), ["Host: shop.internal:81"]);
  assert.ok(absolute.includes("X-Forwarded-Host: a.test"));
  assert.deepEqual(sent([GET, HOST], request({ add: [["Host", "b.test"]], remove: ["host"] })), [GET, HOST, ...ADDED]);
});

test("variables stand for what the request is", () => {
  const lines = ["GET /a%20b?x=%7e HTTP/1.1", "Host: A.test:80", "X-User: eva", "x-user: adam", "Cookie: s=1; t=2", "Cookie: s=3"];
  const values: Readonly<Record<string, string>> = {
    "{client_ip}": UNTRUSTED,
    "{host}": "a.test",
    "{method}": "GET",
    "{path}": "/a%20b",
    "{query}": "x=%7e",
    "{scheme}": "http",
    "{request_id}": ID,
    "{route}": "users-api",
    "{service}": "users",
    "{region}": "eu-1",
    "{header:X-User}": "eva, adam",
    "{header:x-user}": "eva, adam",
    "{cookie:t}": "2",
    "{cookie:s}": "1",
    "<{method} {path}>": "<GET /a%20b>",
    "{unknown} {} {header:} {cookie:a b} {{host}": "{unknown} {} {header:} {cookie:a b} {a.test",
    "é": "\xc3\xa9",
  };
  for (const [value, result] of Object.entries(values)) assert.equal(filled(value, lines), `X-V: ${result}\r\n`, value);
});

test("variables believe trusted proxies, and nobody else", () => {
  const lines = [GET, HOST, "X-Forwarded-For: 198.51.100.7", "X-Forwarded-Proto: https"];
  assert.equal(filled("{client_ip} {scheme}", lines, TRUSTED), "X-V: 198.51.100.7 https\r\n");
  assert.equal(filled("{client_ip} {scheme}", lines), `X-V: ${UNTRUSTED} http\r\n`);
  assert.equal(filled("{scheme}", [GET, HOST, "X-Forwarded-Proto: javascript"], TRUSTED), "X-V: http\r\n");
});

// rule: RFC 9112, 3.2.2 | the Host beside an absolute target is ignored
test("{header:Host} is the host that counts, as it is sent on", () => {
  for (const target of ["/x", "http://a.test/x"]) {
    assert.equal(filled("{header:Host}", [`GET ${target} HTTP/1.1`, HOST]), "X-V: a.test\r\n");
  }
  assert.equal(filled("{header:host}", ["GET http://A.test:81/x HTTP/1.1", "Host: evil.test"]), "X-V: A.test:81\r\n");
  assert.equal(filled("{header:Host}", ["GET http://a.test/x HTTP/1.0"]), "X-V: a.test\r\n");
  assert.equal(filled("{header:Host}", ["GET /x HTTP/1.0"]), "", "there is none");
});

test("a field whose variables say nothing is not sent, and what the client sent in its place neither", () => {
  const edits = request({ set: [["X-User", "{cookie:user}"], ["X-Empty", ""]] });
  assert.deepEqual(sent([GET, HOST, "X-User: root"], edits), [GET, HOST, "X-Empty: ", ...ADDED]);
});

test("values of a request cannot begin another line", () => {
  const lines = [GET, HOST, "X-User: a\tb\x80\x85\xff", "Cookie: s=\x8d\x8a"];
  const [line] = filled("{header:x-user}|{cookie:s}", lines).split("\r\n");
  assert.equal(line, "X-V: a\tb\x80\x85\xff|\x8d\x8a");
});

test("a rewritten target has another path, and the same query byte for byte", () => {
  const edits = rewriting({ stripPrefix: "/api", addPrefix: "/v1" });
  assert.equal(targetOf("/api/a%2Fb?x=%zz&y=/../", edits), "/v1/a%2Fb?x=%zz&y=/../");
  assert.equal(targetOf("/api?", edits), "/v1?");
  assert.equal(targetOf("/other", rewriting({ stripPrefix: "/api" })), "/other");
});

test("replacePrefix takes the place of the route's path where no prefix is named", () => {
  const match = {
    path: { kind: "prefix" as const, value: "/api" },
    methods: [],
    headers: [],
    cookies: [],
    query: [],
    routeKey: null,
  };
  assert.equal(targetOf("/api/x", { ...rewriting({ replacePrefix: "/v2" }), match }), "/v2/x");
  assert.equal(targetOf("/old/x", { ...rewriting({ stripPrefix: "/old", replacePrefix: "/v2" }), match }), "/v2/x");
});

test("queries are edited with variables that stay one value", () => {
  const query = { set: [["ip", "{client_ip}"], ["q", "{header:x-q}"]], add: [["m", "{method}"]], remove: ["debug"] } as const;
  const lines = ["GET /a?debug=1&q=0&%64ebug=2&z=%7e HTTP/1.1", HOST, "X-Q: 1&admin=1 #"];
  assert.equal(sent(lines, rewriting({ query }))[0], `GET /a?q=1%26admin%3D1%20%23&z=%7e&ip=${UNTRUSTED}&m=GET HTTP/1.1`);
  assert.equal(targetOf("/a?debug=1", rewriting({ query: { set: [], add: [], remove: ["debug"] } })), "/a");
  assert.equal(targetOf("/a/../b?x", rewriting({ query: { set: [], add: [], remove: ["y"] } })), "/a/../b?x");
});

test("absolute targets and HTTP/1.0 are rewritten, too, and * is not", () => {
  const edits = rewriting({ stripPrefix: "/api" });
  assert.deepEqual(sent(["GET http://a.test/api/x?y HTTP/1.1", "Host: b.test"], edits).slice(0, 2), ["GET /x?y HTTP/1.1", HOST]);
  assert.equal(sent(["GET http://a.test?y HTTP/1.1", HOST], rewriting({ addPrefix: "/v1" }))[0], "GET /v1/?y HTTP/1.1");
  assert.equal(sent(["GET /api/x HTTP/1.0", HOST], edits)[0], "GET /x HTTP/1.1");
  assert.equal(sent(["OPTIONS * HTTP/1.1", HOST], rewriting({ addPrefix: "/v1" }))[0], "OPTIONS * HTTP/1.1");
  const untouching = { set: [], add: [], remove: ["nobody-sends-it"] };
  for (const change of [{}, rewriting({ addPrefix: "/v1" }), rewriting({ query: untouching })]) {
    assert.equal(sent(["OPTIONS http://a.test HTTP/1.1", HOST], change)[0], "OPTIONS * HTTP/1.1"); // RFC 9112, 3.2.4
  }
  assert.equal(sent(["OPTIONS http://a.test?y HTTP/1.1", HOST], rewriting({ query: untouching }))[0], "OPTIONS /?y HTTP/1.1");
  assert.equal(sent(["GET http://a.test HTTP/1.1", HOST], rewriting({ query: untouching }))[0], "GET / HTTP/1.1");
});

test("a rewrite never makes a target that means something else to the VM", () => {
  const edits = rewriting({ stripPrefix: "/api" });
  const targets = [
    "/api/../admin",
    "/api/%2e%2e/admin",
    "/api/..%2fadmin",
    "/api//evil.test/",
    "/api/%2fevil",
    "/api/a%00",
    "/api/..;/x",
  ];
  for (const target of [...targets, "http://a.test/api/../x"]) {
    const plan = planned(exchangeOf([`GET ${target} HTTP/1.1`, HOST]), edits);
    assert.equal(typeof plan, "string", target);
  }
  const huge = planned(exchangeOf([`GET /${"x".repeat(5000)} HTTP/1.1`, HOST]), rewriting({ pattern: "^(.*)$", to: "$1$1" }));
  assert.equal(huge, "The rewritten target is longer than 8 KiB");
});

test("edits of an answer's fields are filled in from its request", () => {
  const edits = response({ set: [["X-Served", "{service} {method}"]], add: [["Vary", "Origin"]], remove: ["server"] });
  const { responseFields } = planOrFail(exchangeOf([GET, HOST]), edits);
  assert.equal(responseFields!.lines.join(""), "X-Served: users GET\r\nVary: Origin\r\n");
  assert.ok(responseFields!.dropped!.has(requestHead(GET, "Server: x", HOST).fields, 0));
});

test("what goes to another region's edge goes as it came, since that edge has the same policies", () => {
  const edits = { ...request({ set: [["X-A", "1"]] }), ...response({ set: [["X-B", "1"]] }), ...rewriting({ addPrefix: "/v1" }) };
  const ownVms = planOrFail(exchangeOf([GET, HOST]), edits, {}, null);
  ownVms.goesTo(region(ELSEWHERE, "192.0.2.1"));
  assert.deepEqual([ownVms.target, ownVms.requestFields, ownVms.responseFields], [null, null, null]);
  ownVms.goesTo(vm("10.0.0.1"));
  assert.deepEqual([ownVms.target, ownVms.requestFields?.lines.join(""), ownVms.responseFields?.lines.join("")], [
    "/v1/a?b=1",
    "X-A: 1\r\n",
    "X-B: 1\r\n",
  ]);
  const named = planOrFail(exchangeOf([GET, HOST]), edits, {}, []);
  named.goesTo(region(ELSEWHERE, "192.0.2.1"));
  assert.equal(named.target, "/v1/a?b=1", "an endpoint of the file elsewhere is no edge");
});

test("another region's edge is told what has been drawn, and nobody else", () => {
  const split = { split: [{ service: "users", share: 9000 }, { service: "canary", share: 1000 }] };
  const told = (endpoint: EndpointRecord, endpoints: readonly ServiceEndpoint[] | null, edits: Partial<PolicyRoute> = split) => {
    const plan = planOrFail(exchangeOf([GET, HOST]), edits, {}, endpoints);
    plan.goesTo(endpoint);
    return plan.requestFields?.lines.join("").replace(/ [a-z2-7]{20}\r\n/, "") ?? null;
  };
  const there = region(ELSEWHERE, "192.0.2.1");
  assert.equal(told(there, null), "X-Edgeproxy-Decided: users-api users uncounted -");
  assert.equal(told({ ...there, service: "users" } as ServiceEndpoint, null), "X-Edgeproxy-Decided: users-api users uncounted -");
  assert.equal(told(vm("10.0.0.1"), null), null);
  assert.equal(told(there, []), null, "an endpoint that a file names elsewhere");
  assert.equal(told({ ...there, service: "page" } as ServiceEndpoint, null), null, "one that answers in a maintenance");
  assert.equal(told(there, null, {}), null, "nothing is drawn or counted");
});

test("what is the same for every request is made once for a route", () => {
  const route = response({ set: [["X-A", "1"]] });
  const [one, other] = [GET, "GET /b HTTP/1.1"].map((line) => planOrFail(exchangeOf([line, HOST]), route));
  assert.deepEqual(one!.responseFields, other!.responseFields);
});

// ---- answers

/** Head lines without Date, and the body. */
function redirected(policy: Partial<RedirectPolicy>, lines: readonly string[] = [GET, HOST], peer?: string): string {
  const redirect: RedirectPolicy = { to: null, scheme: null, host: null, status: 302, ...policy };
  const plan = planOrFail(exchangeOf(lines, peer), { redirect });
  const { head } = plan.ownAnswer({ status: 302, body: "", headers: [] }, "redirect")!;
  return /^Location: (.*)\r$/m.exec(head)![1]!;
}

test("redirects keep path and query, and change what they say", () => {
  assert.equal(redirected({ scheme: "https" }), "https://a.test/a?b=1");
  assert.equal(redirected({ host: "www.a.test" }), "http://www.a.test/a?b=1");
  assert.equal(redirected({ scheme: "https", host: "www.a.test" }, ["GET / HTTP/1.1", "Host: a.test:8080"]), "https://www.a.test/");
  assert.equal(redirected({ host: "b.test" }, [GET, HOST, "X-Forwarded-Proto: https"], TRUSTED), "https://b.test/a?b=1");
  assert.equal(redirected({ scheme: "https" }, ["GET /x HTTP/1.1", "Host: [::1]:80"]), "https://[::1]/x");
  assert.equal(redirected({ scheme: "https" }, ["OPTIONS * HTTP/1.1", HOST]), "https://a.test/");
});

test("redirects go where they are written to, with variables", () => {
  assert.equal(redirected({ to: "https://www.b.test" }), "https://www.b.test");
  assert.equal(redirected({ to: "https://{host}.b.test{path}?{query}&x=1" }), "https://a.test.b.test/a?b=1&x=1");
  assert.equal(redirected({ to: "https://b.test{path}?{query}" }, ["GET /é HTTP/1.1", HOST]), "https://b.test/%E9");
  assert.equal(
    redirected({ to: "/login?from={path}&u={header:x-user}" }, [GET, HOST, "X-User: a&b=/?#"]),
    "/login?from=/a&u=a%26b%3D%2F%3F%23",
  );
  assert.equal(redirected({ to: "{path}/index.html" }, ["GET /docs HTTP/1.1", HOST]), "/docs/index.html");
});

test("redirects lead to no host that a client has written", () => {
  const toPath = { to: "{path}" };
  for (const target of ["//evil.test/x", "///evil.test/x", "/\\evil.test/x", "//\\/evil.test/x"]) {
    const location = redirected(toPath, [`GET ${target} HTTP/1.1`, HOST]);
    assert.match(location, /^\/(?:%5C)?[^/\\]/, target);
    assert.equal(new URL(location, "http://a.test/").host, "a.test", target);
  }
  const lines = ["GET /x HTTP/1.1", HOST, "X-To: .evil.test", "X-Path: /evil.test"];
  assert.equal(new URL(redirected({ to: "https://b.test{header:x-to}" }, lines)).host, "b.test");
  assert.equal(new URL(redirected({ to: "https://b.test/{header:x-to}" }, lines)).host, "b.test");
  assert.equal(redirected({ to: "/{header:x-path}" }, lines), "/%2Fevil.test");
  assert.equal(redirected({ scheme: "https" }, ["GET /evil.test/x HTTP/1.0"]), "/evil.test/x", "without a host it stays here");
});

test("redirects have a status, a length and the id of the request", () => {
  const plan = planOrFail(exchangeOf([GET, HOST]), { redirect: { to: "/b", scheme: null, host: null, status: 308 } });
  const { status, head, body } = plan.ownAnswer({ status: 308, body: "", headers: [] }, "redirect")!;
  assert.equal(status, 308);
  assert.match(
    head,
    new RegExp(`^HTTP/1.1 308 Permanent Redirect\r\nDate: [^\r]+\r\nLocation: /b\r\nX-Request-Id: ${ID}\r\nContent-Length: 0\r\n$`),
  );
  assert.equal(body.length, 0);
});

/** Of a route's fixed answer. */
function responded(status: number, body: string, headers: readonly (readonly [string, string])[], lines: readonly string[]) {
  const respond = { status, body, headers };
  const plan = planOrFail(exchangeOf(lines), { respond, ...response({ set: [["X-Frame-Options", "DENY"]] }) });
  const answer = plan.ownAnswer(respond, "respond")!;
  return { ...answer, text: answer.body.toString() };
}

const NASTY = [GET, HOST, `X-Name: <b>"'&</script>\x80`];

test("fixed answers have the fields of their route, their own, and a length", () => {
  const { head, text } = responded(200, "Hello {header:x-name} é {}", [], [GET, HOST, "X-Name: Eva"]);
  assert.equal(text, "Hello Eva é {}");
  assert.match(head, /^HTTP\/1\.1 200 OK\r\n/);
  for (
    const line of ["Content-Type: text/plain; charset=utf-8", "X-Frame-Options: DENY", `X-Request-Id: ${ID}`, "Content-Length: 15"]
  ) {
    assert.ok(head.includes(`\r\n${line}\r\n`), line);
  }
});

test("fixed answers cannot be made to say what frames them", () => {
  const { head } = responded(200, "ok", [["Content-Length", "99"], ["Transfer-Encoding", "chunked"], ["X-A", "b"]], [GET, HOST]);
  assert.deepEqual(head.match(/^(content-length|transfer-encoding|x-a):.*$/gim), ["X-A: b", "Content-Length: 2"]);
});

test("values in fixed answers are encoded by the type of the body", () => {
  const value = "{header:x-name}";
  assert.equal(
    responded(200, value, [["Content-Type", "text/html"]], NASTY).body.toString("latin1"),
    "&lt;b&gt;&quot;&#39;&amp;&lt;/script&gt;\x80",
  );
  const json = responded(200, `{"n":"${value}"}`, [["content-type", "application/problem+json"]], NASTY).text;
  assert.deepEqual(JSON.parse(json), { n: `<b>"'&</script>\ufffd` });
  assert.ok(!json.includes("<"));
});

test("edits of a route's answers replace what its fixed answer says, also the type that values are encoded for", () => {
  const answered = (edits: Partial<FieldEdits>, headers: readonly (readonly [string, string])[] = []) => {
    const respond = { status: 200, body: "{header:x-name}", headers };
    const answer = planOrFail(exchangeOf(NASTY), { respond, ...response(edits) }).ownAnswer(respond, "respond")!;
    return { lines: answer.head.match(/^(content-type|x-a):.*$/gim) ?? [], text: answer.body.toString() };
  };
  const html = answered({ set: [["content_type", "text/html"], ["Content-Type", "text/html"]] }, [["Content-Type", "text/plain"]]);
  assert.deepEqual(html.lines, ["Content-Type: text/html"]);
  assert.doesNotMatch(html.text, /</);
  assert.doesNotMatch(answered({ add: [["Content-Type", "text/html"]] }).text, /</);
  const untyped = answered({ remove: ["content-type"] }, [["Content-Type", "text/plain"]]);
  assert.deepEqual(untyped.lines, []);
  assert.doesNotMatch(untyped.text, /</);
  assert.deepEqual(answered({ set: [["X-A", "2"]] }, [["x-a", "1"]]).lines, ["Content-Type: text/plain; charset=utf-8", "X-A: 2"]);
});

test("values in scripts end no text, whatever its quotes", () => {
  const lines = [GET, HOST, "X-Name: ';a=`${b}\"\\</script>"];
  for (const type of ["application/javascript", "text/ecmascript"]) {
    const { text } = responded(200, "x = '{header:x-name}'", [["Content-Type", type]], lines);
    assert.match(text, /^x = '[^'`$<"\\]*(\\(u[0-9a-f]{4}|["\\])[^'`$<"\\]*)*'$/);
  }
});

test("fixed answers without content say no length", () => {
  for (const status of [204, 304]) {
    const { head, body } = responded(status, "", [], [GET, HOST]);
    assert.ok(!/content-(length|type)/i.test(head));
    assert.equal(body.length, 0);
  }
});

test("maintenance is answered in the operator's words, never to be kept, or in the proxy's own", () => {
  const plan = planOrFail(exchangeOf([GET, HOST]), {});
  const written = plan.ownAnswer({ status: 503, body: "back soon", headers: [["Retry-After", "60"]] }, "maintenance")!;
  assert.match(written.head, /^HTTP\/1\.1 503 Service Unavailable\r\n/);
  assert.match(written.head, /\r\nRetry-After: 60\r\n[^]*\r\nCache-Control: no-store\r\n/);
  assert.equal(plan.ownAnswer({ status: 503, body: "", headers: [["Retry-After", "60"]] }, "maintenance"), null);
  const kept = plan.ownAnswer({ status: 503, body: "x", headers: [["Cache-Control", "max-age=5"]] }, "maintenance")!;
  assert.deepEqual(kept.head.match(/^Cache-Control: .*$/gm), ["Cache-Control: max-age=5"]);
});

const NO_ERROR: ErrorAnswer = { codes: [], status: null, json: null, html: null, text: null, redirect: null };

function errorAnswer(
  code: Parameters<ReturnType<typeof planOrFail>["answerInsteadOf"]>[0],
  errors: readonly Partial<ErrorAnswer>[],
  accept = "",
) {
  const plan = planOrFail(exchangeOf([GET, HOST, ...accept === "" ? [] : [`Accept: ${accept}`]]), {
    errors: errors.map((error) => ({ ...NO_ERROR, ...error })),
  });
  const answer = plan.answerInsteadOf(code);
  if (answer === null) return null;
  if (answer.head === null) return { ...answer, head: "", text: "the proxy's own" };
  return { ...answer, text: answer.body.toString() };
}

test("errors are answered by their code, or by a name for several", () => {
  const errors = [{ codes: ["timeout"], text: "slow" }, { codes: ["no_healthy_endpoints", "refused"], text: "down" }];
  assert.equal(errorAnswer("response_timeout", errors)!.text, "slow");
  assert.equal(errorAnswer("connect_timeout", errors)!.text, "slow");
  assert.equal(errorAnswer("vm_unhealthy", errors)!.text, "down");
  assert.equal(errorAnswer("connect_failed", errors)!.text, "down");
  assert.equal(errorAnswer("upstream_reset", errors), null);
  assert.equal(errorAnswer("vm_unhealthy", []), null);
});

test("errors keep their status, code and blame unless another status is wished for", () => {
  const own = errorAnswer("response_timeout", [{ codes: ["timeout"], text: "slow" }])!;
  assert.equal(own.status, 504);
  assert.match(own.head, /^HTTP\/1\.1 504 Gateway Timeout\r\n[^]*X-Edgeproxy-Error: response_timeout\r\nX-Edgeproxy-Blame: vm\r\n/);
  assert.match(own.head, /\r\nCache-Control: no-store\r\n/);
  assert.equal(errorAnswer("response_timeout", [{ codes: ["timeout"], text: "slow", status: 503 }])!.status, 503);
});

test("errors have the body that the client asks for, as far as there is one", () => {
  const all = [{ codes: ["refused"], text: "t", html: "<p>{request_id}</p>", json: '{"id":"{request_id}"}' }];
  assert.equal(errorAnswer("connect_failed", all)!.text, "t");
  assert.equal(errorAnswer("connect_failed", all, "text/html,*/*")!.text, `<p>${ID}</p>`);
  assert.equal(errorAnswer("connect_failed", all, "application/json")!.text, `{"id":"${ID}"}`);
  assert.equal(errorAnswer("connect_failed", [{ codes: ["refused"], json: "{}" }], "text/html")!.text, "{}");
  const ownWords = errorAnswer("connect_failed", [{ codes: ["refused"], status: 503 }])!;
  assert.deepEqual([ownWords.status, ownWords.text], [503, "the proxy's own"]);
});

test("errors without a body for programs that ask for JSON leave them the proxy's own", () => {
  const human = [{ codes: ["refused"], status: 503, text: "t", html: "<p>h</p>" }];
  const forPrograms = errorAnswer("connect_failed", human, "application/json")!;
  assert.deepEqual([forPrograms.status, forPrograms.text], [503, "the proxy's own"]);
  assert.equal(errorAnswer("connect_failed", [{ codes: ["refused"], html: "<p>h</p>" }], "*/*")!.text, "<p>h</p>");
  assert.equal(errorAnswer("connect_failed", [{ codes: ["refused"], text: "t" }], "text/html")!.text, "t");
});

test("errors can lead elsewhere", () => {
  const answer = errorAnswer("connect_failed", [{ codes: ["refused"], redirect: "https://status.test/?from={host}{path}" }])!;
  assert.equal(answer.status, 302);
  assert.match(answer.head, /\r\nLocation: https:\/\/status\.test\/\?from=a\.test\/a\r\n/);
});

test("too_many_retries is any error after the last attempt that the policy allows", () => {
  const retry = { attempts: 2, on: [], statuses: [], budget: 0.2, backoffMs: 0, maxBodyBytes: 0, totalMs: 0 };
  const errors = [{ ...NO_ERROR, codes: ["too_many_retries"], text: "tried" }];
  for (const [attempts, expected] of [[1, null], [2, "tried"]] as const) {
    const exchange = exchangeOf([GET, HOST]);
    exchange.record.attempts = attempts;
    const answer = planOrFail(exchange, { errors }, { retry }).answerInsteadOf("connect_failed");
    assert.equal(answer !== null && answer.head !== null ? answer.body.toString() : null, expected);
  }
  assert.equal(errorAnswer("connect_failed", errors), null, "one attempt is no retry");
});

test("errors know what the refusal comes of: a VM that refuses connections is also one that does not pass its probe", () => {
  const errors = [{ ...NO_ERROR, codes: ["refused"], text: "refused" }];
  const plan = planOrFail(exchangeOf([GET, HOST]), { errors });
  assert.equal(plan.answerInsteadOf("vm_unhealthy"), null);
  plan.lastFailure = "connect_failed";
  const answer = plan.answerInsteadOf("vm_unhealthy");
  assert.ok(answer !== null && answer.head !== null && answer.body.toString() === "refused");
});

test("timeouts are the route's, else its service's, else the settings'", () => {
  const ours = { connectMs: 1, responseMs: null, idleMs: null }, theirs = { connectMs: 5, responseMs: 6, idleMs: null };
  const { timeouts } = planOrFail(exchangeOf([GET, HOST]), { timeouts: ours }, { timeouts: theirs });
  assert.deepEqual(timeouts, { connectMs: 1, responseMs: 6, idleMs: null });
});
