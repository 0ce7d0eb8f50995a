/*  The service manager's side channel (sd_notify): one datagram per message to the unix socket named by NOTIFY_SOCKET.
 *
 *  No runtime API sends unix datagrams. On Bun libc calls do it: no process per watchdog message, and it is our own pid that speaks.
 *  Where that is not possible (Deno) the `systemd-notify` program speaks for us, which needs `NotifyAccess=all`. Without NOTIFY_SOCKET
 *  everything is a no-op; a message that cannot be sent is lost, as sd_notify prescribes: the service works without its manager.
 */
import { spawn } from "node:child_process";
import { readFile } from "node:fs/promises";
import { bindLibc, type Libc, SOCKET } from "./libc.ts";
import { encodeUnix } from "./socket-address.ts";

/** What the process tells its service manager. */
export interface Notifier {
  /** When traffic is served; `status` is a line for `systemctl status`. Begins the watchdog messages. */
  ready(status: string): void;
  /** A reload is under way until `work` has settled. Nothing is said before `ready`: its end would pass for the start's. */
  reload(work: Promise<unknown>, status: () => string): Promise<void>;
  status(status: string): void;
  /** Another process is the service from now on, and speaks for it: nothing more is said here, but the end of a reload under way. */
  mainPid(pid: number): void;
  /**
   * Once, when the shutdown begins, which takes no longer than `withinMs`. The watchdog goes on until `close`. Before `ready` only the time
   * is asked for: that a successor ends which never was the service must not pass for the service's end.
   */
  stopping(withinMs?: number): void;
  /** Ends the watchdog messages. */
  close(): void;
}

/** Sends one message, lines of `NAME=value`; resolves to whether it was sent. Never rejects. */
export type SendMessage = (message: string) => Promise<boolean>;

export type Environment = Readonly<Record<string, string | undefined>>;

export interface NotifierOptions {
  /** Default: that of this process. */
  readonly env?: Environment;
  /** Default: to the service manager of `env`; null: to nobody. */
  readonly send?: SendMessage | null;
  /** Whether all is well: looked at before each watchdog message, and none is sent when it says no, or nothing in time. */
  readonly check?: () => Promise<boolean>;
}

const SILENT: Notifier = {
  ready: () => {},
  reload: async () => {},
  status: () => {},
  mainPid: () => {},
  stopping: () => {},
  close: () => {},
};

/** Does nothing when no service manager listens. */
export function createNotifier({ env = process.env, send = senderFor(env), check }: NotifierOptions = {}): Notifier {
  if (send === null) return SILENT;
  const watchdogMs = watchdogIntervalMs(env);
  let watchdog: ReturnType<typeof setInterval> | undefined;
  let state: "starting" | "ready" | "stopping" | "succeeded" = "starting";
  let reloads = 0;
  // One at a time: where each message is a process of its own, READY must not be overtaken by STOPPING.
  let last: Promise<unknown> = Promise.resolve();
  const enqueue = (...lines: string[]) => {
    last = last.then(() => send(lines.join("\n")));
  };
  const ready = (status: string) => {
    enqueue("READY=1", `STATUS=${oneLine(status)}`);
    state = "ready";
    if (watchdogMs === 0 || watchdog !== undefined) return;
    watchdog = setInterval(() => void passes(check, watchdogMs).then((well) => well && enqueue("WATCHDOG=1")), watchdogMs);
    watchdog.unref();
  };
  return {
    ready,
    reload: async (work, status) => {
      if (state !== "ready") return;
      reloads++;
      const begun = monotonicMicroseconds();
      last = last.then(async () => send(`RELOADING=1\nMONOTONIC_USEC=${await begun}`));
      await work.catch(() => {}); // a reload that failed is over, too: what served before serves on
      if (--reloads > 0) return;
      if (state === "ready") ready(status());
      else if (state === "succeeded") enqueue("READY=1"); // the manager would wait for it
    },
    status: (status) => {
      if (state !== "succeeded") enqueue(`STATUS=${oneLine(status)}`);
    },
    mainPid: (pid) => {
      enqueue(`MAINPID=${pid}`);
      clearInterval(watchdog);
      state = "succeeded";
    },
    stopping: (withinMs) => {
      if (state === "succeeded") return;
      const word = state === "starting" ? [] : ["STOPPING=1", "STATUS=Stopping"];
      const extension = withinMs === undefined ? [] : [`EXTEND_TIMEOUT_USEC=${Math.ceil(withinMs) * 1000}`];
      state = "stopping";
      if (word.length + extension.length > 0) enqueue(...word, ...extension);
    },
    close: () => clearInterval(watchdog),
  };
}

