/** How many files (and so sockets) this process may have open. */
import { closeSync, openSync, readFileSync } from "node:fs";

/** The soft limit of RLIMIT_NOFILE. 1024, the traditional default, where the system does not say. */
export function fileLimit(): number {
  try {
    const line = /^Max open files\s+(\d+|unlimited)/m.exec(readFileSync("/proc/self/limits", "utf8"))?.[1];
    return line === "unlimited" ? Number.MAX_SAFE_INTEGER : Number(line ?? 1024);
  } catch {
    return 1024;
  }
}

/** Whether opening another file fails now: the process's limit or the machine's is reached. */
export function outOfFiles(): boolean {
  try {
    closeSync(openSync("/dev/null", "r"));
    return false;
  } catch (error) {
    const { code } = error as { code?: string };
    return code === "EMFILE" || code === "ENFILE";
  }
}
