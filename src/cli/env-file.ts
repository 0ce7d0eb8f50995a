/*  `--env-file FILE`: the settings that systemd starts the service with, read from the file that its unit names (EnvironmentFile).
 *
 *  The syntax is systemd's (systemd.exec(5)), not that of other .env files: there `#` in a value begins a comment, which would cut a
 *  password in two.
 *
 *      # or ; begins a line that is none
 *      NAME=as it is, white space at both ends left out; \ before a character: that one, before the end of a line: it goes on
 *      NAME="..."   \ before " \ ` $ : that one; before the end of a line: it goes on
 *      NAME='...'   everything as it is, also ends of lines; after a closing quote the value goes on
 *
 *  What systemd passes over with a warning at the most is a problem here: a line without `=`, a name that is none, an open quote; and a
 *  comment with \ at its end, which its versions read differently.
 */
import { readFile } from "node:fs/promises";
import type { Environment } from "../lifecycle/settings.ts";
import { printError } from "./output.ts";

/** For the flags of a command. */
export const ENV_FILE = { "env-file": { type: "string" } } as const;

/** No value is ever in `problem`: it may be a password. */
export type EnvFile =
  | { readonly variables: Readonly<Record<string, string>> }
  | { readonly problem: string; readonly line: number };

/** The environment with what the file sets, which wins, as in a unit; null after the problem has been said: exit with 2. */
export async function environmentWith(path: string | undefined, env: Environment): Promise<Environment | null> {
  if (path === undefined) return env;
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(await readFile(path));
  } catch (error) {
    printError(`edgeproxy: cannot read --env-file ${path}: ${reasonOf(error)}`, 2);
    return null;
  }
  const file = parseEnvFile(text);
  if ("variables" in file) return { ...env, ...file.variables };
  printError(`edgeproxy: ${path}:${file.line}: ${file.problem}`, 2);
  return null;
}

function reasonOf(error: unknown): string {
  const { code } = error as { code?: unknown };
  if (code === "EACCES" || code === "EPERM") return "permission denied; it may be root's alone: sudo edgeproxy ...";
  if (code === "ENOENT") return "there is no such file";
  return error instanceof TypeError ? "it is not UTF-8" : (error as Error).message;
}

export function parseEnvFile(text: string): EnvFile {
  const variables: Record<string, string> = {};
  const cursor = new Cursor(text.replaceAll(/\r\n?/g, "\n"));
  for (;;) {
    cursor.skip(/\s/);
    if (cursor.next === "") return { variables };
    const { line } = cursor;
    if (/[#;]/.test(cursor.next)) {
      if (cursor.takeUntil("\n").endsWith("\\")) {
        return { problem: "is a comment that goes on in the next line before systemd 254", line };
      }
      continue;
    }
    const name = cursor.takeUntil("=\n").trimEnd();
    if (cursor.next !== "=") return { problem: "is no NAME=value, no comment and no empty line", line };
    if (!/^[A-Za-z_]\w*$/.test(name)) return { problem: nameProblem(name), line };
    cursor.take();
    const value = readValue(cursor);
    if (value === null) return { problem: `the value of ${name} has a quote that is never closed`, line };
    if (value.includes("\0")) return { problem: `the value of ${name} has a NUL`, line };
    variables[name] = value;
  }
}

function nameProblem(name: string): string {
  return name.startsWith("export ")
    ? `"export" is the shell's: NAME=value without it`
    : "what stands before = is not the name of a variable (letters, digits, _)";
}

/** null: a quote is open at the end. */
function readValue(cursor: Cursor): string | null {
  let value = "";
  for (;;) {
    cursor.skip(/[ \t]/);
    const quote = cursor.next;
    if (quote !== '"' && quote !== "'") return value + readPlain(cursor);
    cursor.take();
    const quoted = quote === "'" ? cursor.takeUntil("'") : readDoubleQuoted(cursor);
    if (cursor.take() === "") return null;
    value += quoted;
  }
}

/** To the end of the line. White space before it is left out, but not what is escaped, nor what stands before an escape. */
function readPlain(cursor: Cursor): string {
  let value = "";
  let ends = 0;
  while (cursor.next !== "" && cursor.next !== "\n") {
    const first = cursor.take();
    const escaped = first === "\\";
    const char = escaped ? cursor.take() : first;
    if (!escaped || char !== "\n") value += char;
    if (escaped || !/\s/.test(char)) ends = value.length;
  }
  return value.slice(0, ends);
}

function readDoubleQuoted(cursor: Cursor): string {
  let value = "";
  while (cursor.next !== "" && cursor.next !== '"') {
    const char = cursor.take();
    if (char !== "\\") value += char;
    else {
      const escaped = cursor.take();
      value += escaped === "\n" ? "" : /["\\`$]/.test(escaped) ? escaped : `\\${escaped}`;
    }
  }
  return value;
}

/** A place in a text. */
class Cursor {
  readonly #text: string;
  #at = 0;
  #line = 1;

  constructor(text: string) {
    this.#text = text;
  }

  /** Of the next character, from 1. */
  get line(): number {
    return this.#line;
  }

  /** Empty at the end. */
  get next(): string {
    return this.#text.charAt(this.#at);
  }

  take(): string {
    const char = this.next;
    this.#at++;
    if (char === "\n") this.#line++;
    return char;
  }

  /** What comes before any of the characters, or before the end. */
  takeUntil(characters: string): string {
    let taken = "";
    while (this.next !== "" && !characters.includes(this.next)) taken += this.take();
    return taken;
  }

  skip(pattern: RegExp): void {
    while (pattern.test(this.next)) this.take();
  }
}
