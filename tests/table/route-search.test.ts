import { test } from "node:test";
import assert from "node:assert/strict";
import { endpointKey, type RouteRecord } from "../../src/table/record.ts";
import { type RoutesFound, type RouteWish, searchRoutes } from "../../src/table/route-search.ts";
import type { Routes } from "../../src/table/routes.ts";
import { routesOf } from "../fixtures/records.ts";

const ANY: RouteWish = { count: 10, after: "", descending: false, part: "", wildcard: null, suits: null };

function route(host: string, region: string): RouteRecord {
  return { host, endpoints: [{ key: endpointKey("vm", "10.0.0.5", 80), kind: "vm", address: "10.0.0.5", port: 80, region }] };
}

function find(routes: Routes, wish: Partial<RouteWish>): RoutesFound {
  const pieces = searchRoutes(routes, { ...ANY, ...wish });
  for (;;) {
    const piece = pieces.next();
    if (piece.done === true) return piece.value;
  }
}

test("searchRoutes() pages through all that suit, in order, like a sorted list of names", () => {
  const hosts = Array.from({ length: 3000 }, (_, n) => {
    const word = (Math.imul(n, 0x9e3779b1) >>> 0).toString(36);
    return n % 10 === 0 ? `*.${word}.example.com` : n % 7 === 0 ? `${word}.example.com.xn--p1ai` : `${word}.shop.example`;
  });
  const routes = routesOf(hosts.map((host, n) => route(host, n % 3 === 0 ? "here" : "there")));
  const regionOf = new Map(hosts.map((host, n) => [host, n % 3 === 0 ? "here" : "there"]));
  for (const part of ["", "a", "shop", ".example.com", "xn--", "zzzzzz", hosts[77]!]) {
    for (const descending of [false, true]) {
      for (const wildcard of [null, true, false]) {
        for (const region of [null, "here"]) {
          const expected = hosts.filter((host) =>
            host.includes(part) && (wildcard === null || host.startsWith("*.") === wildcard) &&
            (region ?? regionOf.get(host)) === regionOf.get(host)
          ).sort();
          if (descending) expected.reverse();
          const suits = region === null
            ? null
            : ({ endpoints }: RouteRecord | { endpoints: readonly { region: string }[] }) => endpoints[0]!.region === region;
          const found: string[] = [];
          for (let after = "", more = true; more;) {
            const page = find(routes, { count: 700, part, descending, wildcard, suits, after });
            assert.equal(page.total, expected.length);
            found.push(...page.hosts);
            more = page.more;
            after = page.hosts.at(-1) ?? "";
          }
          assert.deepEqual(found, expected, `${part} ${descending} ${wildcard} ${region}`);
        }
      }
    }
  }
});

test("searchRoutes() goes on behind a host that has gone, and has an end", () => {
  const routes = routesOf(["b.example", "d.example"].map((host) => route(host, "here")));
  assert.deepEqual(find(routes, { after: "a.example", count: 1 }), { total: 2, hosts: ["b.example"], more: true });
  assert.deepEqual(find(routes, { after: "c.example" }), { total: 2, hosts: ["d.example"], more: false });
  assert.deepEqual(find(routes, { after: "c.example", descending: true }), { total: 2, hosts: ["b.example"], more: false });
  assert.deepEqual(find(routes, { after: "d.example" }), { total: 2, hosts: [], more: false });
  assert.deepEqual(find(routes, { after: "b.exampl" }).hosts, ["b.example", "d.example"]);
  assert.deepEqual(find(routesOf([]), {}), { total: 0, hosts: [], more: false });
});

test("searchRoutes() finds no name for what is not ASCII, and nothing behind it", () => {
  const routes = routesOf(["app.example", "b.example"].map((host) => route(host, "here")));
  for (const part of ["\u0161", "\u0170p", "\u{1f600}", "\ud83d", "\0"]) assert.equal(find(routes, { part }).total, 0, part);
  for (const after of ["\u0161", "\u{1f600}"]) assert.deepEqual(find(routes, { after }).hosts, [], after);
  assert.deepEqual(find(routes, { after: "a\u0161" }).hosts, ["b.example"]);
});
