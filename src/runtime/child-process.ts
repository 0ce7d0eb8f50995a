/** This program once more as a child process that we exchange messages with, and that process's end of it. */
import { type ChildProcess as NodeChildProcess, spawn, type SpawnOptions } from "node:child_process";
import process from "node:process";
import { inheritableEnvironment, selfCommand } from "./processes.ts";

export interface ChildOptions {
  /** Of this program's command line. */
  readonly parameters: readonly string[];
  /** Open files that it inherits, as FIRST_DESCRIPTOR and those that follow. */
  readonly descriptors: readonly number[];
  /** Plain JSON. */
  readonly onMessage: (message: unknown) => void;
  /** Once, when it has ended or could not be started: `exit code 1`, `SIGKILL`, or why. */
  readonly onExit: (reason: string) => void;
}

export interface ChildProcess {
  /** 0 when it could not be started. */
  readonly pid: number;
  /** A message to a process that has ended is lost. */
  send(message: unknown): void;
  kill(signal: "SIGTERM" | "SIGKILL"): void;
}

/** Where inherited files begin: after the three standard ones and the channel. */
export const FIRST_DESCRIPTOR = 4;

/** Its output goes where ours goes. Of our environment it gets nothing that steers a runtime, and none of our settings. */
export function startChild({ parameters, descriptors, onMessage, onExit }: ChildOptions): ChildProcess {
  const [program, ...first] = selfCommand();
  let ended = false;
  const end = (reason: string): void => {
    if (!ended) onExit(reason);
    ended = true;
  };
  const child = start(program, [...first, ...parameters], {
    stdio: ["ignore", "inherit", "inherit", "ipc", ...descriptors],
    argv0: process.argv0, // for `ps`: the program may be /proc/self/exe
    env: inheritableEnvironment(process.env),
  }, end);
  child?.on("message", onMessage);
  // Its last messages come before this
  child?.on("close", (code, signal) => end(signal ?? `exit code ${code}`));
  return {
    pid: child?.pid ?? 0,
    send: (message) => sendTo(child, message),
    kill: (signal) => void child?.kill(signal),
  };
}

/** No failure is thrown, and none is told before this has returned: Bun throws some (ENOEXEC), and tells of others by an event. */
export function start(
  program: string,
  parameters: readonly string[],
  options: SpawnOptions,
  failed: (reason: string) => void,
): NodeChildProcess | null {
  try {
    return spawn(program, parameters, options).on("error", (error) => failed(error.message));
  } catch (error) {
    setImmediate(() => failed((error as Error).message));
    return null;
  }
}

/** A channel that the other side has just closed is not an error: its end is told of by itself. */
function sendTo(child: NodeChildProcess | null, message: unknown): void {
  if (child?.connected === true) child.send(message as object, () => {});
}

/** The end of a child process that `startChild` has started. */
export interface ParentChannel {
  /** A message to a parent that is gone is lost. */
  send(message: unknown): void;
  onMessage(receive: (message: unknown) => void): void;
  /** The parent has ended. */
  onClose(closed: () => void): void;
  /** Nothing is received any more, and nothing keeps the process alive. */
  close(): void;
}

/** Null in a process that nobody has started to talk to. */
export function parentChannel(): ParentChannel | null {
  if (process.send === undefined) return null;
  return {
    send: (message) => {
      if (process.connected) process.send?.(message as object, undefined, undefined, () => {});
    },
    onMessage: (receive) => void process.on("message", receive),
    onClose: (closed) => void process.once("disconnect", closed),
    close: () => {
      if (process.connected) process.disconnect?.();
    },
  };
}
