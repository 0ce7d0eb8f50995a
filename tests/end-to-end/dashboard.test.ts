/** The dashboard in a real Chromium, on an edge with traffic: every view, on a phone and on a desk, by keyboard, and against hostile names. */
import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import type { Browser, Page } from "playwright-core";
import { findChromium, overflow, squeezed, startBrowser, violations, type Visit, visit } from "../fixtures/browser.ts";
import { API, type BusyEdge, FAR, LOST, SHOP, SICK, startBusyEdge, UNKNOWN_HOST } from "../fixtures/busy-edge.ts";
import { temporaryFolder } from "../fixtures/edgeproxy.ts";
import { startPostgres, type TestDatabase } from "../fixtures/postgres.ts";
import { getRequest, openRaw, type RawConnection, rawRequest } from "../fixtures/raw-client.ts";

const TOKEN = "correct-horse-battery-staple";
/** Beside those that are asked for. */
const DOMAINS = 2000;
const CHROMIUM = findChromium();
const skip = CHROMIUM === null ? "there is no Chromium on this machine" : false;

const PHONE = { width: 375, height: 812 };
const DESK = { width: 1440, height: 900 };

/** Each with a heading, and something that must be there. */
const VIEWS: readonly (readonly [place: string, heading: string, content: string])[] = [
  ["overview", "Overview", ".tile"],
  ["routes", "Routes", "tbody tr"],
  ["excluded", "Excluded domains", "tbody tr"],
  [`route/${SHOP}`, SHOP, ".explanation .banner"],
  ["hosts", "Hosts", "tbody tr"],
  ["errors", "Errors", "tbody tr"],
  ["endpoints", "Endpoints", "tbody tr"],
  ["services", "Services", "tbody tr"],
  ["service/users", "users", "tbody tr"],
  ["policy-routes", "Routes of policies", "tbody tr"],
  ["regions", "Regions", ".region"],
  ["connections", "Connections", "tbody tr"],
  ["revisions", "Revisions", "tbody tr"],
  ["revision/1", "Revision 1", ".facts"],
  ["activity", "Activity", ".panel .state, tbody tr"],
  [`explain?url=http://${LOST}/`, "Explain", ".explanation .banner"],
  ["settings", "Settings", "tbody tr"],
];

const POLICIES = `
services:
  users: { endpoints: [{ url: "http://127.0.0.1:9" }, { url: "http://127.0.0.2:9" }], health: { type: none }, breaker: { failures: 5 } }
routes:
  - { id: users-api, hosts: [policy.example.com], path: /api/users, service: users }
`;

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let server: TestDatabase;
let busy: BusyEdge;
let browser: Browser;
/** Stays connected. */
let client: RawConnection;

before(async () => {
  if (CHROMIUM === null) return;
  server = await startPostgres();
  folder = await temporaryFolder();
  const file = join(folder.path, "routes.yaml");
  await writeFile(file, POLICIES);
  // What is in use is remembered for four intervals, also on a machine that is slow
  const patient = { EDGEPROXY_IDLE_TIMEOUT: "10m", EDGEPROXY_HEALTH_INTERVAL: "5m" };
  const env = { EDGEPROXY_ADMIN_TOKEN: TOKEN, EDGEPROXY_CONFIG_FILE: file, ...patient };
  [busy, browser] = await Promise.all([
    startBusyEdge(server, env, DOMAINS),
    startBrowser(CHROMIUM),
  ]);
  // A little of everything, so that every view has something to show
  for (const host of [SHOP, API, SICK, FAR, LOST, UNKNOWN_HOST, SHOP]) await busy.ask(host, "/first");
  client = await openRaw(busy.edge.port, busy.edge.host);
  client.send(getRequest(SHOP));
  await client.readResponse();
});
after(async () => {
  await browser?.close();
  await client?.[Symbol.asyncDispose]();
  await busy?.[Symbol.asyncDispose]();
  await server?.[Symbol.asyncDispose]();
  await folder?.[Symbol.asyncDispose]();
});

