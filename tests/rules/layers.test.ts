/** The layering of the source folders: who may import whom, and which packages belong where. */
import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { dirname, join, normalize } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));

/** Each row may import itself and what it names; `edge.ts` is a row of one file. */
const LAYERS: Readonly<Record<string, readonly string[]>> = {
  "runtime": [],
  "wire": [],
  "observation": ["runtime"],
  "table": ["wire"],
  "sources": ["runtime", "observation", "table"],
  "upstream": ["runtime", "wire", "observation", "table"],
  "downstream": ["runtime", "wire", "observation"],
  "decision": ["wire", "table", "upstream"],
  "forwarding": ["runtime", "wire", "observation", "table", "upstream", "downstream", "decision"],
  "edge.ts": ["observation", "table", "upstream", "downstream", "decision", "forwarding"],
  "registry": ["runtime", "wire", "observation", "table", "sources", "upstream"],
  "admin": ["observation", "table", "sources", "upstream"],
  // Runs in a browser: nothing of the proxy goes there, and it knows the admin API as anybody does.
  "dashboard": [],
  "lifecycle": "runtime wire observation table sources upstream downstream decision forwarding edge.ts registry admin".split(" "),
  "cli": "runtime wire observation table sources upstream downstream decision forwarding edge.ts registry admin lifecycle".split(
    " ",
  ),
};

/** Where a package may be imported: a folder, or one file. */
const PACKAGES: Readonly<Record<string, readonly string[]>> = {
  "postgres": ["sources/"],
  "hono": ["edge.ts", "downstream/hono-request.ts", "admin/", "dashboard/"],
  "uplot": ["dashboard/"],
  "zod": ["table/", "sources/", "registry/", "admin/", "lifecycle/"],
  "@logtape/logtape": ["observation/"],
  "@opentelemetry": ["lifecycle/otlp-"],
  "prom-client": ["observation/"],
  "re2js": ["wire/", "table/", "sources/"],
  "yaml": ["sources/"],
};

const NAMES_THAT_SAY_NOTHING = new Set(
  "util utils helper helpers common misc shared base core manager handler service wrapper data info impl new old v2".split(" "),
);

interface SourceFile {
  /** Below src/, with forward slashes. */
  readonly path: string;
  readonly text: string;
  readonly imports: readonly string[];
}

test("src/ imports only what the layers allow", async () => {
  const offences: string[] = [];
  for (const file of await sources()) {
    const row = rowOf(file.path);
    const allowed = LAYERS[row];
    if (allowed === undefined) offences.push(`${file.path}: no layer is named ${row}`);
    for (const name of file.imports.filter((each) => each.startsWith("."))) {
      const target = normalize(join(dirname(file.path), name));
      const targetRow = rowOf(target);
      if (!/\.(tsx?|json)$/.test(name)) offences.push(`${file.path}: ${name} lacks its extension`);
      if (target.startsWith("..") || targetRow === row || allowed?.includes(targetRow)) continue;
      offences.push(`${file.path} (${row}) may not import ${target} (${targetRow})`);
    }
  }
  assert.deepEqual(offences, []);
});

test("src/ imports packages only where they belong", async () => {
  const offences: string[] = [];
  for (const file of await sources()) {
    for (const name of file.imports.filter((each) => !each.startsWith(".") && !each.startsWith("node:"))) {
      const owner = Object.keys(PACKAGES).find((each) => name === each || name.startsWith(`${each}/`));
      const places = owner === undefined ? [] : PACKAGES[owner] ?? [];
      if (!places.some((place) => file.path.startsWith(place))) offences.push(`${file.path} may not import ${name}`);
    }
  }
  assert.deepEqual(offences, []);
});

test("main.ts imports only cli/", async () => {
  const imports = importsOf(await readFile(join(ROOT, "main.ts"), "utf8"));
  assert.deepEqual(imports.filter((name) => !name.startsWith("./src/cli/") && !name.startsWith("node:")), []);
});

