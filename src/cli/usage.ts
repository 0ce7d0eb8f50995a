/** The table of commands, and the texts derived from it and from the table of settings. */
import { nearest } from "../sources/nearest-name.ts";
import { type PrintableRow, settingRows } from "../lifecycle/setting-table.ts";
import { VERSION } from "../runtime/version.ts";
import { alignColumns } from "./output.ts";

/** `value` names what follows the flag, as the help shows it. */
export interface CommandOption {
  readonly flag: string;
  readonly value?: string;
  readonly repeats?: true;
  readonly meaning: string;
}

export interface Command {
  readonly name: string;
  /** What must stand behind the name. */
  readonly operand?: string;
  readonly options?: readonly CommandOption[];
  readonly meaning: string;
}

const ENV_FILE_OPTION = {
  flag: "--env-file",
  value: "FILE",
  meaning: "a file with settings as systemd reads it (EnvironmentFile); it wins over the environment",
} as const satisfies CommandOption;

export const COMMANDS = [
  { name: "serve", options: [ENV_FILE_OPTION], meaning: "runs the proxy; also without a command" },
  {
    name: "demo",
    options: [{ flag: "--once", meaning: "ends after the first round of requests, with 0 if each had its expected outcome" }],
    meaning: "runs the main job on sample data, with a database of its own",
  },
  {
    name: "check",
    options: [{ flag: "--config", value: "FILE", meaning: "looks at this routes file only" }, ENV_FILE_OPTION],
    meaning: "validates the configuration, the routes file, the database and its tables; counts the routes",
  },
  {
    name: "migrate",
    options: [
      { flag: "--print", meaning: "shows the SQL instead of running it" },
      { flag: "--remove", meaning: "takes the change feed out again" },
      ENV_FILE_OPTION,
    ],
    meaning: "creates what is missing of the tables, and the change feed; --remove takes the feed out again",
  },
  {
    name: "routes",
    options: [
      { flag: "--host", value: "H", meaning: "only the route that a request for this host gets" },
      { flag: "--json", meaning: "as JSON" },
      ENV_FILE_OPTION,
    ],
    meaning: "what the database says now, as a table",
  },
  {
    name: "explain",
    operand: "URL",
    options: [
      { flag: "-H", value: "'Name: value'", repeats: true, meaning: "a field of the request" },
      { flag: "-X", value: "METHOD", meaning: "another method than GET" },
      { flag: "--client", value: "ADDRESS", meaning: "who sends it; 127.0.0.1 without" },
      { flag: "--json", meaning: "as JSON" },
      ENV_FILE_OPTION,
    ],
    meaning: "where a request would go, step by step, and why",
  },
  {
    name: "sign-route-key",
    operand: "KEY",
    options: [
      { flag: "--host", value: "HOST", meaning: "as a preview host of this one instead" },
      ENV_FILE_OPTION,
    ],
    meaning: "a route key that edges with the same EDGEPROXY_SECRET believe from anyone; with --host, its preview host",
  },
  { name: "version", meaning: "prints the version" },
] as const satisfies readonly Command[];

/** By number. */
export const EXIT_CODES = ["fine", "failed at run time", "wrong usage or configuration"] as const;

export const VALUE_FORMS = "durations: 250ms, 10s, 1m30s; sizes: 512, 32KiB, 10MB; addresses: :8080, [::1]:8080";

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
  const commands = COMMANDS.map((command) => [`  ${synopsis(command)}`, command.meaning]);
  const settings = settingRows().map((row) => [`  ${row.variable}`, `${plain(row.meaning)}${remark(row)}`]);
  return [
    `${versionText()}: an edge proxy that routes domains to VMs as PostgreSQL says`,
    "",
    "Usage: edgeproxy [COMMAND]",
    "",
    alignColumns([...commands, ["  --help", "prints this text"]]),
    "",
    `Environment variables (${VALUE_FORMS}):`,
    "",
    alignColumns(settings),
    "",
    `Exit codes: ${EXIT_CODES.map((meaning, code) => `${code} ${meaning}`).join(", ")}`,
  ].join("\n");
}

/** The command with what may follow it. */
export function synopsis({ name, operand, options = [] }: Command): string {
  const optional = options.map((option) => `[${usageOf(option)}]${option.repeats ? "..." : ""}`);
  return [name, ...(operand === undefined ? [] : [operand]), ...optional].join(" ");
}

export function usageOf({ flag, value }: CommandOption): string {
  return value === undefined ? flag : `${flag} ${value}`;
}

/** The configuration table of the README, in Markdown. */
export function configurationTable(settings: readonly PrintableRow[] = settingRows()): string {
  const rows = settings.map((row) => {
    const standard = row.defaultMeaning ?? (row.default === undefined || row.default === "" ? "" : `\`${row.default}\``);
    return `| \`${row.variable}\` | ${row.required ? "yes" : "no"} | ${standard} | ${row.meaning} |`;
  });
  return ["| variable | required | default | meaning |", "| --- | --- | --- | --- |", ...rows].join("\n");
}

function remark(row: PrintableRow): string {
  if (row.required) return " (required)";
  const standard = row.defaultMeaning ?? row.default ?? "";
  return standard === "" ? "" : ` [${standard}]`;
}

function plain(markdown: string): string {
  return markdown.replaceAll("`", "");
}