function look(options: Parameters<typeof visit>[2] = {}): Promise<Visit> {
  return visit(browser, busy.edge.adminUrl, { token: TOKEN, viewport: DESK, ...options });
}

async function go(page: Page, place: string): Promise<void> {
  const url = `${busy.edge.adminUrl}/#/${place}`;
  await page.goto(url);
}

async function shown(page: Page, [place, heading, content]: typeof VIEWS[number]): Promise<void> {
  await go(page, place);
  await page.getByRole("heading", { level: 1, name: heading, exact: true }).waitFor({ state: "attached" });
  await page.locator(`main ${content}`).first().waitFor();
  await page.locator("main .state[aria-busy]").first().waitFor({ state: "detached" });
}

async function json<Answer>(path: string): Promise<Answer> {
  const response = await busy.edge.admin(path);
  assert.equal(response.status, 200, path);
  return await response.json() as Answer;
}

for (const [device, viewport] of [["a phone", PHONE], ["a desk", DESK]] as const) {
  for (const colorScheme of ["light", "dark"] as const) {
    test(`dashboard shows every view on ${device}, ${colorScheme}`, { skip }, async () => {
      await using visited = await look({ viewport, colorScheme });
      const { page, offences } = visited;
      const found: string[] = [];
      for (const view of VIEWS) {
        await shown(page, view);
        await page.evaluate("for (const each of document.querySelectorAll('main details')) each.open = true");
        if (await overflow(page) > 0) found.push(`${view[0]} is wider than the window`);
        if (viewport === DESK) found.push(...(await squeezed(page)).map((what) => `${view[0]}: ${what}`));
        // Both devices and both themes have their turn; axe takes its time
        if ((viewport === DESK) === (colorScheme === "light")) {
          found.push(...(await violations(page)).map((violation) => `${view[0]}: ${violation}`));
        }
      }
      assert.deepEqual(found, []);
      assert.deepEqual(offences, []);
    });
  }
}

test("dashboard loads little, and of many routes a page at a time", { skip }, async () => {
  await using visited = await look();
  const { page, loaded } = visited;
  await shown(page, VIEWS[1]!);
  const assets = [...loaded].filter(([path]) => path === "/" || path.startsWith("/assets/"));
  assert.equal(assets.length >= 3, true);
  const bytes = assets.reduce((sum, [, length]) => sum + length, 0);
  assert.ok(bytes > 10_000 && bytes < 100 * 1024, `${bytes} bytes`);
  const { total, routes } = await json<{ total: number; routes: { host: string }[] }>("/api/routes?limit=100");
  assert.ok(total > DOMAINS);
  const hosts = routes.map(({ host }) => host);
  const names = page.locator("tbody tr .names");
  assert.deepEqual(await names.allInnerTexts(), hosts.slice(0, 50));
  await page.getByText(`50 of ${total.toLocaleString("en")} routes`).waitFor();
  await page.getByRole("button", { name: "Next page" }).click();
  await page.getByRole("link", { name: hosts[50]!, exact: true }).waitFor();
  assert.deepEqual(await names.allInnerTexts(), hosts.slice(50));
  await page.goBack();
  await page.getByRole("link", { name: hosts[0]!, exact: true }).waitFor();
});

test("dashboard shows what the API says", { skip }, async () => {
  await using visited = await look();
  const { page } = visited;
  const { total } = await json<{ total: number }>("/api/routes");
  await shown(page, VIEWS[0]!);
  const routes = page.locator(".tile", { has: page.getByText("Routes", { exact: true }) });
  assert.equal(await routes.locator("dd").first().innerText(), total.toLocaleString("en"));
  await shown(page, VIEWS[1]!);
  const names = page.locator("tbody tr .names");
  await page.getByLabel("Part of a host").fill("shop");
  await page.waitForURL(/q=shop/);
  await names.nth(1).waitFor({ state: "detached" });
  await names.first().waitFor();
  assert.deepEqual(await names.allInnerTexts(), [SHOP]);
  const { excluded } = await json<{ excluded: { domain: string; reason: string }[] }>("/api/excluded");
  await shown(page, VIEWS[2]!);
  assert.deepEqual(await names.allInnerTexts(), excluded.map(({ domain }) => domain));
});

