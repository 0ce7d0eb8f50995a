/*  How long a page of a large table takes (GET /api/routes), and for how long it holds up the loop.
 *
 *      bun tests/bench/route-search.bench.ts [ROUTES]
 *
 *  Hosts of customers on a platform, some wildcards, 1,000 VMs. Each search is run five times; prints one JSON line: the median of
 *  milliseconds, and the longest time for which a timer of 1 ms was late.
 */
import assert from "node:assert/strict";
import process from "node:process";
import { setTimeout as wait } from "node:timers/promises";
import { findRoutes } from "../../src/sources/host-page.ts";
import { endpointKey } from "../../src/table/record.ts";
import { Routes, RoutesDraft } from "../../src/table/routes.ts";
import { Services } from "../../src/table/services.ts";

const [count = 1_000_000] = process.argv.slice(2).map(Number);
const WISH = { count: 100, after: "", part: "", descending: false, wildcard: null, suits: null };

function makeRoutes(): Routes {
  const services = new Services();
  const vms = Array.from({ length: 1000 }, (_, n) => {
    const address = `10.0.${n >> 8}.${n & 255}`;
    return services.of([{
      key: endpointKey("vm", address, 80),
      kind: "vm",
      address,
      port: 80,
      region: n % 3 === 0 ? "here" : "there",
    }]);
  });
  const draft = new RoutesDraft(Routes.none);
  for (let n = 0; n < count; n++) {
    const word = Math.imul(n, 0x9e3779b1) >>> 0;
    draft.put(n % 100 === 0 ? `*.w${n}.example.com` : `${word.toString(36)}-shop${n}.customers.example.com`, vms[n % 1000]!);
  }
  return draft.finish();
}

async function measured(routes: Routes, wish: Partial<Parameters<typeof findRoutes>[1]>) {
  const times: number[] = [];
  let held = 0;
  let found = await findRoutes(routes, { ...WISH, ...wish });
  for (let run = 0; run < 5; run++) {
    let last = performance.now();
    const timer = setInterval(() => {
      held = Math.max(held, performance.now() - last - 1);
      last = performance.now();
    }, 1);
    const startMs = performance.now();
    found = await findRoutes(routes, { ...WISH, ...wish });
    times.push(performance.now() - startMs);
    clearInterval(timer);
    await wait(20);
  }
  return { found, ms: round(times.sort((a, b) => a - b)[2]!), "longest_hold_ms": round(held) };
}

function round(ms: number): number {
  return Math.round(ms * 10) / 10;
}

const routes = makeRoutes();
const first = await measured(routes, {});
assert.equal(first.found.total, count);
const deep = await measured(routes, { after: "m" });
assert.ok(deep.found.hosts.every((host) => host > "m"));
const last = await measured(routes, { descending: true, count: 1000 });
const part = await measured(routes, { part: `shop${count - 1}.` });
assert.equal(part.found.total, 1);
const common = await measured(routes, { part: "example" });
assert.equal(common.found.total, count);
const region = await measured(routes, {
  suits: ({ endpoints }) => endpoints.some((each) => each.region === "here"),
  wildcard: true,
});
const figures = Object.fromEntries(
  Object.entries({ first, deep, last, part, common, region }).map(([name, { found: _found, ...rest }]) => [name, rest]),
);
process.stdout.write(`${JSON.stringify({ bench: "route-search", routes: routes.size, ...figures })}\n`);
