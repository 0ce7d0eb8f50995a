/*  The service manager's side channel (sd_notify): one datagram per message to the unix socket named by NOTIFY_SOCKET.
 *
 *  No runtime API sends unix datagrams. On Bun three libc calls through its FFI do it: no process per watchdog message, and
 *  it is our own pid that speaks, so `NotifyAccess=main` suffices. Where that is not possible (Deno, another libc) the
 *  `systemd-notify` program speaks for us, which needs `NotifyAccess=all`. Without NOTIFY_SOCKET everything is a no-op;
 *  a message that cannot be sent is lost, as sd_notify prescribes: the service works without its manager.
 */
import { spawn } from "node:child_process";
import { BUN } from "./which.ts";

/** What the process tells its service manager. */
export interface Notifier {
  /** Once, when traffic is served; `status` is a line for `systemctl status`. Begins the watchdog messages. */
  ready(status: string): void;
  status(status: string): void;
  /** Once, when the shutdown begins. The watchdog goes on until `close`. */
  stopping(): void;
  /** Ends the watchdog messages. */
  close(): void;
}

/** Sends one message, lines of `NAME=value`; resolves to whether it was sent. Never rejects. */
export type SendMessage = (message: string) => Promise<boolean>;

export type Environment = Readonly<Record<string, string | undefined>>;

/** The notifier for this process's environment; does nothing when no service manager listens. */
export function createNotifier(env: Environment = process.env, send: SendMessage | null = senderFor(env)): Notifier {
  if (send === null) return { ready: () => {}, status: () => {}, stopping: () => {}, close: () => {} };
  const watchdogMs = watchdogIntervalMs(env);
  let watchdog: ReturnType<typeof setInterval> | undefined;
  // One at a time: where each message is a process of its own, READY must not be overtaken by STOPPING.
  let last: Promise<unknown> = Promise.resolve();
  const enqueue = (...lines: string[]) => {
    last = last.then(() => send(lines.join("\n")));
  };
  return {
    ready: (status) => {
      enqueue("READY=1", `STATUS=${oneLine(status)}`);
      if (watchdogMs === 0 || watchdog !== undefined) return;
      watchdog = setInterval(() => enqueue("WATCHDOG=1"), watchdogMs);
      watchdog.unref();
    },
    status: (status) => enqueue(`STATUS=${oneLine(status)}`),
    stopping: () => enqueue("STOPPING=1", "STATUS=Stopping"),
    close: () => clearInterval(watchdog),
  };
}

/** How to reach the service manager of this environment; null when there is none. */
export function senderFor(env: Environment): SendMessage | null {
  const path = env["NOTIFY_SOCKET"] ?? "";
  // `@` is the abstract name space; other kinds (vsock) belong to virtual machines.
  if (!/^[/@]./.test(path)) return null;
  const byProgram: SendMessage = (message) => sendByProgram(message, env);
  if (BUN === undefined) return byProgram;
  let datagrams: Promise<UnixDatagrams> | undefined;
  return async (message) => {
    try {
      return sendDatagram(await (datagrams ??= openUnixDatagrams()), path, message);
    } catch {
      return await byProgram(message);
    }
  };
}

/** Half the manager's limit, as sd_watchdog_enabled(3) advises; 0 when the watchdog is off or meant for another process. */
export function watchdogIntervalMs(env: Environment): number {
  const usec = Number(env["WATCHDOG_USEC"] ?? "0");
  const pid = env["WATCHDOG_PID"] ?? "";
  if (!Number.isFinite(usec) || usec <= 0 || (pid !== "" && pid !== String(process.pid))) return 0;
  return Math.max(1, Math.floor(usec / 2000));
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

/** The libc calls, with pointers as buffers. */
interface UnixDatagrams {
  socket(domain: number, type: number, protocol: number): number;
  sendto(fd: number, bytes: Uint8Array, length: number, flags: number, address: Uint8Array, addressLength: number): number;
  close(fd: number): number;
}

/** The part of `bun:ffi` that is used here. */
interface BunFfi {
  dlopen(library: string, symbols: Record<string, { args: string[]; returns: string }>): { symbols: unknown };
}

// Linux, the same on x86-64 and arm64.
const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;
const MSG_NOSIGNAL = 0x4000;
const MSG_DONTWAIT = 0x40;

/** Rejects where libc goes by another name. */
async function openUnixDatagrams(): Promise<UnixDatagrams> {
  const name = "bun:ffi";
  const ffi: BunFfi = await import(name);
  return ffi.dlopen("libc.so.6", {
    socket: { args: ["i32", "i32", "i32"], returns: "i32" },
    sendto: { args: ["i32", "ptr", "u64", "i32", "ptr", "u32"], returns: "i32" },
    close: { args: ["i32"], returns: "i32" },
  }).symbols as UnixDatagrams;
}

function sendDatagram(libc: UnixDatagrams, path: string, message: string): boolean {
  const bytes = Buffer.from(message);
  const address = unixAddress(path);
  const fd = libc.socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return false;
  try {
    return libc.sendto(fd, bytes, bytes.length, MSG_NOSIGNAL | MSG_DONTWAIT, address, address.length) === bytes.length;
  } finally {
    libc.close(fd);
  }
}

/** `struct sockaddr_un`: the family in the machine's byte order (little-endian on both), then the name. */
function unixAddress(path: string): Buffer {
  const abstract = path.startsWith("@");
  const name = Buffer.from(abstract ? `\0${path.slice(1)}` : `${path}\0`);
  const family = Buffer.alloc(2);
  family.writeUInt16LE(AF_UNIX);
  return Buffer.concat([family, name]);
}
