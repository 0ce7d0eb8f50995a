/** Contract section 2: each command of the compiled binary, its exit codes, and that `explain` says what requests then get. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { BINARY, type Edgeproxy, type Run, runEdgeproxy, temporaryFolder } from "../fixtures/edgeproxy.ts";
import { fieldValue } from "../fixtures/http1.ts";
import { Platform, send } from "../fixtures/platform.ts";
import { freePort, loopbackAddress } from "../fixtures/ports.ts";
import { insertRoute, startPostgres, type TestDatabase } from "../fixtures/postgres.ts";
import { getRequest } from "../fixtures/raw-client.ts";
import { respond, startVm } from "../fixtures/vm.ts";

let server: TestDatabase;
/** An admin address at which nobody answers `explain`: at the usual one, somebody may. */
let nobody: string;
before(async () => {
  server = await startPostgres();
  nobody = `127.0.0.1:${await freePort()}`;
});
after(() => server[Symbol.asyncDispose]());

/** The settings that the platform's edges run with. */
function environment(platform: Platform, env: Readonly<Record<string, string>> = {}): Record<string, string> {
  return {
    EDGEPROXY_DATABASE_URL: platform.database.url,
    EDGEPROXY_REGION_ID: platform.region.id,
    EDGEPROXY_REGION_PORT: String(platform.edgePort),
    EDGEPROXY_ADMIN_ADDR: nobody,
    ...env,
  };
}

async function command(platform: Platform, ...words: string[]): Promise<Run> {
  return await runEdgeproxy(words, { env: environment(platform) });
}

/** Each finding of `check`, by mark. */
function findings(run: Run): Readonly<Record<"ok" | "warn" | "FAIL", readonly string[]>> {
  const lines = run.stdout.trimEnd().split("\n");
  for (const line of lines) assert.match(line, /^(ok {2}|warn|FAIL) {2}\S/, "one line per finding");
  const marked = (mark: string): string[] => lines.filter((line) => line.startsWith(mark)).map((line) => line.slice(6));
  return { ok: marked("ok"), warn: marked("warn"), FAIL: marked("FAIL") };
}

test("check finds everything in order, counts the routes and exits with 0", async () => {
  await using platform = await Platform.start(server);
  await platform.route("a.example.com", { address: "10.0.0.5", port: 8080 });
  await platform.route("b.example.com", { address: "10.0.0.5", port: 8080, region: await platform.addRegion() });
  const run = await command(platform, "check");
  assert.equal(run.exitCode, 0, run.stdout + run.stderr);
  const { ok, warn, FAIL } = findings(run);
  assert.deepEqual([warn, FAIL], [[], []]);
  for (const table of ["regions", "vms", "deployments", "domains"]) {
    assert.ok(ok.some((line) => line.startsWith(`table ${table}:`)), table);
  }
  assert.ok(ok.some((line) => /^database: PostgreSQL \d+/.test(line)), run.stdout);
  assert.ok(ok.includes("routes: 2, of which 1 have a VM in this region"), run.stdout);
});

test("check warns of bad rows and of a region without a row, and still exits with 0", async () => {
  await using platform = await Platform.start(server);
  await platform.route("good.example.com", { address: "10.0.0.5", port: 8080 });
  await platform.route("bad.example.com", { address: null, port: 8080 });
  const stranger = crypto.randomUUID();
  const run = await runEdgeproxy(["check"], {
    env: environment(platform, { EDGEPROXY_REGION_ID: stranger, EDGEPROXY_UPDAET_INTERVAL: "1s" }),
  });
  assert.equal(run.exitCode, 0, run.stdout + run.stderr);
  const { warn } = findings(run);
  assert.ok(warn.some((line) => line.includes(stranger)), run.stdout);
  assert.ok(warn.some((line) => /EDGEPROXY_UPDAET_INTERVAL.*EDGEPROXY_UPDATE_INTERVAL/.test(line)), run.stdout);
  const ours = await command(platform, "check");
  assert.ok(findings(ours).warn.some((line) => line.startsWith("bad row: bad.example.com")), ours.stdout);
});

