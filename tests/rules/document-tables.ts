/*  Tables of the documents that come from tables of the code, and files that are made of them as a whole. `deno task docs` writes
 *  them, tables between their markers; the rules test fails when a document or a file differs.
 *
 *      <!-- table: NAME -->
 *      ...
 *      <!-- end of table -->
 */
import { readFile, writeFile } from "node:fs/promises";
import process from "node:process";
import { COMMANDS, configurationTable, synopsis } from "../../src/cli/usage.ts";
import { type PrintableRow, settingRows } from "../../src/lifecycle/setting-table.ts";
import { ACCESS_FIELDS } from "../../src/observation/access-fields.ts";
import { METRICS } from "../../src/observation/exposition.ts";
import { blameOf, CODES, ERROR_CODES } from "../../src/observation/proxy-error.ts";
import { bashCompletion, fishCompletion, zshCompletion } from "./completions.ts";
import { adminPathTable } from "./admin-paths.ts";
import { conformanceTables } from "./conformance.ts";
import { manualPage } from "./manual-page.ts";
import { routesFileTable, routesSchema } from "./routes-schema.ts";
import { settingsFile } from "./settings-file.ts";

export const DOCUMENTS = [
  "README.md",
  "docs/configuration.md",
  "docs/operations.md",
  "docs/metrics.md",
  "docs/http.md",
  "docs/access-log.md",
  "docs/errors.md",
  "docs/admin-api.md",
  "docs/routes.md",
] as const;

const TABLES: Readonly<Record<string, () => string>> = {
  essentials: () => configurationTable(settingRows().filter(isEssential)),
  settings: allSettingsTable,
  commands: commandTable,
  errors: errorTable,
  metrics: metricsTable,
  accessfields: accessFieldTable,
  conformance: conformanceTables,
  adminpaths: adminPathTable,
  servicekeys: () => routesFileTable("services"),
  routekeys: () => routesFileTable("routes"),
  otherkeys: () => routesFileTable("others"),
};

/** Whole files, by path. */
export const GENERATED: Readonly<Record<string, () => string | Promise<string>>> = {
  "packaging/edgeproxy.1": async () => manualPage(newestRelease(await readDocument("CHANGELOG.md"))),
  "packaging/edgeproxy.env": settingsFile,
  "packaging/routes.schema.json": routesSchema,
  "packaging/completions/edgeproxy.bash": bashCompletion,
  "packaging/completions/_edgeproxy": zshCompletion,
  "packaging/completions/edgeproxy.fish": fishCompletion,
};

/** The text with all its tables made anew. */
export function withTables(text: string): string {
  return text.replaceAll(/<!-- table: (\w+) -->\n[\s\S]*?<!-- end of table -->/g, (_, name: string) => {
    const table = TABLES[name];
    if (table === undefined) throw new Error(`There is no table "${name}"`);
    return `<!-- table: ${name} -->\n\n${table()}\n\n<!-- end of table -->`;
  });
}

export function readDocument(path: string): Promise<string> {
  return readFile(new URL(`../../${path}`, import.meta.url), "utf8");
}

/** What one machine sets that differs from another, or that every one should think of. */
function isEssential({ variable, required }: PrintableRow): boolean {
  return required === true ||
    /_(HTTP_ADDR|ADMIN_ADDR|ADMIN_TOKEN|STATE_DIR|HEALTH_PATH|TRUSTED_PROXIES|ACCESS_LOG)$/.test(variable);
}

function allSettingsTable(): string {
  const rows = settingRows().map((row) => {
    const standard = row.required ? "required" : row.defaultMeaning ?? code(row.default ?? "");
    return `| \`${row.variable}\` | ${standard} | ${row.kind.accepts} | ${code(row.example ?? "")} | ${row.meaning} |`;
  });
  return ["| variable | default | accepts | for example | meaning |", "| --- | --- | --- | --- | --- |", ...rows].join("\n");
}

function commandTable(): string {
  const rows = COMMANDS.map((command) => `| \`edgeproxy ${synopsis(command)}\` | ${command.meaning} |`);
  return ["| command | does |", "| --- | --- |", ...rows].join("\n");
}

function code(text: string): string {
  return text === "" ? "" : `\`${text}\``;
}

function newestRelease(changelog: string): { readonly version: string; readonly date: string } {
  const [, version = "", date = ""] = /^## (\d\S*) \((\d{4}-\d\d-\d\d)\)$/m.exec(changelog) ?? [];
  return { version, date };
}

function accessFieldTable(): string {
  const rows = ACCESS_FIELDS.map(({ name, type, meaning }) => `| \`${name}\` | ${type} | ${meaning} |`);
  return ["| field | type | meaning |", "| --- | --- | --- |", ...rows].join("\n");
}

function errorTable(): string {
  const rows = ERROR_CODES.map((name) => {
    const { status, level, meaning, advice } = CODES[name];
    const blames = [...new Set([blameOf(name, "vm"), blameOf(name, "region")])].map(code).join(" or ");
    return `| ${code(name)} | ${status ?? ""} | ${blames} | ${level} | ${meaning} | ${advice} |`;
  });
  return ["| code | status | blame | log | what happened | what to do |", "| --- | --- | --- | --- | --- | --- |", ...rows].join(
    "\n",
  );
}

function metricsTable(): string {
  const rows = METRICS.map(({ name, type, labels, help }) => {
    return `| \`${name}\` | ${type} | ${labels.map((label) => `\`${label}\``).join(" ")} | ${unitOf(name)} | ${help} |`;
  });
  return ["| metric | type | labels | unit | meaning |", "| --- | --- | --- | --- | --- |", ...rows].join("\n");
}

/** As the name says. */
function unitOf(name: string): string {
  const [, unit = ""] = /_(seconds|bytes)(_total)?$/.exec(name) ?? [];
  return unit;
}

async function write(path: string, text: string, made: string): Promise<void> {
  if (made !== text) await writeFile(new URL(`../../${path}`, import.meta.url), made);
}

if (process.argv.includes("--write")) {
  for (const path of DOCUMENTS) {
    const text = await readDocument(path);
    await write(path, text, withTables(text));
  }
  for (const [path, make] of Object.entries(GENERATED)) await write(path, await readDocument(path).catch(() => ""), await make());
}
