/*  A table on its way to a worker process: CPU of both sides until it is in force, and the longest time one of them did not look up.
 *
 *      bun tests/bench/route-transfer.bench.ts [DOMAINS] [SERVICES]
 *
 *  whole: the table; moved: every domain to another service; gone: all of them.
 */
import { fork } from "node:child_process";
import process from "node:process";
import { setTimeout as wait } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { RouteReceiver } from "../../src/lifecycle/route-receiver.ts";
import type { Snapshot } from "../../src/lifecycle/route-transfer.ts";
import type { DownMessage, UpMessage } from "../../src/lifecycle/worker-channel.ts";
import { WorkerLink } from "../../src/lifecycle/worker-link.ts";
import { later } from "../../src/runtime/later.ts";
import { systemTimers } from "../../src/runtime/timers.ts";
import { Routes, RoutesDraft } from "../../src/table/routes.ts";
import { RoutingTable } from "../../src/table/routing-table.ts";
import { Services } from "../../src/table/services.ts";
import { vm } from "../fixtures/records.ts";

interface Figures {
  readonly cpuMs: number;
  readonly longestMs: number;
  readonly rssMb: number;
}

const [domains = 1_000_000, services = 250] = process.argv.slice(2).map(Number);
let longestMs = 0;

/** The longest time between two turns. */
function watch(): void {
  let last = performance.now();
  const look = (): void => {
    const now = performance.now();
    longestMs = Math.max(longestMs, now - last);
    last = now;
    setImmediate(look);
  };
  look();
}

function figures(before: NodeJS.CpuUsage): Figures {
  const { user, system } = process.cpuUsage(before);
  const taken = { cpuMs: Math.round((user + system) / 1000), longestMs: Number(longestMs.toFixed(1)), rssMb: rss() };
  longestMs = 0;
  return taken;
}

function rss(): number {
  return Math.round(process.memoryUsage.rss() / 2 ** 20);
}

function serve(): void {
  const table = new RoutingTable();
  const send = (message: unknown) => void process.send?.(message);
  const receiver = new RouteReceiver({ table, committed: () => {}, send, later, nowMs: systemTimers.nowMs });
  let cpu = process.cpuUsage();
  process.on("message", (message: DownMessage | "figures") => {
    if (message !== "figures") return receiver.receive(message as Extract<DownMessage, { type: "routes" }>);
    send({ type: "figures", ...figures(cpu) });
    cpu = process.cpuUsage();
  });
}

function tableOf(shift: number, like: Routes): Routes {
  const known = new Services();
  const all = Array.from({ length: services }, (_, i) => known.of([vm(`10.${i >> 16}.${i >> 8 & 255}.${i & 255}`)]));
  const draft = new RoutesDraft();
  for (let i = 1; i <= domains; i++) draft.put(`d${i}.bench.test`, all[(i + shift) % services]!);
  return draft.finish(like);
}

async function measure(): Promise<void> {
  const child = fork(fileURLToPath(import.meta.url), ["--worker"]);
  let snapshot: Snapshot = { revision: 0, routes: Routes.none };
  let told: ((figures: Figures) => void) | null = null;
  const link = new WorkerLink({ send: (message) => void child.send(message), snapshot: () => snapshot });
  child.on("message", (message: UpMessage | Figures & { type: "figures" }) => {
    if (message.type === "figures") told?.(message);
    else link.receive(message);
  });
  const ask = (): Promise<Figures> => new Promise((resolve) => (told = resolve, child.send("figures")));
  link.start();
  if (process.env["WATCH"] !== undefined) watch();
  const before = tableOf(0, Routes.none);
  for (const [name, routes] of [["whole", before], ["moved", tableOf(1, before)], ["gone", Routes.none]] as const) {
    await wait(500);
    await ask();
    const startMs = performance.now();
    longestMs = 0;
    const cpu = process.cpuUsage();
    snapshot = { revision: snapshot.revision + 1, routes };
    link.routesChanged();
    while (link.appliedRevision < snapshot.revision) await wait(5);
    const wallMs = Math.round(performance.now() - startMs);
    const control = figures(cpu), worker = await ask();
    process.stdout.write(`${JSON.stringify({ name, wallMs, cpuMs: control.cpuMs + worker.cpuMs, control, worker })}\n`);
  }
  child.kill();
}

if (process.argv.includes("--worker")) {
  serve();
  if (process.env["WATCH"] !== undefined) watch();
} else await measure();