test("check exits with 1 and names what the database lacks", async () => {
  await using platform = await Platform.start(server);
  await platform.database.sql("alter table vms drop column port; alter table domains rename to names");
  const run = await command(platform, "check");
  assert.equal(run.exitCode, 1);
  const { FAIL } = findings(run);
  assert.ok(FAIL.some((line) => /^table vms: .*\bport\b/.test(line)), run.stdout);
  assert.ok(FAIL.some((line) => /^table domains: does not exist/.test(line)), run.stdout);

  await using bare = await Platform.start(server, {});
  assert.equal(findings(await command(bare, "check")).FAIL.length, 4, "an empty database lacks four tables");
});

test("check exits with 1 when it may not read a table", async () => {
  await using platform = await Platform.start(server);
  await platform.database.sql("create role outsider login password 'outsider'; grant select on regions, vms, domains to outsider");
  const url = new URL(platform.database.url);
  url.username = url.password = "outsider";
  const run = await runEdgeproxy(["check"], { env: environment(platform, { EDGEPROXY_DATABASE_URL: url.href }) });
  await platform.database.sql("drop owned by outsider; drop role outsider");
  assert.equal(run.exitCode, 1);
  assert.deepEqual(findings(run).FAIL.map((line) => line.split(":")[0]), ["table deployments"]);
});

test("check exits with 1 when the database is away, and 2 when the configuration is wrong", async () => {
  await using platform = await Platform.start(server);
  const away = await runEdgeproxy(["check"], {
    env: environment(platform, { EDGEPROXY_DATABASE_URL: `postgres://127.0.0.1:${await freePort()}/none` }),
  });
  assert.equal(away.exitCode, 1);
  assert.match(findings(away).FAIL.join("\n"), /^database: Cannot connect to the database at 127\.0\.0\.1:\d+: .*ECONNREFUSED/);
  const wrong = await runEdgeproxy(["check"], {
    env: environment(platform, { EDGEPROXY_REGION_ID: "eu", EDGEPROXY_WORKERS: "many" }),
  });
  assert.equal(wrong.exitCode, 2);
  assert.deepEqual(findings(wrong).FAIL.map((line) => line.split(": ")[1]).sort(), ["EDGEPROXY_REGION_ID", "EDGEPROXY_WORKERS"]);
});

test("routes prints what the database says, whole, for one host, and as JSON", async () => {
  await using platform = await Platform.start(server);
  const there = await platform.addRegion();
  await platform.route("app.example.com", { address: "10.0.0.5", port: 8080 });
  await platform.route("app.example.com", { address: "10.0.0.6", port: 8080 });
  await platform.route("*.example.com", { address: "10.1.0.5", port: 80, region: there });
  await platform.route("bad.example.com", { address: "10.0.0.7", port: 0 });

  const all = await command(platform, "routes");
  assert.equal(all.exitCode, 0, all.stderr);
  const [heading, ...rows] = all.stdout.trimEnd().split("\n").map((line) => line.split(/ {2,}/));
  assert.deepEqual(heading, ["HOST", "ENDPOINT", "KIND", "REGION"]);
  assert.deepEqual(rows, [
    ["*.example.com", `http://${there.address}:${platform.edgePort}`, "region", there.id],
    ["app.example.com", "http://10.0.0.5:8080", "vm", platform.region.id],
    ["app.example.com", "http://10.0.0.6:8080", "vm", platform.region.id],
  ]);
  assert.match(all.stderr, /1\b/, "bad rows are counted where they do not disturb the table");

  const one = JSON.parse((await command(platform, "routes", "--host", "APP.example.com", "--json")).stdout) as unknown;
  assert.deepEqual(one, [{
    host: "app.example.com",
    endpoints: ["10.0.0.5", "10.0.0.6"].map((address) => {
      return { key: `vm/${address}:8080`, kind: "vm", address, port: 8080, region: platform.region.id };
    }),
  }]);
  assert.match((await command(platform, "routes", "--host", "any.example.com")).stdout, /^\*\.example\.com /m);
  const none = await command(platform, "routes", "--host", "nobody.test");
  assert.equal(none.exitCode, 1);
  assert.match(none.stderr, /nobody\.test/);
});

test("routes exits with 1 when the database is away", async () => {
  await using platform = await Platform.start(server);
  const run = await runEdgeproxy(["routes"], {
    env: environment(platform, { EDGEPROXY_DATABASE_URL: `postgres://127.0.0.1:${await freePort()}/none` }),
  });
  assert.equal(run.exitCode, 1);
  assert.match(run.stderr, /ECONNREFUSED/);
});

