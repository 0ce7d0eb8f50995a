/*  Tables of the documents that come from tables of the code. `deno task docs` writes them between their markers; the rules test
 *  fails when a document differs.
 *
 *      <!-- table: NAME -->
 *      ...
 *      <!-- end of table -->
 */
import { readFile, writeFile } from "node:fs/promises";
import process from "node:process";
import { configurationTable } from "../../src/cli/usage.ts";
import { METRICS } from "../../src/observation/exposition.ts";
import { CODES } from "../../src/observation/proxy-error.ts";
import { conformanceTables } from "./conformance.ts";

export const DOCUMENTS = ["README.md", "docs/operations.md", "docs/http.md"] as const;

const TABLES: Readonly<Record<string, () => string>> = {
  settings: configurationTable,
  failures: failureTable,
  metrics: metricsTable,
  conformance: conformanceTables,
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

function failureTable(): string {
  const rows = Object.entries(CODES).map(([code, { status, text, meaning }]) =>
    `| \`${code}\` | ${status} | ${text} | ${meaning} |`
  );
  return ["| code | status | text | what happened |", "| --- | --- | --- | --- |", ...rows].join("\n");
}

function metricsTable(): string {
  const rows = METRICS.map(({ name, type, labels, help }) => {
    return `| \`${name}\` | ${type} | ${labels.map((label) => `\`${label}\``).join(" ")} | ${help} |`;
  });
  return ["| metric | type | labels | meaning |", "| --- | --- | --- | --- |", ...rows].join("\n");
}

if (process.argv.includes("--write")) {
  for (const path of DOCUMENTS) {
    const text = await readDocument(path);
    const made = withTables(text);
    if (made !== text) await writeFile(new URL(`../../${path}`, import.meta.url), made);
  }
}
