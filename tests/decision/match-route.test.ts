/** Which of the routes that match a request is taken, and where it leads. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type MatchedRoute, matchRoute, type RequestView } from "../../src/decision/match-route.ts";
import { isAmbiguous, requestKey } from "../../src/decision/request-keys.ts";
import { NO_HOOKS } from "../../src/decision/policy-hooks.ts";
import type { Surroundings } from "../../src/decision/surroundings.ts";
import type { Trace } from "../../src/decision/trace.ts";
import type { DomainPolicy, PolicyRoute, RedirectPolicy } from "../../src/table/policy.ts";
import type { Policies } from "../../src/table/policies.ts";
import type { RouteRecord } from "../../src/table/record.ts";
import { RoutingTable } from "../../src/table/routing-table.ts";
import { chance } from "../fixtures/chance.ts";
import { filePolicies, fileService, policiesOf, policyRoute, requestView } from "../fixtures/requests-under-policies.ts";
import { route, routesOf, vm } from "../fixtures/records.ts";

function around(policies: Policies, routes: readonly RouteRecord[] = [], random = 0): Surroundings {
  const table = new RoutingTable();
  table.commit(routesOf(routes), 1, 0);
  table.policies = policies;
  return {
    table,
    previous: () => [],
    pseudonym: "edgeproxy-here",
    availability: () => "available",
    load: () => 0,
    random: () => random,
    secret: "",
    hooks: NO_HOOKS,
  };
}

function matched(view: RequestView, policies: Policies, routes: readonly RouteRecord[] = [], random = 0): MatchedRoute | null {
  const found = matchRoute(view, around(policies, routes, random));
  assert.ok(typeof found !== "string", String(found));
  return found;
}

/** The route's id; null: the bare route. */
function idOf(view: RequestView, routes: readonly PolicyRoute[], bare: readonly string[] = []): string | null {
  return matched(view, policiesOf(filePolicies(routes)), bare.map((host) => route(host, vm("10.0.0.1"))))?.route.id ?? null;
}

test("matchRoute() compares paths by segments", () => {
  const routes = [
    policyRoute("api", { match: { path: { kind: "prefix", value: "/api" } } }),
    policyRoute("users", { match: { path: { kind: "prefix", value: "/api/users" } } }),
    policyRoute("one", { match: { path: { kind: "exact", value: "/api/users/1" } } }),
  ];
  const cases = ["/api api", "/api/ api", "/api/x api", "/apix null", "/API null", "/ null", "/api/users users", "/api/usersx api"];
  for (const each of [...cases, "/api/users/1 one", "/api/users/1/ users", "/api/users/12 users"]) {
    const [path, id] = each.split(" ");
    assert.equal(String(idOf(requestView(`a.test${path}`), routes)), id, each);
  }
});

test("matchRoute() leaves redirects out that would lead in circles", () => {
  const to = (change: Partial<RedirectPolicy>): PolicyRoute[] => [
    policyRoute("away", { priority: 1, redirect: { to: null, scheme: null, host: null, status: 308, ...change } }),
    policyRoute("app", {}),
  ];
  const cases: readonly (readonly [Partial<RedirectPolicy>, scheme: string, host: string, id: string])[] = [
    [{ scheme: "https" }, "http", "a.test", "away"],
    [{ scheme: "https" }, "https", "a.test", "app"],
    [{ host: "www.a.test" }, "https", "a.test", "away"],
    [{ host: "www.a.test" }, "https", "www.a.test", "app"],
    [{ scheme: "https", host: "www.a.test" }, "http", "www.a.test", "away"],
    [{ scheme: "https", host: "www.a.test" }, "https", "www.a.test", "app"],
    [{ to: "https://{host}{path}?{query}" }, "http", "a.test", "away"],
    [{ to: "https://{host}{path}?{query}" }, "https", "a.test", "app"],
    [{ to: "https://www.A.test{path}" }, "https", "www.a.test", "app"],
    [{ to: "https://{host}/x{path}" }, "https", "a.test", "away"],
    [{ to: "/login" }, "https", "a.test", "away"],
  ];
  for (const [change, scheme, host, id] of cases) {
    assert.equal(idOf(requestView(`${host}/x`, { scheme }), to(change)), id, JSON.stringify([change, scheme, host]));
  }
});