/** What `explain` concludes: its last line. */
async function explained(platform: Platform, url: string, ...headers: string[]): Promise<string> {
  const run = await command(platform, "explain", url, ...headers.flatMap((header) => ["-H", header]));
  assert.equal(run.exitCode, 0, run.stdout + run.stderr);
  return run.stdout.trimEnd().split("\n").at(-1) ?? "";
}

/** What a real request gets, in the words of `explain`. */
async function real(edge: Edgeproxy, host: string, ...fields: string[]): Promise<string> {
  const hosts = fields.some((field) => /^host:/i.test(field)) ? "" : `Host: ${host}\r\n`;
  const response = await send(edge, getRequest(host, "/", ...fields).replace(/^Host: .*\r\n/m, hosts));
  const code = fieldValue(response, "x-edgeproxy-error");
  return code === undefined ? `=> ${response.body.toString()}` : `=> ${response.status} ${response.body.toString()} (${code})`;
}

test("explain concludes what a real request then gets", async () => {
  await using platform = await Platform.start(server);
  const there = await platform.addRegion();
  await using far = await startVm({
    host: there.address,
    port: platform.edgePort,
    script: respond(200, `region ${there.id} at http://${there.address}:${platform.edgePort}`),
  });
  for (const domain of ["app.example.com", "*.wild.example.com", "2001:db8::7"]) {
    const vm = await platform.vm(domain);
    vm.script = respond(200, `VM at http://${vm.host}:${vm.port}`);
  }
  await platform.vm("sick.example.com", { healthStatus: 500 });
  await platform.route("far.example.com", { address: "10.99.0.1", port: 80, region: there });
  const preferred = await platform.vm("both.example.com");
  preferred.script = respond(200, `VM at http://${preferred.host}:${preferred.port}`);
  await platform.route("both.example.com", { address: "10.99.0.1", port: 80, region: there });
  await platform.vm("over.example.com", { healthStatus: 500 });
  await platform.route("over.example.com", { address: "10.99.0.1", port: 80, region: there });
  const edge = await platform.edge();

  const own = `Via: 1.1 edgeproxy-${platform.region.id}`;
  const farVia = `Via: 1.1 edgeproxy-${there.id}`;
  const questions: readonly (readonly [kind: string, url: string, host: string, ...headers: string[]])[] = [
    ["VM", "http://app.example.com/x?y", "app.example.com"],
    ["VM", "APP.example.com.:8080/x", "APP.example.com.:8080"],
    ["VM", "http://127.0.0.1/", "127.0.0.1", "Host: app.example.com"],
    ["VM", "http://a.b.wild.example.com", "a.b.wild.example.com"],
    ["VM", "http://[2001:DB8::0:7]/", "[2001:DB8::0:7]"],
    ["VM", "http://both.example.com", "both.example.com"],
    ["region", "http://far.example.com", "far.example.com"],
    ["region", "http://over.example.com", "over.example.com"],
    ["503", "http://sick.example.com", "sick.example.com"],
    ["404", "http://nobody.example.com", "nobody.example.com"],
    ["404", "http://wild.example.com", "wild.example.com"],
    ["508", "http://app.example.com", "app.example.com", own],
    ["508", "http://far.example.com", "far.example.com", farVia],
    ["503", "http://over.example.com", "over.example.com", farVia],
    ["400", "http://app.example.com", "app.example.com", "Host: a b"],
    ["400", "http://app.example.com", "app.example.com", "Host: app.example.com", "Host: app.example.com"],
  ];
  for (const [kind, url, host, ...headers] of questions) {
    const conclusion = await explained(platform, url, ...headers);
    const actual = await real(edge, host, ...headers);
    assert.ok(conclusion.startsWith(actual), `${url} ${headers.join(", ")}\nexplain: ${conclusion}\nreal:    ${actual}`);
    assert.ok(actual.startsWith(`=> ${kind}`), `${url}: ${actual}`);
  }
  assert.equal(far.probes, 0);
});

test("explain shows the steps that led there", async () => {
  await using platform = await Platform.start(server);
  const healthy = await platform.vm("app.example.com");
  const sick = await platform.vm("app.example.com", { healthStatus: 500 });
  const { stdout } = await command(platform, "explain", "http://App.example.com./x");
  assert.match(stdout, /^host app\.example\.com \(from "app\.example\.com\."\)$/m);
  assert.match(stdout, new RegExp(`^probe vm/${healthy.host}:${healthy.port}: healthy, status 200, `, "m"));
  assert.match(stdout, new RegExp(`^probe vm/${sick.host}:${sick.port}: unhealthy, status 500, `, "m"));
  assert.match(stdout, /^route app\.example\.com with 2 endpoint/m);
});

