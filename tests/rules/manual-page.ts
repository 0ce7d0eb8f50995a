/** The manual page, made of the tables that `--help` is made of. */
import { COMMANDS, EXIT_CODES, synopsis, usageOf, VALUE_FORMS } from "../../src/cli/usage.ts";
import { type PrintableRow, settingRows } from "../../src/lifecycle/setting-table.ts";

const FILES = [
  [
    "/etc/edgeproxy/edgeproxy.env",
    "the settings that the systemd unit starts the proxy with; not for other users, since it holds a password",
  ],
  ["/var/lib/edgeproxy", "the last good routing table (EDGEPROXY_STATE_DIR in the unit)"],
  [
    "/usr/share/doc/edgeproxy",
    "the documents: how to start, to configure and to operate, what each error code and each metric means",
  ],
] as const;

const SIGNALS = [
  ["SIGTERM, SIGINT", "drains, then ends with 0; a second one ends at once with 1"],
  ["SIGHUP", "reads the database and the error pages now"],
  ["SIGUSR2", "starts the binary at the same path anew and hands over to it, without a lost request"],
] as const;

const EXAMPLES = [
  [
    "Whether the settings, the database and its tables are right:",
    "sudo edgeproxy check --env-file /etc/edgeproxy/edgeproxy.env",
  ],
  [
    "Where a request would go, and why:",
    "sudo edgeproxy explain --env-file /etc/edgeproxy/edgeproxy.env http://app.example.com/",
  ],
  ["A new binary without a lost request:", "systemctl kill -s USR2 --kill-whom=main edgeproxy"],
] as const;

/** `release` is the newest one: its version and its date. */
export function manualPage(release: { readonly version: string; readonly date: string }): string {
  return [
    `.\\" Made by "deno task docs" from the tables of the code.`,
    `.TH EDGEPROXY 1 "${release.date}" "edgeproxy ${release.version}" "User Commands"`,
    ...section("NAME", [`edgeproxy \\- an edge proxy that routes domains to VMs as PostgreSQL says`]),
    ...section("SYNOPSIS", [".B edgeproxy", `.RI [ command ]`]),
    ...section("DESCRIPTION", description()),
    ...section("COMMANDS", COMMANDS.flatMap(commandLines)),
    ...section("ENVIRONMENT", [
      text(`Every setting is an environment variable (${VALUE_FORMS}).`),
      ...settingRows().flatMap(settingLines),
    ]),
    ...section("EXIT STATUS", EXIT_CODES.flatMap((meaning, code) => item(String(code), meaning))),
    ...section("SIGNALS", SIGNALS.flatMap(([name, meaning]) => item(name, meaning))),
    ...section("FILES", FILES.flatMap(([path, meaning]) => item(path, meaning))),
    ...section(
      "EXAMPLES",
      EXAMPLES.flatMap(([aim, line]) => [text(aim), ".PP", ".nf", ".RS 4", text(line), ".RE", ".fi", ".PP"]).slice(0, -1),
    ),
    ...section("SEE ALSO", [".BR systemctl (1),", ".BR psql (1)"]),
    "",
  ].join("\n");
}

function description(): string[] {
  return [
    text(
      "A request comes in; its Host is looked up in a routing table that follows a PostgreSQL database; and it goes to the VM in",
    ),
    text(
      "this region, or to the region where the VM lives, or gets a clear error. A supervisor watches over the database and over",
    ),
    text("one worker process per CPU, which serve. While the database is away, the last good table serves on."),
    ".PP",
    text("Health, metrics, an API and a dashboard are at the admin address (EDGEPROXY_ADMIN_ADDR)."),
  ];
}

function commandLines(command: typeof COMMANDS[number]): string[] {
  const options = "options" in command ? command.options : [];
  return [
    ...item(synopsis(command), command.meaning),
    ...(options.length === 0 ? [] : [".RS", ...options.flatMap((option) => item(usageOf(option), option.meaning)), ".RE"]),
  ];
}

function settingLines(row: PrintableRow): string[] {
  const standard = row.required ? "required" : defaultOf(row);
  return [...item(row.variable, `${row.meaning} (${row.kind.accepts}; ${standard})`)];
}

function defaultOf(row: PrintableRow): string {
  const standard = row.defaultMeaning ?? row.default ?? "";
  return standard === "" ? "default: none" : `default: ${standard}`;
}

function section(name: string, lines: readonly string[]): string[] {
  return [`.SH "${name}"`, ...lines];
}

function item(term: string, meaning: string): string[] {
  return [".TP", `\\fB${text(term)}\\fR`, text(meaning)];
}

/** A line of roff that shows just this; a hyphen that somebody may copy stays a hyphen. */
function text(words: string): string {
  const escaped = words.replaceAll("`", "").replaceAll("\\", "\\e").replaceAll("-", "\\-").replaceAll("'", "\\(aq").replaceAll(
    "…",
    "...",
  );
  return /^[.']/.test(escaped) ? `\\&${escaped}` : escaped;
}