test("matchRoute() takes the host's name before wildcards, long ones before short ones, any host last", () => {
  const routes = [
    policyRoute("any"),
    policyRoute("wide", { hosts: ["*.test"] }),
    policyRoute("narrow", { hosts: ["*.a.test"] }),
    policyRoute("name", { hosts: ["x.a.test", "y.test"] }),
  ];
  const cases = {
    "x.a.test": "name",
    "y.test": "name",
    "z.a.test": "narrow",
    "deep.z.a.test": "narrow",
    "a.test": "wide",
    "b.test": "wide",
  };
  for (const [host, id] of Object.entries({ ...cases, test: "any", "[::1]": "any" })) {
    assert.equal(idOf(requestView(host), routes), id, host);
  }
});

test("matchRoute() puts the priority before all else, then host, path, number of matchers and age", () => {
  const path = { kind: "prefix", value: "/long/path" } as const;
  const view = requestView("a.test/long/path", { fields: { "X-A": "1" } });
  const header = { name: "x-a", matcher: { kind: "present" } } as const;
  assert.equal(idOf(view, [policyRoute("path", { match: { path } }), policyRoute("first", { priority: 1 })]), "first");
  assert.equal(idOf(view, [policyRoute("path", { match: { path } }), policyRoute("host", { hosts: ["a.test"] })]), "host");
  assert.equal(
    idOf(view, [policyRoute("field", { match: { headers: [header] } }), policyRoute("path", { match: { path } })]),
    "path",
  );
  assert.equal(idOf(view, [policyRoute("plain"), policyRoute("field", { match: { headers: [header] } })]), "field");
  const two = { methods: ["GET", "HEAD"], headers: [header] };
  assert.equal(idOf(view, [policyRoute("method", { match: { methods: ["GET"] } }), policyRoute("two", { match: two })]), "two");
  assert.equal(idOf(view, [policyRoute("older"), policyRoute("younger")]), "older");
  assert.equal(idOf(view, [policyRoute("below", { priority: -1 }), policyRoute("none")]), "none");
});

test("matchRoute() leaves a host of the routing table its bare route, unless a route is more specific", () => {
  const view = requestView("a.test/x");
  const bare = ["a.test"];
  assert.equal(idOf(view, [policyRoute("any")], bare), null);
  assert.equal(
    idOf(view, [policyRoute("any", { match: { path: { kind: "prefix", value: "/x" } } })], bare),
    null,
    "host before path",
  );
  assert.equal(idOf(view, [policyRoute("same", { hosts: ["a.test"] })], bare), null, "older");
  assert.equal(
    idOf(view, [policyRoute("path", { hosts: ["a.test"], match: { path: { kind: "prefix", value: "/x" } } })], bare),
    "path",
  );
  assert.equal(idOf(view, [policyRoute("high", { priority: 1 })], bare), "high");
  assert.equal(idOf(view, [policyRoute("low", { hosts: ["a.test"], priority: -1, match: { methods: ["GET"] } })], bare), null);
  assert.equal(idOf(view, [policyRoute("name", { hosts: ["a.test"] })], ["*.test"]), "name", "a name before a wildcard");
  assert.equal(idOf(requestView("a.b.test"), [policyRoute("wide", { hosts: ["*.test"] })], ["*.b.test"]), null);
});

test("matchRoute() compares methods, fields, cookies and parameters", () => {
  const of = (match: Parameters<typeof policyRoute>[1] & object) => [policyRoute("it", match)];
  const fits = (view: RequestView, match: NonNullable<NonNullable<Parameters<typeof policyRoute>[1]>["match"]>) =>
    idOf(view, of({ match })) === "it";
  assert.ok(fits(requestView("a.test", { method: "POST" }), { methods: ["PUT", "POST"] }));
  assert.ok(!fits(requestView("a.test"), { methods: ["PUT", "POST"] }));
  const equal = (name: string, value: string) => [{ name, matcher: { kind: "equal", value } as const }];
  const pattern = (name: string, text: string) => [{ name, matcher: { kind: "pattern", pattern: text } as const }];
  const env = requestView("a.test", { fields: { "X-Env": "beta" } });
  assert.ok(fits(env, { headers: equal("x-env", "beta") }));
  assert.ok(!fits(env, { headers: equal("x-env", "Beta") }));
  assert.ok(fits(env, { headers: [{ name: "x-env", matcher: { kind: "prefix", value: "be" } }] }));
  assert.ok(fits(env, { headers: pattern("x-env", "^b.t") }) && !fits(env, { headers: pattern("x-env", "^e") }));
  assert.ok(!fits(requestView("a.test"), { headers: [{ name: "x-env", matcher: { kind: "present" } }] }));
  const cookies = requestView("a.test", { fields: { Cookie: "a=1; beta=yes; a=2", "X-Env": "x" } });
  for (const [name, value] of [["a", "1"], ["a", "2"], ["beta", "yes"]]) {
    assert.ok(fits(cookies, { cookies: equal(name!, value!) }));
  }
  assert.ok(!fits(cookies, { cookies: equal("Beta", "yes") }), "names are spelled exactly");
  const query = requestView("a.test/x?v=2&name=a%20b+c&empty&%76=3");
  for (const [name, value] of [["v", "2"], ["v", "3"], ["name", "a b c"], ["empty", ""]]) {
    assert.ok(fits(query, { query: equal(name!, value!) }));
  }
  assert.ok(!fits(query, { query: equal("V", "2") }));
  assert.ok(
    fits(requestView("a.test", { fields: { "X-Name": "J\u00fcrgen" } }), { headers: equal("x-name", "J\u00fcrgen") }),
    "as UTF-8",
  );
});