test("dashboard says that there is no database", { skip }, async () => {
  await using visited = await look();
  const { page } = visited;
  const overview = await json<{ database: object }>("/api/overview");
  const database = { state: "none", problem: null, following: "nothing", server: null };
  await page.route("**/api/overview", (route) => route.fulfill({ json: { ...overview, database } }));
  await go(page, "overview");
  await page.getByText("none: all routes are those of the routes file").waitFor();
});

test("dashboard asks for the token when the API does, and keeps it for the tab", { skip }, async () => {
  await using visited = await visit(browser, busy.edge.adminUrl, { viewport: PHONE });
  const { page } = visited;
  await go(page, "routes");
  const field = page.getByLabel("Token", { exact: true });
  await field.waitFor();
  assert.equal(await field.getAttribute("type"), "password");
  assert.equal(await page.locator("tbody tr").count(), 0);
  await field.fill("wrong");
  await page.keyboard.press("Enter");
  await page.getByText("That token is not right").waitFor();
  await field.fill(TOKEN);
  await page.keyboard.press("Enter");
  await page.locator("tbody tr").first().waitFor();
  assert.equal(await page.evaluate("JSON.stringify(Object.values(localStorage))"), "[]");
  await page.reload();
  await page.locator("tbody tr").first().waitFor();
  assert.equal(await page.getByRole("dialog").count(), 0);
});

test("dashboard can be used with a keyboard only", { skip }, async () => {
  await using visited = await look();
  const { page } = visited;
  await shown(page, VIEWS[0]!);
  await page.keyboard.press("Tab");
  assert.equal(await page.locator(":focus").innerText(), "Skip to the view");
  await page.keyboard.press("Enter");
  assert.equal(await page.locator(":focus").getAttribute("id"), "main");
  await page.keyboard.press("/");
  await page.keyboard.type("api");
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { level: 1, name: "Routes" }).waitFor();
  await page.getByRole("link", { name: API }).waitFor();
  await page.locator("tbody tr").nth(1).waitFor({ state: "detached" });
  // On to the one result, and open it
  await page.keyboard.press("/");
  while (await page.locator(":focus").innerText() !== API) await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  const heading = page.getByRole("heading", { level: 1, name: API });
  await heading.waitFor();
  await page.waitForFunction(`document.activeElement?.tagName === "H1"`);
  await shown(page, VIEWS.find(([place]) => place === "revisions")!);
  await page.getByRole("button", { name: "Pin revision 1" }).focus();
  await page.keyboard.press("Enter");
  await page.getByRole("dialog").waitFor();
  await page.keyboard.press("Escape");
  await page.getByRole("dialog").waitFor({ state: "detached" });
  await page.waitForFunction(`document.activeElement?.getAttribute("aria-label") === "Pin revision 1"`);
});

test("dashboard shows errors as they happen, holds them while paused, and runs nothing of them", { skip }, async () => {
  await using visited = await look();
  const { page, offences } = visited;
  await shown(page, VIEWS.find(([place]) => place === "errors")!);
  await page.getByText("Live", { exact: true }).waitFor();
  await busy.ask(UNKNOWN_HOST, "/while-you-watch");
  await page.getByText("/while-you-watch").waitFor();
  await page.getByRole("button", { name: "Pause" }).click();
  const evil = `<img/src=x/onerror=document.title='owned'>`;
  await rawRequest(busy.edge.port, `GET /${evil} HTTP/1.1\r\nHost: ${UNKNOWN_HOST}\r\n\r\n`, busy.edge.host);
  await rawRequest(busy.edge.port, `GET / HTTP/1.1\r\nHost: "><script>document.title='owned'</script>\r\n\r\n`, busy.edge.host);
  await page.getByRole("button", { name: "Resume (2 new)" }).click();
  const line = page.locator("tbody tr", { hasText: evil });
  await line.waitFor();
  await line.getByRole("button").click();
  await page.getByText("Request id", { exact: true }).waitFor();
  assert.equal(await page.locator("main img, main script").count(), 0);
  assert.doesNotMatch(await page.title(), /owned/);
  assert.deepEqual(offences, []);
});

