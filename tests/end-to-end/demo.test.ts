/** `edgeproxy demo` from the compiled binary: every outcome is real, and nothing is left behind. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, readdir } from "node:fs/promises";
import { connect } from "node:net";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { BINARY, runEdgeproxy, temporaryFolder } from "../fixtures/edgeproxy.ts";
import { startPostgres } from "../fixtures/postgres.ts";
import { getRequest, rawRequest } from "../fixtures/raw-client.ts";

/** Here the packages are installed, PostgreSQL among them. */
const PROJECT = fileURLToPath(new URL("../..", import.meta.url));
const EXPECTED = [200, 200, 200, 200, 200, 308, 404, 503, 502];
const PATIENCE_MS = 60_000;

function statusesOf(output: string): number[] {
  return [...output.matchAll(/^ {2}(\d{3})\s.*\bcurl /gm)].map((match) => Number(match[1]));
}

test("demo --once shows each outcome on a database of its own and removes everything", async () => {
  await using folder = await temporaryFolder();
  await chmod(folder.path, 0o755);
  const run = await runEdgeproxy(["demo", "--once"], { cwd: PROJECT, env: { TMPDIR: folder.path } });
  assert.equal(run.exitCode, 0, run.stdout + run.stderr);
  assert.deepEqual(statusesOf(run.stdout), EXPECTED, run.stdout);
  assert.deepEqual(await readdir(folder.path), []);
});

test("demo --once works in a scratch schema of the given database and removes it", async () => {
  await using database = await startPostgres();
  const schemas = async (): Promise<unknown[]> =>
    (await database.sql("select nspname from pg_namespace order by 1")).map((row) => row["nspname"]);
  const before = await schemas();
  const run = await runEdgeproxy(["demo", "--once"], { env: { EDGEPROXY_DATABASE_URL: database.url } });
  assert.equal(run.exitCode, 0, run.stdout + run.stderr);
  assert.deepEqual(statusesOf(run.stdout), EXPECTED, run.stdout);
  assert.deepEqual(await schemas(), before);
});

test("demo shows requests live and ends in order on SIGINT", async () => {
  const child = spawn(BINARY, ["demo"], {
    cwd: PROJECT,
    env: { PATH: process.env["PATH"] ?? "/usr/bin:/bin" },
    stdio: ["ignore", "pipe", "pipe"],
    timeout: PATIENCE_MS,
  });
  const exited = once(child, "exit");
  let output = "";
  const heard = async (pattern: RegExp): Promise<RegExpMatchArray> => {
    for (;;) {
      const match = output.match(pattern);
      if (match !== null) return match;
      assert.equal(child.exitCode, null, output);
      await Promise.race([once(child.stdout, "data"), exited]);
    }
  };
  child.stdout.setEncoding("utf8").on("data", (text: string) => output += text);
  child.stderr.setEncoding("utf8").on("data", (text: string) => output += text);

  await heard(/request log of both edges/);
  const [, host = "", port = "80"] = await heard(/this region +http:\/\/([\d.]+)(?::(\d+))?/);
  const response = await rawRequest(Number(port), getRequest("shop.example.com", "/seen-by-the-test"), host);
  await heard(/200 +GET shop\.example\.com\/seen-by-the-test/);
  child.kill("SIGINT");

  assert.deepEqual(await exited, [0, null], output);
  assert.equal(response.status, 200);
  const socket = connect(Number(port), host);
  const [error] = await once(socket, "error") as [NodeJS.ErrnoException];
  assert.equal(error.code, "ECONNREFUSED");
});

test("demo exits with 1 and names the database when it cannot be reached", async () => {
  const run = await runEdgeproxy(["demo", "--once"], { env: { EDGEPROXY_DATABASE_URL: "postgres://127.0.0.1:1/none" } });
  assert.equal(run.exitCode, 1);
  assert.match(run.stderr, /127\.0\.0\.1:1/);
});