// rule: RFC 9112, 3.2.2 | the Host beside an absolute target is ignored
test("matchRoute() compares the host that counts, not an ignored Host field", () => {
  const only = (
    value: string,
  ) => [policyRoute("it", { match: { headers: [{ name: "host", matcher: { kind: "equal", value } }] } })];
  const view = requestView("a.test", { authority: "a.test:81", fields: { Host: "evil.test" } });
  assert.equal(idOf(view, only("a.test:81")), "it");
  assert.equal(idOf(view, only("evil.test")), null);
  const hostless = [policyRoute("it", { match: { headers: [{ name: "host", matcher: { kind: "present" } }] } })];
  assert.equal(idOf(requestView("a.test", { authority: null }), hostless), null);
});

test("requestKey() and isAmbiguous() go by the host that counts", () => {
  const view = requestView("a.test", { authority: "a.test:81", fields: { Host: "evil.test" } });
  const source = { kind: "header", name: "host" } as const;
  assert.equal(requestKey(source, view, null), "a.test:81");
  assert.equal(requestKey(source, requestView("", { authority: null }), null), null);
  assert.equal(isAmbiguous(source, view), false);
});

test("matchRoute() splits by share, and keeps a client on its side", () => {
  const split = [{ service: "new", share: 1 }, { service: "canary", share: 999 }, { service: "old", share: 9000 }];
  const policies = policiesOf(filePolicies([policyRoute("split", { split })]));
  const at = (random: number) => matched(requestView("a.test"), policies, [], random)?.service?.name;
  assert.deepEqual([0, 0.00009, 0.0001, 0.0999, 0.1, 0.99999].map(at), ["new", "new", "canary", "canary", "old", "old"]);
  const sticky = policiesOf(filePolicies([policyRoute("split", { split, splitKey: { kind: "header", name: "x-user" } })]));
  const seen = new Map<string, number>();
  for (let user = 0; user < 20_000; user++) {
    const view = requestView("a.test", { fields: { "X-User": `user-${user}` } });
    const name = matched(view, sticky, [], Math.random())!.service!.name;
    assert.equal(matched(view, sticky, [], Math.random())!.service!.name, name);
    seen.set(name, (seen.get(name) ?? 0) + 1);
  }
  assert.ok(Math.abs(seen.get("canary")! / 20_000 - 0.0999) < 0.01, JSON.stringify([...seen]));
  const withoutUser = requestView("a.test", { clientAddress: "198.51.100.7" });
  assert.equal(
    matched(withoutUser, sticky, [], 0)!.service!.name,
    matched(withoutUser, sticky, [], 0.999)!.service!.name,
    "by address",
  );
  const sides = Array.from({ length: 200 }, (_, at) => {
    const clientAddress = `2001:db8::${(at + 1).toString(16)}`;
    return matched(requestView("a.test", { clientAddress }), sticky)!.service!.name;
  });
  assert.equal(new Set(sides).size, 1, "a client with IPv6 changes his address within the /64");
});

