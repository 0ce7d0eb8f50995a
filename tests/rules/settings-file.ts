/** The file of settings that packages install, made of the table of settings. */
import { type PrintableRow, settingRows } from "../../src/lifecycle/setting-table.ts";

/** What the file sets; the unit of systemd gives the state folder, and all others keep their defaults. */
const SET: Readonly<Record<string, string>> = {
  EDGEPROXY_DATABASE_URL: "postgres://edgeproxy:password@db.internal:5432/platform?sslmode=verify-full",
  EDGEPROXY_REGION_ID: "00000000-0000-0000-0000-000000000000",
  EDGEPROXY_HTTP_ADDR: ":80",
};

export function settingsFile(): string {
  const rows = settingRows();
  const set = rows.filter(({ variable }) => variable in SET);
  return [
    "# Settings of edgeproxy, read by its systemd unit (EnvironmentFile). Owner root, mode 0600: the URL holds a password.",
    "# One VARIABLE=value per line, taken as it is; a line with # is not set. After a change: systemctl restart edgeproxy",
    "",
    "# These three first. The database user needs SELECT on the platform's tables, nothing else.",
    ...set.flatMap((row) => entry(row, SET[row.variable] ?? "")),
    "# The rest, with the defaults.",
    ...rows.filter((row) => !set.includes(row)).flatMap((row) => entry(row, null)),
    "",
  ].join("\n");
}

function entry(row: PrintableRow, value: string | null): string[] {
  const meaning = row.meaning.replaceAll("`", "");
  const standard = row.defaultMeaning === undefined ? row.default ?? "" : "";
  const comment = `# ${meaning[0]?.toUpperCase()}${meaning.slice(1)}${
    row.defaultMeaning === undefined ? "" : ` [${row.defaultMeaning}]`
  }`;
  return value === null ? [comment, `#${row.variable}=${standard}`, ""] : [comment, `${row.variable}=${value}`, ""];
}
