/** Other processes: this program once more, and the environment they may see. */
import process from "node:process";
import { DENO } from "./which.ts";

/** The command that starts this program again, whichever way it was started: compiled, by Bun or by Deno. */
export function selfCommand(): [program: string, ...parameters: string[]] {
  const script = process.argv[1] ?? "";
  if (isCompiled(script)) return [process.execPath];
  return DENO === undefined ? [process.execPath, script] : [process.execPath, "run", "--allow-all", "--no-check", script];
}

/** The environment without the variables that steer the runtime or carry our own settings. */
export function inheritableEnvironment(env: Readonly<Record<string, string | undefined>>): Record<string, string> {
  const kept = Object.entries(env).filter((entry): entry is [string, string] => {
    const [name, value] = entry;
    return value !== undefined && !/^(EDGEPROXY|BUN|DENO|NODE)_/.test(name) && name !== "NOTIFY_SOCKET";
  });
  return Object.fromEntries(kept);
}

/** Bun shows the script of a compiled binary in a file system of its own; Deno says so itself. */
function isCompiled(script: string): boolean {
  if (DENO !== undefined) return (DENO as { readonly build?: { readonly standalone?: boolean } }).build?.standalone === true;
  return /^(\/\$bunfs\/|[A-Z]:[\\/]~BUN[\\/])/i.test(script);
}
