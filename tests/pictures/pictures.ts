/*  Makes the pictures of the dashboard in docs/images: a million domains, five minutes of traffic, one bad half minute, a cordon, so that
 *  everything has something to show. `--seconds N` waits less long, and the charts show less; `--domains N`, `--only NAME,NAME`.
 */
import { mkdir, stat } from "node:fs/promises";
import process from "node:process";
import { setTimeout as wait } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import type { Page } from "playwright-core";
import { findChromium, startBrowser, visit } from "../fixtures/browser.ts";
import { type BusyEdge, SHOP, startBusyEdge, useBusyEdge } from "../fixtures/busy-edge.ts";
import { startPostgres } from "../fixtures/postgres.ts";
import { orderAbout, startBusyServices, useServices } from "./busy-services.ts";

interface Picture {
  readonly name: string;
  readonly place: string;
  readonly colorScheme?: "light" | "dark";
  readonly phone?: boolean;
  /** Pixels; default: as high as a desk's window. */
  readonly height?: number;
  readonly before?: (page: Page) => Promise<void>;
}

const FOLDER = fileURLToPath(new URL("../../docs/images/", import.meta.url));
const DOMAINS = 1_000_000;
const MOST_BYTES = 170_000;
const DESK = { width: 1280, height: 800 };
const PHONE = { width: 375, height: 812 };

const PICTURES: readonly Picture[] = [
  { name: "dashboard-overview", place: "overview" },
  { name: "dashboard-overview-dark", place: "overview", colorScheme: "dark" },
  {
    name: "dashboard-route",
    place: `route/${SHOP}`,
    height: 1180,
    before: (page) => page.locator(".explanation .banner").waitFor(),
  },
  { name: "dashboard-routes", place: "routes?q=store-77" },
  { name: "dashboard-errors", place: "errors", before: openAnError },
  { name: "dashboard-regions", place: "regions", colorScheme: "dark" },
  { name: "dashboard-services", place: "services" },
  { name: "dashboard-service", place: "service/carts", colorScheme: "dark" },
  { name: "dashboard-policies", place: "policy-routes" },
  { name: "dashboard-phone", place: "overview", phone: true },
];

const chromium = findChromium();
if (chromium === null) throw new Error("There is no Chromium on this machine");
await using server = await startPostgres();
await using services = await startBusyServices();
const env = { EDGEPROXY_WORKERS: "2", EDGEPROXY_UPDATE_INTERVAL: "10s", EDGEPROXY_CONFIG_FILE: services.file };
await using busy = await startBusyEdge(server, env, Number(flag("domains") ?? DOMAINS));
const stop = new AbortController();
const traffic = Promise.all([useBusyEdge(busy, stop.signal), useServices(busy, stop.signal)]);
await letThingsHappen(busy, Number(flag("seconds") ?? 330));
await using browser = await startBrowser(chromium);
await mkdir(FOLDER, { recursive: true });
const wanted = (flag("only") ?? "").split(",");
for (const picture of PICTURES) if (wanted.some((part) => picture.name.includes(part))) await take(picture);
stop.abort();
await traffic;

async function letThingsHappen(busy: BusyEdge, seconds: number): Promise<void> {
  const { platform, edge, apiVm } = busy;
  await platform.route("beta.example.com", { address: "10.1.2.3", port: 8080 });
  await edge.refresh();
  await wait(seconds * 600);
  const script = apiVm.script;
  apiVm.script = (_request, connection) => connection.reset();
  await wait(seconds * 100);
  apiVm.script = script;
  await wait(seconds * 250);
  const answer = await edge.admin(`/api/routes/${SHOP}`);
  const { endpoints } = await answer.json() as { endpoints: { kind: string; address: string; port: number }[] };
  const { kind, address, port } = endpoints[1]!;
  const body = JSON.stringify({ expires: "30m", reason: "new kernel" });
  await edge.admin(`/api/endpoints/${encodeURIComponent(`${kind}/${address}:${port}`)}/cordon`, { method: "POST", body });
  await orderAbout(busy);
  await wait(seconds * 50);
}

async function take({ name, place, colorScheme = "light", phone = false, height = DESK.height, before }: Picture): Promise<void> {
  await using visited = await visit(browser, busy.edge.adminUrl, { viewport: phone ? PHONE : { ...DESK, height }, colorScheme });
  const { page } = visited;
  await page.goto(`${busy.edge.adminUrl}/#/${place}`);
  await page.locator("main .panel").first().waitFor();
  await page.locator("main .state[aria-busy]").first().waitFor({ state: "detached" });
  await wait(1500);
  await before?.(page);
  const path = `${FOLDER}${name}.png`;
  await page.screenshot({ path });
  const { size } = await stat(path);
  if (size > MOST_BYTES) throw new Error(`${name}.png has ${size} bytes`);
  process.stdout.write(`${name}.png ${Math.round(size / 1000)} kB\n`);
}

/** Paused, or the next ones would push it out of the picture. */
async function openAnError(page: Page): Promise<void> {
  await page.getByRole("button", { name: "Pause" }).click();
  await page.locator("tbody .toggle").nth(3).click();
}

function flag(name: string): string | undefined {
  const at = process.argv.indexOf(`--${name}`);
  return at === -1 ? undefined : process.argv[at + 1];
}