test("dashboard explains a request as it would be decided", { skip }, async () => {
  await using visited = await look();
  const { page } = visited;
  await shown(page, ["explain", "Explain", "form"]);
  // What nobody uses is not probed, and has no verdict
  await Promise.all([SHOP, SHOP, SHOP, SHOP, SHOP, SHOP, SICK].map((host) => busy.ask(host)));
  const explain = async (host: string, conclusion: RegExp): Promise<void> => {
    await page.getByLabel("URL").fill(`http://${host}/path`);
    await page.getByRole("button", { name: "Explain" }).click();
    await page.locator(".explanation .banner", { hasText: conclusion }).waitFor();
  };
  await explain(SHOP, /^forward/);
  assert.equal(await page.getByRole("table", { name: "Candidates" }).locator("tbody tr").count(), 2);
  await page.getByRole("table", { name: "Header fields" }).getByText("X-Forwarded-For").waitFor();
  await page.getByText("Headers and client").click();
  await page.getByLabel("Address of the client").fill("203.0.113.9");
  await page.getByLabel("One per line").fill("X-Forwarded-For: 198.51.100.1\nCookie: a=b");
  await page.getByRole("button", { name: "Explain" }).click();
  await page.getByRole("row", { name: /X-Forwarded-For set 203\.0\.113\.9/ }).waitFor();
  await explain(UNKNOWN_HOST, /no_route/);
  await explain(SICK, /vm_unhealthy/);
  await explain(SHOP, /^forward/);
  await page.getByRole("button", { name: "it were unhealthy" }).first().click();
  await page.getByText("Supposed:").waitFor();
});