test("matchRoute() tells by what a side was drawn: also that the request lacks what the key is made of", () => {
  const split = [{ service: "old", share: 5000 }, { service: "new", share: 5000 }];
  const policies = policiesOf(filePolicies([policyRoute("split", { split, splitKey: { kind: "cookie", name: "side" } })]));
  const told = (fields: Record<string, string>) => {
    const notes: string[] = [];
    matchRoute(requestView("a.test", { fields }), around(policies), (step) => step.kind === "note" && notes.push(step.text));
    return notes.join().replace(/^of the split \w+ is drawn, (.*), which has 50 %$/, "$1");
  };
  assert.equal(told({ Cookie: "side=x" }), "by cookie side");
  assert.equal(told({}), "by the client's address for want of a cookie side");
});

test("matchRoute() lets the policy of a domain speak only for hosts that fall under it", () => {
  const own: DomainPolicy = {
    host: "a.test",
    services: [{ ...fileService("a.test"), endpoints: null }, fileService("a.test/users")],
    routes: [
      policyRoute("users", {
        hosts: ["a.test"],
        match: { path: { kind: "prefix", value: "/users" } },
        split: [{ service: "a.test/users", share: 10_000 }],
      }),
    ],
  };
  const policies = policiesOf(filePolicies([]), [own]);
  const routes = [route("a.test", vm("10.0.0.1"))];
  const serviceAt = (url: string, known = routes) => matched(requestView(url), policies, known)?.service?.name ?? null;
  assert.equal(serviceAt("a.test/users/1"), "a.test/users");
  assert.equal(serviceAt("a.test/"), "a.test", "its own VMs are under a policy");
  assert.equal(serviceAt("b.test/users"), null);
  assert.equal(serviceAt("a.test/users", []), null, "a domain that is not routed is not served by its policy");
});

test("matchRoute() tells nothing of hosts that no policy concerns", () => {
  const policies = policiesOf(filePolicies([policyRoute("a", { hosts: ["a.test"] })]));
  assert.ok(policies.mayConcern("a.test") && !policies.mayConcern("b.test"));
  assert.equal(matched(requestView("b.test"), policies), null);
});

test("matchRoute() refuses paths that servers read as different routes", () => {
  const path = (value: string) => ({ match: { path: { kind: "prefix", value } as const } });
  const routes = [
    policyRoute("all"),
    policyRoute("admin", path("/admin")),
    policyRoute("public", path("/public")),
    policyRoute("files", path("/files")),
  ];
  const policies = policiesOf(filePolicies(routes));
  const outcome = (url: string, of = policies) => {
    const found = matchRoute(requestView(url), around(of));
    return typeof found === "string" ? "refused" : found?.route.id ?? null;
  };
  for (
    const tricky of [
      "/x/..%2fadmin",
      "/public/../admin",
      "/public/%2e%2e/admin",
      "//admin",
      "/public;/..;/admin",
      "/x/..\\admin",
      "/%2Fadmin",
    ]
  ) {
    assert.equal(outcome(`a.test${tricky}`), "refused", tricky);
  }
  assert.equal(outcome("a.test/%61dmin"), "admin");
  assert.equal(outcome("a.test/%61dmin/x"), "admin");
  const same = {
    "/files/group%2Fname": "files",
    "/files//x": "files",
    "/files/a/../b": "files",
    "/.well-known/x": "all",
    "/a/./b": "all",
  };
  for (const [url, id] of Object.entries(same)) assert.equal(outcome(`a.test${url}`), id, `${url}: all lead there`);
  const noPaths = policiesOf(filePolicies([policyRoute("all")]));
  assert.equal(outcome("a.test/x/..%2fadmin", noPaths), "all", "where no route looks at the path");
  const bare = [route("a.test", vm("10.0.0.1"))];
  const named = policiesOf(filePolicies([policyRoute("admin", { hosts: ["a.test"], ...path("/admin") })]));
  assert.equal(typeof matchRoute(requestView("a.test/x/..%2fadmin"), around(named, bare)), "string", "also beside the bare route");
  assert.equal(matchRoute(requestView("a.test/x%2fy"), around(named, bare)), null);
});

