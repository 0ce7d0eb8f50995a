/** The table of commands, and the texts derived from it and from the table of settings. */
import { nearest } from "../lifecycle/nearest.ts";
import { type SettingRow, settingRows } from "../lifecycle/setting-table.ts";
import { VERSION } from "../runtime/version.ts";
import { alignColumns } from "./output.ts";

interface Command {
  readonly name: string;
  readonly parameters: string;
  readonly meaning: string;
}

export const COMMANDS = [
  { name: "serve", parameters: "", meaning: "runs the proxy; also without a command" },
  { name: "demo", parameters: "[--once]", meaning: "runs the main job on sample data, with a database of its own" },
  { name: "check", parameters: "", meaning: "validates the configuration, the database and its tables; counts the routes" },
  {
    name: "migrate",
    parameters: "[--print] [--remove]",
    meaning: "creates what is missing of the tables, and the change feed; --remove takes the feed out again",
  },
  { name: "routes", parameters: "[--host H] [--json]", meaning: "what the database says now, as a table" },
  { name: "explain", parameters: "URL [-H 'Name: value']...", meaning: "where a request would go, step by step, and why" },
  { name: "version", parameters: "", meaning: "prints the version" },
] as const satisfies readonly Command[];

export type CommandName = (typeof COMMANDS)[number]["name"];

export function findCommand(word: string): CommandName | null {
  return COMMANDS.find((command) => command.name === word)?.name ?? null;
}

/** Why a first argument is no command. */
export function unknownCommand(word: string): string {
  if (word.startsWith("-")) return `Unknown option "${word}"`;
  return `Unknown command "${word}"; did you mean "${nearest(word, COMMANDS.map((command) => command.name))}"?`;
}

export function versionText(): string {
  return `edgeproxy ${VERSION}`;
}

export function helpText(): string {
  const commands = COMMANDS.map((command) => [`  ${command.name} ${command.parameters}`.trimEnd(), command.meaning]);
  const settings = settingRows().map((row) => [`  ${row.variable}`, `${plain(row.meaning)}${remark(row)}`]);
  return [
    `${versionText()}: an edge proxy that routes domains to VMs as PostgreSQL says`,
    "",
    "Usage: edgeproxy [COMMAND]",
    "",
    alignColumns([...commands, ["  --help", "prints this text"]]),
    "",
    "Environment variables (durations: 250ms, 10s, 1m30s; sizes: 512, 32KiB, 10MB; addresses: :8080, [::1]:8080):",
    "",
    alignColumns(settings),
    "",
    "Exit codes: 0 fine, 1 failed at run time, 2 wrong usage or configuration",
  ].join("\n");
}

/** The configuration table of the README, in Markdown. */
export function configurationTable(): string {
  const rows = settingRows().map((row) => {
    const standard = row.defaultMeaning ?? (row.default === undefined || row.default === "" ? "" : `\`${row.default}\``);
    return `| \`${row.variable}\` | ${row.required ? "yes" : "no"} | ${standard} | ${row.meaning} |`;
  });
  return ["| variable | required | default | meaning |", "| --- | --- | --- | --- |", ...rows].join("\n");
}

function remark(row: Omit<SettingRow<unknown>, "kind">): string {
  if (row.required) return " (required)";
  const standard = row.defaultMeaning ?? row.default ?? "";
  return standard === "" ? "" : ` [${standard}]`;
}

function plain(markdown: string): string {
  return markdown.replaceAll("`", "");
}
