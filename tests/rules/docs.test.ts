/** What documents say and what the code does are the same. */
import assert from "node:assert/strict";
import { readdir, readFile, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { SETTINGS } from "../../src/lifecycle/setting-table.ts";
import { DOCUMENTS, GENERATED, readDocument, withTables } from "./document-tables.ts";

interface Manifest {
  readonly version: string;
  readonly tasks: Readonly<Record<string, unknown>>;
}

const text = async (path: string): Promise<string> => await readFile(new URL(`../../${path}`, import.meta.url), "utf8");
const manifest = async (): Promise<Manifest> => JSON.parse(await text("deno.json")) as Manifest;

test("CHANGELOG.md has Unreleased on top and the version of deno.json below", async () => {
  const headings = [...(await text("CHANGELOG.md")).matchAll(/^## (\S+)/gm)].map((match) => match[1]);
  assert.deepEqual(headings.slice(0, 2), ["Unreleased", (await manifest()).version]);
});

test("documents hold the tables that the code has", async () => {
  for (const path of DOCUMENTS) {
    const document = await readDocument(path);
    const lines = document.split("\n"), made = withTables(document).split("\n");
    const differs = made.findIndex((line, index) => line !== lines[index]);
    assert.equal(lines[differs], made[differs], `${path}:${differs + 1} differs: deno task docs`);
    assert.equal(lines.length, made.length, `${path}: deno task docs`);
  }
  const readme = await text("README.md");
  for (const name of ["essentials", "commands"]) assert.ok(readme.includes(`<!-- table: ${name} -->`), name);
});

test("files that are made of the code's tables are as these are", async () => {
  for (const [path, make] of Object.entries(GENERATED)) {
    const [present, made] = [await text(path), await make()].map((content) => content.split("\n"));
    const differs = made!.findIndex((line, index) => line !== present![index]);
    assert.equal(present![differs], made![differs], `${path}:${differs + 1} differs: deno task docs`);
    assert.equal(present!.length, made!.length, `${path}: deno task docs`);
  }
});

test("docs/architecture.md names files and folders that exist", async () => {
  const document = await text("docs/architecture.md");
  const named = [...document.matchAll(/`([a-z0-9-]+(?:\/[a-z0-9-]+)*\/(?:[a-z0-9-]+\.ts)?)`/g)].map(([, path = ""]) => path);
  assert.ok(named.length > 40);
  for (const path of new Set(named)) {
    const place = /^(src|tests)\//.test(path) ? path : `src/${path}`;
    await assert.doesNotReject(stat(new URL(`../../${place}`, import.meta.url)), path);
  }
});

test("README.md and .ci/run call tasks that exist, with the Deno that compile.sh pins", async () => {
  const pinned = /npx -y deno@(\S+)/.exec(await text("compile.sh"))?.[1];
  const tasks = Object.keys((await manifest()).tasks);
  for (const path of ["README.md", ".ci/run"]) {
    const calls = [...(await text(path)).matchAll(/npx -y deno@(\S+) task (\w+)/g)];
    assert.ok(calls.some((call) => call[2] === "test"), `${path} names the test command`);
    for (const [, version, task = ""] of calls) {
      assert.equal(version, pinned, path);
      assert.ok(tasks.includes(task), `${path}: there is no task ${task}`);
    }
  }
});

test("deno.lock names packages only by name, version and digest", async () => {
  assert.doesNotMatch(await text("deno.lock"), /:\/\//);
});

test("packaging/ names only settings that exist", async () => {
  const known = Object.values(SETTINGS).map((row) => row.variable);
  for (const path of ["edgeproxy.env", "edgeproxy.service", "edgeproxy.socket", "Dockerfile"].map((name) => `packaging/${name}`)) {
    const named = [...(await text(path)).matchAll(/EDGEPROXY_[A-Z_]+/g)].map((match) => match[0]);
    assert.deepEqual(named.filter((name) => !known.includes(name)), [], path);
  }
});

test("links between documents lead to files and headings that exist", async () => {
  const folder = await readdir(new URL("../../docs/", import.meta.url));
  const documents = ["README.md", ...folder.filter((name) => name.endsWith(".md")).map((name) => `docs/${name}`)];
  const broken: string[] = [];
  for (const path of documents) {
    for (const [, target = ""] of (await text(path)).matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^[a-z]+:/.test(target)) continue;
      const [file = "", heading] = target.split("#");
      const goal = file === "" ? path : join(dirname(path), file);
      const there = await stat(new URL(`../../${goal}`, import.meta.url)).then(() => true, () => false);
      const leads = there && (heading === undefined || anchorsOf(await text(goal)).includes(heading));
      if (!leads) broken.push(`${path}: ${target}`);
    }
  }
  assert.deepEqual(broken, []);
});

test("no documented command has the shell read the file of settings, which is root's", async () => {
  const folder = await readdir(new URL("../../docs/", import.meta.url));
  const paths = [
    "README.md",
    "packaging/edgeproxy.1",
    ...folder.filter((name) => name.endsWith(".md")).map((name) => `docs/${name}`),
  ];
  const expanded = await Promise.all(paths.map(async (path) => (await text(path)).match(/.*[$<]\([^)]*edgeproxy\.env.*/g) ?? []));
  assert.deepEqual(expanded.flat(), []);
});

/** As the usual renderers make them of headings. */
function anchorsOf(document: string): string[] {
  return [...document.matchAll(/^#+ (.+)$/gm)].map(([, heading = ""]) =>
    heading.replaceAll(/[`*]/g, "").toLowerCase().replaceAll(/[^\p{L}\p{N} _-]/gu, "").replaceAll(" ", "-")
  );
}

test("every alert has a section of the runbook that says how bad it is", async () => {
  const rules = await text("packaging/prometheus/edgeproxy.rules.yaml");
  const runbook = await text("docs/operations.md");
  const alerts = [...rules.matchAll(/- alert: (\w+)[\s\S]*?severity: (\w+)[\s\S]*?runbook_url: (\S+)/g)];
  assert.ok(alerts.length > 10, "rules are found");
  for (const [, name = "", severity = "", link] of alerts) {
    assert.equal(link, `docs/operations.md#${name.toLowerCase()}`);
    assert.match(runbook, new RegExp(`^### ${name}\n\n${severity}\\. `, "mi"), name);
  }
  const sections = [...runbook.matchAll(/^### (Edgeproxy\w+)$/gm)].map(([, name]) => name);
  assert.deepEqual(sections, alerts.map(([, name]) => name), "in the order of the rules, and no others");
  const overview = [...(await text("src/admin/alerts.ts")).matchAll(/name: "(\w+)"/g)].map(([, name]) => name);
  assert.deepEqual(overview.filter((name) => !sections.includes(name)), [], "the overview calls them the same");
});
