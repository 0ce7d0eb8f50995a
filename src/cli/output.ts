/** What a command says: results on standard output, complaints on standard error. */
import process from "node:process";

export function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

/** A reader that leaves early (`edgeproxy check | head -1`) ends no command: what it does not want to read is dropped. */
export function toleratePipes(): void {
  for (const stream of [process.stdout, process.stderr]) stream.on("error", () => {});
}

/** Answers the exit code, so that a command can end with it. */
export function printError(text: string, exitCode: number): number {
  process.stderr.write(`${text}\n`);
  return exitCode;
}

/** Columns as wide as their widest cell, two spaces between them, none at the end of a line. */
export function alignColumns(rows: readonly (readonly string[])[]): string {
  const widths: number[] = [];
  for (const row of rows) row.forEach((cell, column) => widths[column] = Math.max(widths[column] ?? 0, cell.length));
  return rows.map((row) => row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join("  ").trimEnd()).join("\n");
}