test("dashboard cordons an endpoint and lets it back", { skip }, async () => {
  await using visited = await look();
  const { page } = visited;
  await busy.ask(API);
  await shown(page, VIEWS.find(([place]) => place === "endpoints")!);
  const { endpoints } = await json<{ endpoints: { key: string; verdict: string }[] }>("/api/endpoints?verdict=healthy&kind=vm");
  const key = endpoints[0]!.key;
  const line = page.locator("tbody tr", { hasText: key });
  await line.getByRole("button", { name: "Cordon" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByLabel("Reason, for your colleagues").fill("new kernel");
  await dialog.getByRole("combobox", { name: "For" }).selectOption("15m");
  await dialog.getByRole("button", { name: "Cordon" }).click();
  await line.getByText("cordoned").waitFor();
  const cordons = await json<{ cordons: { key: string; reason: string }[] }>("/api/cordons");
  assert.deepEqual(cordons.cordons.map(({ key: each, reason }) => [each, reason]), [[key, "new kernel"]]);
  await line.getByRole("button", { name: "Uncordon" }).click();
  await dialog.getByRole("button", { name: "Uncordon" }).click();
  await line.getByText("cordoned").waitFor({ state: "detached" });
  assert.deepEqual((await json<{ cordons: unknown[] }>("/api/cordons")).cordons, []);
});

test("dashboard puts a service into maintenance with a reason, says so, and ends it", { skip }, async () => {
  await using visited = await look();
  const { page } = visited;
  await shown(page, VIEWS.find(([place]) => place === "services")!);
  const line = page.locator("tbody tr", { hasText: "users" });
  await line.getByRole("button", { name: "Maintenance: users" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByLabel("What clients read").fill("back soon");
  await dialog.getByLabel("Reason, for your colleagues").fill("disk");
  await dialog.getByRole("button", { name: "Begin" }).click();
  await line.getByText("maintenance", { exact: true }).waitFor();
  const { orders } = await json<{ orders: { name: string; reason: string; maintenance: { body: string } }[] }>(
    "/api/policies/orders",
  );
  assert.deepEqual(orders.map(({ name, reason, maintenance }) => [name, reason, maintenance.body]), [[
    "users",
    "disk",
    "back soon",
  ]]);
  await line.getByRole("button", { name: "End maintenance order: users" }).click();
  await line.getByText("serving").waitFor();
  assert.deepEqual((await json<{ orders: unknown[] }>("/api/policies/orders")).orders, []);
});

test("dashboard shows the policy of a service in the words of the file", { skip }, async () => {
  await using visited = await look();
  const { page } = visited;
  await shown(page, VIEWS.find(([place]) => place === "service/users")!);
  const policy = await page.getByRole("region", { name: "Policy" }).innerText();
  for (const words of ["p2c", "type none", "failures 5", "openFor 30s"]) assert.ok(policy.includes(words), policy);
  assert.doesNotMatch(policy, /[{}"]|Ms\b|null/);
});

test("dashboard pins a revision, says so on every view, and unpins it", { skip }, async () => {
  await busy.platform.route("new.example.com", { address: "10.1.2.3", port: 80 });
  await busy.edge.refresh();
  await using visited = await look();
  const { page } = visited;
  await shown(page, ["revision/2", "Revision 2", "tbody tr"]);
  assert.deepEqual(await page.locator("tbody tr .names").allInnerTexts(), ["new.example.com"]);
  await shown(page, VIEWS.find(([place]) => place === "revisions")!);
  await page.getByRole("button", { name: "Pin revision 1" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Pin" }).click();
  await page.getByText("Revision 1 is pinned").waitFor();
  await go(page, "routes?q=new.example");
  await page.getByText("No route suits").waitFor();
  await page.getByText("Revision 1 is pinned").waitFor();
  await go(page, "overview");
  await page.getByRole("region", { name: "Alerts" }).getByText("EdgeproxyTablePinned").waitFor();
  await shown(page, VIEWS.find(([place]) => place === "revisions")!);
  await page.getByRole("button", { name: "Unpin revision 1" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Unpin" }).click();
  await page.getByText("Revision 1 is pinned").waitFor({ state: "detached" });
  assert.equal((await json<{ pinned: unknown }>("/api/revisions")).pinned, null);
});

test("dashboard changes the log level for a while", { skip }, async () => {
  await using visited = await look();
  const { page } = visited;
  await shown(page, VIEWS.find(([place]) => place === "settings")!);
  await page.getByRole("combobox", { name: "Level" }).selectOption("debug");
  await page.getByRole("button", { name: "Set level" }).click();
  await page.getByText("then info").waitFor();
  const { level, configured } = await json<{ level: string; configured: string }>("/api/log-level");
  assert.deepEqual([level, configured], ["debug", "info"]);
  await shown(page, VIEWS.find(([place]) => place === "activity")!);
  await page.locator("tbody tr", { hasText: "log level" }).waitFor();
  assert.equal((await page.content()).includes(TOKEN), false);
});

/** The last one: it ends the edge. */
test("dashboard drains the edge once asked twice, and says when it is out of date", { skip }, async () => {
  await using visited = await look();
  const { page } = visited;
  await shown(page, VIEWS.find(([place]) => place === "settings")!);
  await page.getByRole("button", { name: "Drain this edge" }).click();
  const drain = page.getByRole("dialog").getByRole("button", { name: "Drain" });
  assert.equal(await drain.isDisabled(), true);
  await page.getByLabel("Type drain").fill("drain");
  await drain.click();
  assert.equal(await busy.edge.ended, 0);
  await page.getByText("The admin address does not answer").waitFor();
  await page.locator("tbody tr").first().waitFor();
});
