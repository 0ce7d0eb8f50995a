/*  The packed routing table by itself, beside maps of strings.
 *
 *      bun tests/bench/routes.bench.ts [DOMAINS] [SERVICES]
 */
import process from "node:process";
import { changes, Routes, RoutesDraft } from "../../src/table/routes.ts";
import { type Service, Services } from "../../src/table/services.ts";
import { vm } from "../fixtures/records.ts";

const [count = 1_000_000, vms = 250] = process.argv.slice(2).map(Number);
const collect = (globalThis as { Bun?: { gc(full: boolean): void } }).Bun?.gc ?? (() => {});
const mb = () => {
  collect(true);
  collect(true);
  return process.memoryUsage.rss() / 2 ** 20;
};
const say = (...values: unknown[]) => process.stdout.write(`${values.map((each) => JSON.stringify(each)).join(" ")}\n`);
const cpu = () => process.cpuUsage().user / 1000 + process.cpuUsage().system / 1000;
const services = new Services();
const all: Service[] = Array.from({ length: vms }, (_, i) => services.of([vm(`10.0.${i >> 8}.${i & 255}`)]));

function lines(offset = 0): string[] {
  const hosts: string[][] = Array.from({ length: vms }, () => []);
  for (let i = 1; i <= count; i++) hosts[i % vms]!.push(`d${i + offset}.bench.test`);
  return hosts.map((each) => each.join("\n"));
}

function load(texts: string[], like?: Routes): { routes: Routes; put: number; finish: number; longest: number } {
  const draft = new RoutesDraft();
  let longest = 0;
  const start = cpu();
  for (let i = 0; i < texts.length; i++) {
    const text = texts[i]!;
    const service = all[i]!;
    for (let at = 0; at < text.length;) {
      const newline = text.indexOf("\n", at);
      const end = newline < 0 ? text.length : newline;
      draft.put(text, service, at, end);
      at = end + 1;
    }
  }
  const middle = cpu();
  const pieces = draft.finishing(like);
  for (;;) {
    const before = performance.now();
    const piece = pieces.next();
    longest = Math.max(longest, performance.now() - before);
    if (piece.done) return { routes: piece.value, put: middle - start, finish: cpu() - middle, longest };
  }
}

const texts = lines();
const moved = [...texts.slice(1), texts[0]!];
let before = mb();
let { routes, ...figures } = load(texts);
const peak = process.memoryUsage.rss() / 2 ** 20 - before;
say("load", figures, "MB", mb() - before, "peak", peak);
before = cpu();
const same = load(texts, routes);
say("load same, like", same.routes === routes, cpu() - before, same.longest);

const order = Array.from({ length: 1_000_000 }, (_, i) => `d${(i * 7919) % count + 1}.bench.test`).map((each) =>
  (each + "!").slice(0, -1)
);
function lookups(name: string, get: (host: string) => unknown): void {
  for (let round = 0; round < 2; round++) {
    const asked = order.map((each, i) => i & 1 ? each.slice(0, 3) + each.slice(3) : each);
    const start = cpu();
    let found = 0;
    for (const host of asked) if (get(host) !== undefined) found++;
    say(name, (cpu() - start) * 1e6 / order.length, "ns", found);
  }
}
lookups("packed", (host) => routes.get(host));

let drafting = 0, comparing = 0, found = 0;
for (let i = 0; i < 20_000; i++) {
  const start = performance.now();
  const draft = routes.draft();
  draft.put(`d${(i * 7919) % count + 1}.bench.test`, all[i % vms]!);
  const next = draft.finish();
  const middle = performance.now();
  for (const _ of changes(routes, next)) found++;
  comparing += performance.now() - middle;
  drafting += middle - start;
  routes = next;
}
say("one change: draft", drafting / 20, "us, changes", comparing / 20, "us", found);

before = cpu();
let seen = 0;
for (const _ of routes.entries()) seen++;
say("entries", cpu() - before, seen);
before = cpu();
const other = load(moved).routes;
say("load moved", cpu() - before);
before = cpu();
let length = 0;
for (const { host } of changes(routes, other)) length += host.length;
say("changes all", cpu() - before, length);
before = cpu();
for (const { after } of changes(Routes.none, other)) if (after) length++;
say("changes all, services only", cpu() - before, length);
{
  const draft = routes.draft();
  before = cpu();
  for (const host of order) draft.remove(host);
  say("remove", cpu() - before);
  before = cpu();
  say(draft.finish() === Routes.none, cpu() - before);
}
for (let round = 0; round < 6; round++) {
  routes = load(lines(round * count)).routes;
  say("rss replaced", mb());
  routes = Routes.none;
  say("rss removed", mb());
}
before = mb();
const index = new Map<string, Service>();
const start = cpu();
for (let i = 0; i < texts.length; i++) for (const host of texts[i]!.split("\n")) index.set((host + "!").slice(0, -1), all[i]!);
say("Map load", cpu() - start, "MB", mb() - before);
lookups("Map", (host) => index.get(host));
