/** The folder of error pages: what is read, and what is refused. */
import assert from "node:assert/strict";
import { mkdir, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { readErrorPages } from "../../src/lifecycle/error-page-folder.ts";
import { temporaryFolder } from "../fixtures/edgeproxy.ts";

async function problemsOf(folder: string): Promise<readonly string[]> {
  const read = await readErrorPages(folder);
  assert.ok("problems" in read, JSON.stringify(read));
  for (const problem of read.problems) assert.match(problem, /^EDGEPROXY_ERROR_PAGES: /);
  return read.problems.map((problem) => problem.slice("EDGEPROXY_ERROR_PAGES: ".length));
}

test("readErrorPages() reads pages, follows links, and leaves other files alone", async () => {
  await using folder = await temporaryFolder();
  await writeFile(join(folder.path, "404.html"), "\ufeffgr\u00fcn {{host}}");
  await writeFile(join(folder.path, "403.html"), "never used");
  await writeFile(join(folder.path, "no_route.html"), "x".repeat(64 * 1024));
  await writeFile(join(folder.path, "logo.png"), Buffer.of(0xff));
  await writeFile(join(folder.path, ".404.html"), "an editor's");
  await symlink(join(folder.path, "404.html"), join(folder.path, "4xx.html"));
  assert.deepEqual(await readErrorPages(folder.path), {
    pages: { 404: "gr\u00fcn {{host}}", "4xx": "gr\u00fcn {{host}}", 403: "never used", no_route: "x".repeat(64 * 1024) },
  });
  assert.deepEqual(await readErrorPages(""), { pages: {} });
});

test("readErrorPages() names every file that is wrong, and what is wrong with it", async () => {
  await using folder = await temporaryFolder();
  await writeFile(join(folder.path, "vm_unhelthy.html"), "");
  await writeFile(join(folder.path, "6xx.html"), "");
  await writeFile(join(folder.path, "404.html"), "{{hostname}} {{hostname}} {{request-id}}");
  await writeFile(join(folder.path, "500.html"), Buffer.of(0x67, 0xfc, 0x6e));
  await writeFile(join(folder.path, "502.html"), "x".repeat(64 * 1024 + 1));
  await mkdir(join(folder.path, "503.html"));
  await symlink("/nowhere", join(folder.path, "504.html"));
  await symlink("/dev/zero", join(folder.path, "508.html"));
  const problems = await problemsOf(folder.path);
  assert.deepEqual(problems.map((problem) => problem.replace(/ENOENT.*/, "ENOENT")), [
    "404.html: unknown placeholder {{hostname}}; did you mean {{host}}?",
    "404.html: unknown placeholder {{request-id}}; did you mean {{request_id}}?",
    "500.html: is not UTF-8",
    "502.html: is larger than 65536 bytes",
    "503.html: is no file",
    "504.html: ENOENT",
    "508.html: is no file",
    "6xx.html: is for no code or status; did you mean 4xx.html?",
    "vm_unhelthy.html: is for no code or status; did you mean vm_unhealthy.html?",
  ]);
});

test("readErrorPages() refuses folders that are none, empty or too large", async () => {
  await using folder = await temporaryFolder();
  assert.match((await problemsOf(join(folder.path, "absent")))[0]!, /^cannot read the folder: ENOENT/);
  assert.match((await problemsOf(folder.path))[0]!, /has no page, such as error\.html$/);
  for (let status = 400; status < 417; status++) await writeFile(join(folder.path, `${status}.html`), "x".repeat(64 * 1024));
  assert.match((await problemsOf(folder.path))[0]!, /has 1114112 bytes of pages, more than 1048576$/);
});