test("explain exits with 1 when the database is away and with 2 on wrong usage", async () => {
  await using platform = await Platform.start(server);
  const away = await runEdgeproxy(["explain", "http://a.example.com"], {
    env: environment(platform, { EDGEPROXY_DATABASE_URL: `postgres://127.0.0.1:${await freePort()}/none` }),
  });
  assert.equal(away.exitCode, 1);
  for (const words of [[], ["a", "b"], ["http://[nonsense"], ["a", "-H"], ["a", "-H", "no colon"], ["a", "--what"]]) {
    const run = await command(platform, "explain", ...words);
    assert.equal(run.exitCode, 2, words.join(" "));
    assert.notEqual(run.stderr, "");
  }
});

test("edgeproxy says its version and its help, also in an environment full of mistakes", async () => {
  const { version } = JSON.parse(await readFile(new URL("../../deno.json", import.meta.url), "utf8")) as { version: string };
  const env = { EDGEPROXY_REGION_ID: "eu", EDGEPROXY_NONSENSE: "1" };
  for (const words of [["version"], ["--version"]]) {
    assert.deepEqual(await runEdgeproxy(words, { env }), { exitCode: 0, stdout: `edgeproxy ${version}\n`, stderr: "" });
  }
  for (const words of [["--help"], ["-h"], ["help"], ["serve", "--help"], ["check", "--help"], ["explain", "-h"]]) {
    const run = await runEdgeproxy(words, { env });
    assert.equal(run.exitCode, 0, words.join(" "));
    assert.match(run.stdout, /Usage: edgeproxy/);
  }
});

test("edgeproxy exits with 2 on wrong usage", async () => {
  await using platform = await Platform.start(server);
  const wrong = [
    ["migrate", "now"],
    ["migrate", "--force"],
    ["sevre"],
    ["--port", "80"],
    ["serve", "now"],
    ["version", "2"],
    ["check", "--fast"],
    ["check", "all"],
    ["routes", "--host"],
    ["routes", "app.example.com"],
    ["routes", "--host", "not a host"],
  ];
  for (const words of wrong) {
    const run = await command(platform, ...words);
    assert.equal(run.exitCode, 2, `${words.join(" ")}: ${run.stdout}${run.stderr}`);
    assert.notEqual(run.stderr, "", words.join(" "));
    assert.equal(run.stdout, "", words.join(" "));
  }
});

test("edgeproxy names every problem of its configuration before it opens any socket", async () => {
  await using database = await startVm({ host: loopbackAddress() });
  const wrong: Readonly<Record<string, string>> = {
    EDGEPROXY_HTTP_ADDR: "8080",
    EDGEPROXY_REGION_ID: "eu",
    EDGEPROXY_UPDATE_INTERVAL: "often",
    EDGEPROXY_LOG_LEVEL: "loud",
    EDGEPROXY_ADMIN_ADDR: "admin",
    EDGEPROXY_HEALTH_PATH: "healthz",
    EDGEPROXY_HEALTH_TIMEOUT: "-1s",
    EDGEPROXY_MAX_HEADER_SIZE: "1GiB",
    EDGEPROXY_TRUSTED_PROXIES: "10.0.0.0/33",
    EDGEPROXY_ACCESS_LOG: "200%",
    EDGEPROXY_HTTPS_ADDR: ":443",
  };
  const env = { ...wrong, EDGEPROXY_DATABASE_URL: `postgres://u:p@${database.host}:${database.port}/platform` };
  for (const words of [["serve"], ["check"], ["routes"], ["explain", "a.example.com"]]) {
    const run = await runEdgeproxy(words, { env });
    assert.equal(run.exitCode, 2, words.join(" "));
    const lines = (run.stdout + run.stderr).split("\n");
    for (const name of Object.keys(wrong)) {
      assert.equal(lines.filter((line) => line.includes(`${name}:`)).length, 1, `${words[0]} names ${name} once`);
    }
  }
  assert.equal(database.accepted, 0);
});