async function passes(check: (() => Promise<boolean>) | undefined, withinMs: number): Promise<boolean> {
  if (check === undefined) return true;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<boolean>((resolve) => timer = setTimeout(() => resolve(false), withinMs));
  const well = await Promise.race([check().catch(() => false), late]);
  clearTimeout(timer);
  return well;
}

/** How to reach the service manager of this environment; null when there is none. */
export function senderFor(env: Environment): SendMessage | null {
  const path = env["NOTIFY_SOCKET"] ?? "";
  // `@` is the abstract name space; other kinds (vsock) belong to virtual machines.
  if (!/^[/@]./.test(path)) return null;
  const libc = bindLibc();
  return libc === null ? (message) => sendByProgram(message, env) : (message) => Promise.resolve(sendDatagram(libc, path, message));
}

/**
 * A quarter of the manager's limit, so that one check may fail or be late and another still comes in time; 0 when the watchdog is off or
 * meant for another process.
 */
export function watchdogIntervalMs(env: Environment): number {
  const usec = Number(env["WATCHDOG_USEC"] ?? "0");
  const pid = env["WATCHDOG_PID"] ?? "";
  if (!Number.isFinite(usec) || usec <= 0 || (pid !== "" && pid !== String(process.pid))) return 0;
  return Math.max(1, Math.floor(usec / 4000));
}

/** The command line of `systemd-notify` for a message. */
export function notifyArguments(message: string): string[] {
  return [`--pid=${process.pid}`, ...message.split("\n")];
}

function sendByProgram(message: string, env: Environment): Promise<boolean> {
  return new Promise((resolve) => {
    const child = spawn("systemd-notify", notifyArguments(message), {
      stdio: "ignore",
      env: { PATH: env["PATH"], NOTIFY_SOCKET: env["NOTIFY_SOCKET"] },
    });
    child.on("error", () => resolve(false));
    child.on("close", (code) => resolve(code === 0));
  });
}

function oneLine(text: string): string {
  return text.replaceAll(/\s+/g, " ");
}

/** CLOCK_MONOTONIC, which systemd compares with its own; the runtimes' clocks begin with the process. */
export async function monotonicMicroseconds(libc: Libc | null = bindLibc()): Promise<number> {
  const time = Buffer.alloc(16);
  if (libc?.clockTime(CLOCK_MONOTONIC, time) === 0) {
    return Number(time.readBigInt64LE(0) * 1_000_000n + time.readBigInt64LE(8) / 1000n);
  }
  // The time since boot counts suspended time, too: a later moment is as good, an earlier one would be taken for an older message.
  const [seconds] = (await readFile("/proc/uptime", "utf8").catch(() => "0")).split(" ");
  return Math.ceil((Number(seconds) + UPTIME_STEP_SECONDS) * 1e6);
}

// Linux, the same on x86-64 and arm64.
const SOCK_DGRAM = 2;
const CLOCK_MONOTONIC = 1;
/** What /proc/uptime leaves out. */
const UPTIME_STEP_SECONDS = 0.01;

function sendDatagram(libc: Libc, path: string, message: string): boolean {
  const bytes = Buffer.from(message);
  const address = encodeUnix(path);
  const fd = libc.socket(SOCKET.UNIX, SOCK_DGRAM | SOCKET.CLOEXEC, 0);
  if (fd < 0) return false;
  try {
    if (libc.connect(fd, address, address.length) !== 0) return false;
    return libc.send(fd, bytes, bytes.length, SOCKET.MSG_NOSIGNAL | SOCKET.MSG_DONTWAIT) === bytes.length;
  } finally {
    libc.close(fd);
  }
}