test("matchRoute() sends who has a believed route key to the routes of that key", () => {
  const keyed = (routeKey: string, value = "/") => ({
    priority: 0.5,
    match: { routeKey, path: { kind: "prefix", value } as const },
  });
  const routes = [policyRoute("s-1", keyed("s-1")), policyRoute("s-2", keyed("s-2", "/api"))];
  const bare = [route("app.test", vm("10.0.0.1")), route("claimed--app.test", vm("10.0.0.2"))];
  const at = (url: string, key: string | null, trusted = true) =>
    matched(
      requestView(url, { trusted, fields: key === null ? {} : { "X-Route-Key": key } }),
      policiesOf(filePolicies(routes)),
      bare,
    );
  assert.equal(at("app.test/", "s-1")?.route.id, "s-1");
  assert.equal(at("app.test/", "s-1")?.routeKey, "s-1");
  assert.equal(at("app.test/", "s-1", false), null, "not believed");
  assert.deepEqual(
    [at("app.test/", "s-2"), at("app.test/", "s-3"), at("app.test/", null)],
    [null, null, null],
    "no fit, unknown, none: the default",
  );
  assert.equal(at("app.test/api/x", "s-2")?.route.id, "s-2");
  assert.deepEqual([at("s-1--app.test/", null)?.route.id, at("s-1--app.test/", null)?.host], ["s-1", "app.test"]);
  const unknown = at("s-9--app.test/", null);
  assert.deepEqual([unknown?.host, unknown?.service?.plain], ["app.test", true], "the default of the host it stands for");
  assert.equal(at("s-1--app.test/", null, false), null, "not believed: a host like any other");
  assert.equal(at("claimed--app.test/", null), null, "a host of its own");
});

test("matchRoute() looks for a route key also where routes want one like that, and not who has none", () => {
  const like = { match: { routeKeyLike: { kind: "prefix", value: "s-" } as const } };
  const inFile = policiesOf(filePolicies([policyRoute("sandboxes", { priority: 0.5, ...like })]));
  const ofDomain = policiesOf(filePolicies([]), [{ host: "app.test", services: [], routes: [policyRoute("own", like)] }]);
  const bare = [route("app.test", vm("10.0.0.1"))];
  const ofHost = policiesOf(filePolicies([policyRoute("host", { hosts: ["app.test"], ...like })]));
  for (const [policies, id] of [[inFile, "sandboxes"], [ofDomain, "own"], [ofHost, "host"]] as const) {
    const at = (url: string, fields = {}) => matched(requestView(url, { trusted: true, fields }), policies, bare)?.route.id;
    assert.deepEqual([at("app.test/", { "X-Route-Key": "s-1" }), at("s-1--app.test/")], [id, id]);
    assert.ok(policies.mayConcern("s-1--app.test"));
    for (const fields of [{}, { "X-Route-Key": "t-1" }]) assert.notEqual(at("app.test/", fields), id);
  }
});

/** A route of one of few kinds, so that any two of them compete. */
function anyRoute(id: string, random: () => number): PolicyRoute {
  const one = <T>(...choices: T[]): T => choices[Math.floor(random() * choices.length)]!;
  return policyRoute(id, {
    hosts: one<string[]>(["app.test"], ["app.test"], ["*.test"], []),
    priority: one(0, 0, 0, 1, -1),
    match: {
      path: { kind: "prefix", value: one("/", "/", "/", "/api") },
      methods: one<string[]>([], [], ["POST"]),
      routeKey: one(null, null, null, "x"),
      ...(random() < 0.2 && { routeKeyLike: { kind: "prefix", value: "x" } }),
    },
    ...(random() < 0.2 && { redirect: { to: null, scheme: "https", host: null, status: 308 } }),
  });
}

test("matchRoute() finds the same route whether or not somebody is told why", () => {
  const random = chance(1);
  const found: Record<string, number> = {};
  for (let i = 0; i < 3000; i++) {
    const routes = Array.from({ length: 1 + Math.floor(random() * 3) }, (_, at) => anyRoute(`r${at}`, random));
    const surroundings = around(policiesOf(filePolicies(routes)), random() < 0.5 ? [route("app.test", vm("10.0.0.1"))] : []);
    const scheme = random() < 0.5 ? "https" : "http", path = random() < 0.5 ? "/api/x" : "/", trusted = random() < 0.5;
    const view = requestView(`app.test${path}`, { scheme, fields: { "X-Route-Key": "x" }, trusted });
    const idFound = (trace?: Trace) => {
      const match = matchRoute(view, surroundings, trace);
      assert.ok(typeof match !== "string");
      return `${match?.route.id} ${match?.routeKey} ${match?.service?.name}`;
    };
    const id = idFound();
    assert.equal(id, idFound(() => {}), JSON.stringify(routes));
    found[id] = (found[id] ?? 0) + 1;
  }
  assert.ok(Object.keys(found).length > 6, JSON.stringify(found));
});