test("src/ asks which runtime it runs on only in runtime/", async () => {
  const asking = (await sources()).filter((file) =>
    /\b(Bun|Deno)\s*\.\s*\w|globalThis.*\b(Bun|Deno)\b/.test(withoutComments(file.text))
  );
  assert.deepEqual(asking.map((file) => file.path).filter((path) => !path.startsWith("runtime/")), []);
});

test("src/ has no cycle between files", async () => {
  const files = new Map((await sources()).map((file) => [file.path, file]));
  const finished = new Set<string>();
  const cycles: string[] = [];
  const visit = (path: string, trail: readonly string[]): void => {
    if (trail.includes(path)) cycles.push([...trail.slice(trail.indexOf(path)), path].join(" -> "));
    if (finished.has(path) || trail.includes(path)) return;
    for (const name of files.get(path)?.valueImports ?? []) visit(normalize(join(dirname(path), name)), [...trail, path]);
    finished.add(path);
  };
  for (const path of files.keys()) visit(path, []);
  assert.deepEqual(cycles, []);
});

test("src/ loads OpenTelemetry only when somebody asks for it", async () => {
  const files = new Map((await sources()).map((file) => [file.path, file]));
  const reached = (links: RegExp): Set<string> => {
    const found = new Set(["cli/command-line.ts"]);
    for (const path of found) {
      const text = files.get(path)?.text;
      if (text === undefined) continue;
      const types = new Set(importsOf(text, /^import type\b[^;]*?\bfrom\s*"([^"]+)"/gm));
      for (const name of importsOf(text, links)) {
        if (!types.has(name)) found.add(name.startsWith(".") ? normalize(join(dirname(path), name)) : name);
      }
    }
    return new Set([...found].filter((name) => name.startsWith("@opentelemetry/") || name.startsWith("lifecycle/otlp-")));
  };
  assert.deepEqual([...reached(/^(?:import|export)\b[^;]*?\bfrom\s*"([^"]+)"|^import\s*"([^"]+)"/gm)], []);
  const asked = reached(/^(?:import|export)\b[^;]*?\bfrom\s*"([^"]+)"|\bimport\("([^"]+)"\)/gm);
  assert.ok(asked.has("lifecycle/otlp-sink.ts") && asked.has("@opentelemetry/exporter-trace-otlp-proto"), [...asked].join(" "));
});

test("src/ and tests/ have no file whose name says nothing", async () => {
  const paths = [...await typescriptFiles("src"), ...await typescriptFiles("tests")];
  const empty = paths.filter((path) => path.split(/[/.-]/).some((word) => NAMES_THAT_SAY_NOTHING.has(word)));
  assert.deepEqual(empty, []);
});

async function sources(): Promise<(SourceFile & { readonly valueImports: readonly string[] })[]> {
  const paths = await typescriptFiles("src");
  return await Promise.all(paths.map(async (path) => {
    const text = await readFile(join(ROOT, "src", path), "utf8");
    const imports = importsOf(text);
    const types = new Set(importsOf(text, /^import type\b[^;]*?\bfrom\s*"([^"]+)"/gm));
    const valueImports = imports.filter((name) => name.startsWith(".") && !types.has(name));
    return { path, text, imports, valueImports };
  }));
}

async function typescriptFiles(folder: string): Promise<string[]> {
  const entries = await readdir(join(ROOT, folder), { recursive: true });
  return entries.filter((entry) => /\.tsx?$/.test(entry)).map((entry) => entry.replaceAll("\\", "/")).sort();
}

function importsOf(
  text: string,
  pattern = /^(?:import|export)\b[^;]*?\bfrom\s*"([^"]+)"|^import\s*"([^"]+)"|\bimport\("([^"]+)"\)/gm,
): string[] {
  return [...withoutComments(text).matchAll(pattern)].map((match) => match[1] ?? match[2] ?? match[3] ?? "");
}

function withoutComments(text: string): string {
  return text.replaceAll(/\/\*[\s\S]*?\*\//g, "").replaceAll(/(^|\s)\/\/.*$/gm, "$1");
}

/** `table/record.ts` is of the row `table`, `edge.ts` of its own. */
function rowOf(path: string): string {
  return path.split("/")[0] ?? "";
}
