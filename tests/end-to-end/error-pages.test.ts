/** An operator's error pages: which page, in which worker, and when they change. */
import assert from "node:assert/strict";
import { rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { type Edgeproxy, runEdgeproxy, temporaryFolder } from "../fixtures/edgeproxy.ts";
import { fieldValue } from "../fixtures/http1.ts";
import { get, Platform } from "../fixtures/platform.ts";
import { startPostgres, type TestDatabase } from "../fixtures/postgres.ts";
import { getRequest, openRaw, rawRequest } from "../fixtures/raw-client.ts";

const SICK = "sick.example.com";
const TRUSTED = "127.0.0.9";

let server: TestDatabase;
let platform: Platform;
let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let edge: Edgeproxy;

before(async () => {
  server = await startPostgres();
  platform = await Platform.start(server);
  folder = await temporaryFolder();
  await platform.vm(SICK, { healthStatus: 500 });
  await page("error", "first: {{status}} {{reason}} {{code}} {{blame}}");
  edge = await platform.edge({
    EDGEPROXY_ERROR_PAGES: folder.path,
    EDGEPROXY_TRUSTED_PROXIES: TRUSTED,
    EDGEPROXY_WORKERS: "2",
  });
});
after(async () => {
  await platform[Symbol.asyncDispose]();
  await folder[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
});

/** At once, as it should be done where a reading may come at any time. */
async function page(name: string, text: string): Promise<void> {
  await writeFile(join(folder.path, `.${name}`), text);
  await rename(join(folder.path, `.${name}`), join(folder.path, `${name}.html`));
}

async function shown(host: string): Promise<string> {
  return (await get(edge, host, "/", "Accept: text/html")).body.toString();
}

/** Resolves with the line that says how a reading on SIGHUP ended. */
async function reload(msg: "error pages changed" | "error pages stay as they were"): Promise<Readonly<Record<string, unknown>>> {
  const count = (): number => edge.log.filter((line) => line["msg"] === msg).length;
  const before = count();
  edge.signal("SIGHUP");
  await edge.waitFor(() => Promise.resolve(count() > before), `did not say "${msg}"`);
  return edge.log.findLast((line) => line["msg"] === msg)!;
}

test("edgeproxy shows the nearest page of the folder to browsers, and what it has always said to others", async () => {
  assert.equal(await shown(SICK), "first: 503 Service Unavailable vm_unhealthy vm");
  for (const name of ["5xx", "503", "vm_unhealthy"]) {
    await page(name, `${name}: {{message}}`);
    await reload("error pages changed");
    assert.equal(await shown(SICK), `${name}: Service Unavailable - VM not responding`);
    assert.equal(await shown("nobody.example.com"), "first: 404 Not Found no_route client");
  }
  await rm(join(folder.path, "error.html"));
  await reload("error pages changed");
  assert.match(await shown("nobody.example.com"), /^<!doctype html>/);
  assert.equal((await get(edge, SICK)).body.toString(), "Service Unavailable - VM not responding");
  const json = await get(edge, SICK, "/", "Accept: application/json");
  assert.deepEqual(Object.keys(JSON.parse(json.body.toString())), ["error", "message", "request_id"]);
});

test("edgeproxy counts the bytes of a page, and sends none of them for HEAD", async () => {
  await page("404", "Gr\u00fc\u00dfe \u2603 {{host}}");
  await reload("error pages changed");
  await using connection = await openRaw(edge.port, edge.host);
  connection.send(getRequest("nobody.example.com", "/", "Accept: text/html").replace("GET", "HEAD"));
  const toHead = await connection.readResponse({ toHead: true });
  connection.send(getRequest("nobody.example.com", "/", "Accept: text/html"));
  const toGet = await connection.readResponse();
  const expected = "Gr\u00fc\u00dfe \u2603 nobody.example.com";
  assert.equal(toGet.body.toString(), expected);
  assert.equal(fieldValue(toHead, "content-length"), String(Buffer.byteLength(expected)));
});

test("edgeproxy puts nothing hostile into a page", async () => {
  await page("404", "<p title='{{host}}'>{{request_id}}</p>");
  await page("400", "<p title='{{host}}'>{{request_id}} {{code}}</p>");
  await reload("error pages changed");
  const hostile = `'><script>alert(1)</script>`;
  for (const [host, status] of [[`${hostile}.example.com`, 400], ["nobody.example.com", 404]] as const) {
    const request = getRequest(host, "/", "Accept: text/html", `X-Request-Id: ${hostile}`);
    const response = await rawRequest(edge.port, request, edge.host, TRUSTED);
    const text = response.body.toString();
    assert.equal(response.status, status);
    assert.match(text, /^<p title='[a-z.]*'>[0-9a-f]{32}( bad_request)?<\/p>$/);
  }
  const odd = getRequest("nobody.example.com", "/", "Accept: text/html", "X-Request-Id: a/b=c+d@e:f");
  assert.match((await rawRequest(edge.port, odd, edge.host, TRUSTED)).body.toString(), /a\/b=c\+d@e:f/);
});

test("edgeproxy changes pages while requests run: each answer is one of them, whole, and the last ones count", async () => {
  const text = (version: number): string => `version ${version} `.repeat(3000) + "{{code}}";
  await page("404", text(0));
  await reload("error pages changed");
  let running = true;
  const seen = new Set<string>();
  const load = Array.from({ length: 4 }, async () => {
    await using connection = await openRaw(edge.port, edge.host);
    while (running) {
      connection.send(getRequest("nobody.example.com", "/", "Accept: text/html"));
      seen.add((await connection.readResponse()).body.toString());
    }
  });
  for (let version = 1; version <= 5; version++) {
    await page("404", text(version));
    await reload("error pages changed");
    assert.equal(
      await shown("nobody.example.com"),
      text(version).replace("{{code}}", "no_route"),
      "once it is told, it is in force",
    );
  }
  running = false;
  await Promise.all(load);
  const whole = Array.from({ length: 6 }, (_, version) => text(version).replace("{{code}}", "no_route"));
  assert.deepEqual([...seen].filter((body) => !whole.includes(body)), [], "no answer is made of two pages");
  assert.ok(seen.size > 1);
});

test("edgeproxy keeps the pages it has when the new ones are wrong, and says why", async () => {
  await page("404", "good");
  await reload("error pages changed");
  await page("404", "{{hots}}");
  await page("teapot", "");
  const line = await reload("error pages stay as they were");
  assert.equal(line["level"], "error");
  assert.deepEqual(
    line["problems"],
    [
      "EDGEPROXY_ERROR_PAGES: 404.html: unknown placeholder {{hots}}; did you mean {{host}}?",
      "EDGEPROXY_ERROR_PAGES: teapot.html: is for no code or status; did you mean 404.html?",
    ].map((each) => each.replace(/did you mean \w+\.html/, String(line["problems"]).match(/did you mean \w+\.html/)?.[0] ?? "")),
  );
  assert.equal(await shown("nobody.example.com"), "good");

  const env = { EDGEPROXY_DATABASE_URL: platform.database.url, EDGEPROXY_REGION_ID: platform.region.id };
  const start = await runEdgeproxy(["serve"], { env: { ...env, EDGEPROXY_ERROR_PAGES: folder.path, EDGEPROXY_WORKERS: "many" } });
  assert.equal(start.exitCode, 2);
  assert.match(
    start.stderr,
    /^EDGEPROXY_WORKERS: .*\nEDGEPROXY_ERROR_PAGES: 404\.html: .*\nEDGEPROXY_ERROR_PAGES: teapot\.html: /m,
  );
  const check = await runEdgeproxy(["check"], { env: { ...env, EDGEPROXY_ERROR_PAGES: folder.path } });
  assert.equal(check.exitCode, 2);
  assert.match(check.stdout, /^FAIL {2}error pages: EDGEPROXY_ERROR_PAGES: 404\.html: unknown placeholder/m);

  await rm(join(folder.path, "teapot.html"));
  await page("404", "better");
  await reload("error pages changed");
  const fine = await runEdgeproxy(["check"], { env: { ...env, EDGEPROXY_ERROR_PAGES: folder.path } });
  assert.match(fine.stdout, /^ok {4}error pages: \d+ in .*, for \d+ of \d+ error codes$/m);
});

test("edgeproxy gives the pages of the moment to workers that start later", async () => {
  await page("404", "of the moment");
  await reload("error pages changed");
  const [worker] = await edge.workers();
  process.kill(worker!.pid, "SIGKILL");
  await edge.waitFor(async () => {
    const workers = await edge.workers();
    return workers.length === 2 && workers.every(({ pid, state }) => pid !== worker!.pid && state === "serving");
  }, "did not replace the worker");
  const pages = await Promise.all(Array.from({ length: 20 }, () => shown("nobody.example.com")));
  assert.deepEqual([...new Set(pages)], ["of the moment"]);
});

test("the next generation reads the pages anew", async () => {
  await page("404", "of the next generation");
  assert.notEqual(await shown("nobody.example.com"), "of the next generation");
  await using next = await platform.edge({ EDGEPROXY_ERROR_PAGES: folder.path });
  await edge.ended; // until then it may answer a connection that reached it before it gave way
  assert.equal((await get(next, "nobody.example.com", "/", "Accept: text/html")).body.toString(), "of the next generation");
});