test("--env-file sets what a unit would, and wins over the environment", async () => {
  await using platform = await Platform.start(server);
  await using folder = await temporaryFolder();
  await platform.route("app.example.com", { address: "10.0.0.5", port: 8080 });
  const file = join(folder.path, "edgeproxy.env");
  const settings = Object.entries(environment(platform)).map(([name, value]) => `${name}="${value}"\n`);
  await writeFile(file, `# not for everybody\n${settings.join("")}EDGEPROXY_ERROR_PAGES=/nowhere at all\n`);
  const env = { EDGEPROXY_REGION_ID: crypto.randomUUID(), EDGEPROXY_HEALTH_PATH: "/up" };
  const check = await runEdgeproxy(["check", "--env-file", file], { env });
  assert.equal(check.exitCode, 2, check.stdout + check.stderr);
  assert.match(check.stdout, /^FAIL {2}error pages: .*\/nowhere at all/m, "a value with spaces");
  assert.match(check.stdout, new RegExp(`^ok {4}region: ${platform.region.id} is ours$`, "m"));
  await writeFile(file, settings.join(""));
  assert.equal((await runEdgeproxy(["check", "--env-file", file], { env })).exitCode, 0);
  assert.match((await runEdgeproxy(["routes", "--env-file", file])).stdout, /^app\.example\.com /m);
  assert.equal((await runEdgeproxy(["migrate", `--env-file=${file}`])).exitCode, 0);
  assert.match((await runEdgeproxy(["explain", "app.example.com", "--env-file", file])).stdout, /routes from the database/);
  await writeFile(file, `${settings.join("")}EDGEPROXY_HTTP_ADDR=${platform.region.address}:80000\n`);
  const serve = await runEdgeproxy(["serve", "--env-file", file]);
  assert.deepEqual([serve.exitCode, /80000/.test(serve.stderr)], [2, true], serve.stderr);
});

test("--env-file that cannot be read, or that is none, ends every command with 2", async () => {
  await using folder = await temporaryFolder();
  const file = join(folder.path, "edgeproxy.env");
  await writeFile(file, "EDGEPROXY_REGION_PORT=80\nexport EDGEPROXY_DATABASE_URL=postgres://u:secret@db/x\n");
  for (const words of [["serve"], ["check"], ["routes"], ["migrate"], ["explain", "a.example.com"]]) {
    const bad = await runEdgeproxy([...words, "--env-file", file]);
    assert.deepEqual([bad.exitCode, bad.stdout], [2, ""], words[0]);
    assert.match(bad.stderr, /^edgeproxy: \S+\/edgeproxy\.env:2: "export" is the shell's/, words[0]);
    assert.doesNotMatch(bad.stderr, /secret/);
    const absent = await runEdgeproxy([...words, "--env-file", `${file}.absent`]);
    assert.equal(absent.exitCode, 2, words[0]);
    assert.match(absent.stderr, /^edgeproxy: cannot read --env-file \S+\.absent: there is no such file$/m, words[0]);
  }
});

test("serve exits with 1 and names the address when it is taken", async () => {
  await using platform = await Platform.start(server);
  await using squatter = await startVm({ host: platform.region.address, port: platform.edgePort });
  const edge = await platform.edge({}, { ready: false });
  assert.equal(await edge.exited, 1);
  assert.match(edge.report(), new RegExp(`${squatter.host}:${squatter.port}|EADDRINUSE`));
});

test("routes knows a VM of this region even when the region has no row", async () => {
  await using platform = await Platform.start(server, {});
  // As a platform without foreign keys may have it
  await platform.database.sql(`
    create table regions (id uuid, public_ipv4 text);
    create table vms (id uuid, private_ip text, port int, region_id uuid, status text);
    create table deployments (id uuid, vm_id uuid, status text);
    create table domains (id uuid, name text, deployment_id uuid, verified_at timestamptz)`);
  await insertRoute(platform.database, {
    name: "app.example.com",
    regionId: platform.region.id,
    privateIp: "10.0.0.5",
    port: 8080,
  });
  assert.match((await command(platform, "routes")).stdout, /^app\.example\.com +http:\/\/10\.0\.0\.5:8080 +vm /m);
});

test("a reader that leaves early ends no command with a crash", async () => {
  const child = spawn("sh", ["-c", `"$0" --help | true; "$0" --help 2>&1 | head -1`, BINARY], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  let said = "";
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", (text: string) => said += text);
  await once(child, "close");
  assert.match(said, /^edgeproxy \S+: an edge proxy[^\n]*\n$/);
});
