/** Other processes: this program once more, and the environment they may see. */
import { existsSync, writeFileSync } from "node:fs";
import process from "node:process";
import { DENO } from "./which.ts";

/** As it was at the start: the file may be replaced. */
const PROGRAM = process.execPath;
/** Linux: the file that a process runs, whatever has become of its place. */
const RUNNING = "/proc/self/exe";

/** The command that starts the program in this file's place again, whichever way it was started: compiled, by Bun or by Deno. */
export function freshCommand(): [program: string, ...parameters: string[]] {
  const script = process.argv[1] ?? "";
  if (isCompiled(script)) return [PROGRAM];
  return DENO === undefined ? [PROGRAM, script] : [PROGRAM, "run", "--allow-all", "--no-check", script];
}

/** As `freshCommand`, but the very program that runs now, also when its file has been replaced meanwhile. */
export function selfCommand(): [program: string, ...parameters: string[]] {
  // Not in a chroot without /proc
  return isCompiled(process.argv[1] ?? "") && existsSync(RUNNING) ? [RUNNING] : freshCommand();
}

/** What `ps` and `top` show of this process, 15 characters at most; where that can be set. */
export function nameProcess(name: string): void {
  try {
    writeFileSync("/proc/self/comm", name);
  } catch {
    // not on this system
  }
}

/**
 * The environment without the variables that steer the runtime, carry our own settings or the database's (PGPASSWORD), or are the service
 * manager's word to us.
 */
export function inheritableEnvironment(env: Readonly<Record<string, string | undefined>>): Record<string, string> {
  const kept = Object.entries(env).filter((entry): entry is [string, string] => {
    const [name, value] = entry;
    return value !== undefined && !/^((EDGEPROXY|BUN|DENO|NODE|LISTEN|WATCHDOG)_|PG)/.test(name) && name !== "NOTIFY_SOCKET";
  });
  return Object.fromEntries(kept);
}

/** Our environment without what the service manager has said to this process alone; where to notify it stays. */
export function successorEnvironment(env: Readonly<Record<string, string | undefined>>): Record<string, string> {
  const { LISTEN_PID: _pid, LISTEN_FDS: _fds, LISTEN_FDNAMES: _names, WATCHDOG_PID: _watchdog, ...rest } = env;
  return Object.fromEntries(Object.entries(rest).filter((entry): entry is [string, string] => entry[1] !== undefined));
}

/** Bun shows the script of a compiled binary in a file system of its own; Deno says so itself. */
function isCompiled(script: string): boolean {
  if (DENO !== undefined) return (DENO as { readonly build?: { readonly standalone?: boolean } }).build?.standalone === true;
  return /^(\/\$bunfs\/|[A-Z]:[\\/]~BUN[\\/])/i.test(script);
}
