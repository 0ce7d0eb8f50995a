/** The compiled binary as an operator meets it: nothing of the folder counts, and wrong settings are all named at once. */
import assert from "node:assert/strict";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { runEdgeproxy, temporaryFolder } from "../fixtures/edgeproxy.ts";

const REGION = "6f1b0a52-6a8e-4a0c-9d5c-0d7b1c1f2a3b";

async function version(): Promise<string> {
  const manifest = JSON.parse(await readFile(new URL("../../deno.json", import.meta.url), "utf8")) as { version: string };
  return manifest.version;
}

test("edgeproxy takes no code and no settings from the folder it is started in", async () => {
  await using folder = await temporaryFolder();
  const intruder = `require("node:fs").writeFileSync(${JSON.stringify(join(folder.path, "intruder-was-here"))}, "");`;
  const files = {
    ".env":
      `EDGEPROXY_REGION_ID=${REGION}\nEDGEPROXY_DATABASE_URL=postgres://127.0.0.1:1/none\nBUN_OPTIONS=--preload ./intruder.cjs\n`,
    "bunfig.toml": 'preload = ["./intruder.cjs"]\n[run]\npreload = ["./intruder.cjs"]\n',
    "package.json": '{ "type": "module", "imports": { "#intruder": "./intruder.cjs" } }',
    "tsconfig.json": '{ "compilerOptions": { "paths": { "*": ["./intruder.cjs"] } } }',
    "intruder.cjs": intruder,
  };
  for (const [name, text] of Object.entries(files)) await writeFile(join(folder.path, name), text);

  const versionRun = await runEdgeproxy(["version"], { cwd: folder.path });
  const serveRun = await runEdgeproxy(["serve"], { cwd: folder.path });

  assert.equal(versionRun.exitCode, 0, versionRun.stderr);
  assert.equal(serveRun.exitCode, 2, "the settings of .env must not have been seen");
  assert.match(serveRun.stdout + serveRun.stderr, /EDGEPROXY_REGION_ID/);
  assert.match(serveRun.stdout + serveRun.stderr, /EDGEPROXY_DATABASE_URL/);
  assert.deepEqual((await readdir(folder.path)).sort(), Object.keys(files).sort());
});

test("edgeproxy serve names every problem of its settings, one line each, and exits with 2", async () => {
  const run = await runEdgeproxy(["serve"], {
    env: {
      EDGEPROXY_REGION_ID: "eu",
      EDGEPROXY_UPDATE_INTERVAL: "soon",
      EDGEPROXY_HTTP_ADDR: "8080",
      EDGEPROXY_MAX_HEADER_SIZE: "lots",
    },
  });
  const lines = (run.stdout + run.stderr).split("\n");
  const beginsWith = (name: string): boolean => lines.some((line) => line.trim().startsWith(`${name}:`));
  assert.equal(run.exitCode, 2);
  assert.ok(lines.some((line) => line.includes('EDGEPROXY_REGION_ID: must be a UUID, got "eu"')), run.stdout + run.stderr);
  for (const name of ["UPDATE_INTERVAL", "HTTP_ADDR", "MAX_HEADER_SIZE", "DATABASE_URL"]) {
    assert.ok(beginsWith(`EDGEPROXY_${name}`), `${name} is named in\n${run.stdout}${run.stderr}`);
  }
});

test("edgeproxy gives the nearest known name when a variable is unknown", async () => {
  const run = await runEdgeproxy(["serve"], { env: { EDGEPROXY_REGION_ID: "eu", EDGEPROXY_UPDATE_INTERVALL: "5s" } });
  assert.match(run.stdout + run.stderr, /EDGEPROXY_UPDATE_INTERVALL.*EDGEPROXY_UPDATE_INTERVAL\b/);
});

test("edgeproxy --help names every command and every setting", async () => {
  const run = await runEdgeproxy(["--help"]);
  assert.equal(run.exitCode, 0);
  for (const word of ["serve", "demo", "check", "routes", "explain", "version", "EDGEPROXY_HTTP_ADDR", "EDGEPROXY_REGION_ID"]) {
    assert.ok(run.stdout.includes(word), `${word} is named in\n${run.stdout}`);
  }
});

test("edgeproxy version prints the version of the manifest", async () => {
  const run = await runEdgeproxy(["version"]);
  assert.equal(run.exitCode, 0);
  assert.ok(run.stdout.includes(await version()), run.stdout);
});

test("edgeproxy exits with 2 when the command is unknown", async () => {
  const run = await runEdgeproxy(["sevre"]);
  assert.equal(run.exitCode, 2);
  assert.match(run.stderr, /sevre/);
});

test("edgeproxy never prints the password of the database", async () => {
  const run = await runEdgeproxy(["serve"], {
    env: { EDGEPROXY_DATABASE_URL: "postgres://edge:hunter2secret@127.0.0.1:1/platform", EDGEPROXY_REGION_ID: "eu" },
  });
  assert.equal(run.exitCode, 2);
  assert.doesNotMatch(run.stdout + run.stderr, /hunter2secret/);
});
