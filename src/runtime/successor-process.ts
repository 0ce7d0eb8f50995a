/*  The same program from its place in the file system, with our command line, environment and output: our successor.
 *
 *  It must be no child of ours when the service manager is told of it: systemd waits at a stop only for its own children, and ends a
 *  main process that is somebody else's at once (SIGKILL). So a launcher starts it, a short-lived process of this program, which tells
 *  us how it fares; once the launcher has ended, the successor is a child of the service manager.
 */
import type { ChildProcess } from "node:child_process";
import process from "node:process";
import { type ParentChannel, start } from "./child-process.ts";
import { freshCommand, selfCommand, successorEnvironment } from "./processes.ts";
import { onSignals } from "./signals.ts";

export interface SuccessorEvents {
  readonly onStart: (pid: number) => void;
  /** Once, when it has ended or could not be started, unless it has been released before. */
  readonly onExit: (reason: string) => void;
}

export interface SuccessorProcess {
  /** 0 while it is not known. */
  readonly pid: number;
  kill(signal: "SIGTERM" | "SIGKILL"): void;
  /** It is not ours any more; resolves once it is nobody's child but the service manager's. */
  release(): Promise<void>;
}

/** The word on the command line of a launcher, before program and parameters. */
export const LAUNCH = "launch";

type Told = { readonly type: "started"; readonly pid: number } | { readonly type: "ended"; readonly reason: string };

export function startSuccessor(events: SuccessorEvents): SuccessorProcess {
  const [self, ...own] = selfCommand();
  const parameters = [...own, LAUNCH, ...freshCommand(), ...process.argv.slice(2)];
  const env = successorEnvironment(process.env);
  const gone = Promise.withResolvers<void>();
  let pid = 0;
  let over = false;
  const end = (reason: string): void => {
    gone.resolve();
    if (!over) events.onExit(reason);
    over = true;
  };
  const launcher = start(self, parameters, { stdio: ["ignore", "inherit", "inherit", "ipc"], argv0: process.argv0, env }, end);
  launcher?.on("message", (message) => {
    const told = message as Told;
    if (told.type === "ended") end(told.reason);
    else events.onStart(pid = told.pid);
  });
  launcher?.on("close", (code, signal) => end(`its launcher ended: ${signal ?? `exit code ${code}`}`));
  return {
    get pid() {
      return pid;
    },
    kill(signal) {
      if (over) return;
      if (signal === "SIGKILL" && pid > 0) process.kill(pid, signal); // its launcher has not reaped it yet
      else launcher?.kill(signal); // it passes SIGTERM on
    },
    async release() {
      over = true;
      launcher?.kill("SIGKILL");
      await gone.promise;
    },
  };
}

/** What a launcher does; resolves when it has nothing left to do. */
export function launchSuccessor([program = "", ...parameters]: readonly string[], parent: ParentChannel): Promise<void> {
  const over = Promise.withResolvers<void>();
  const end = (reason: string): void => {
    parent.send({ type: "ended", reason } satisfies Told);
    over.resolve();
  };
  let child: ChildProcess | null = null;
  onSignals({ SIGTERM: () => void child?.kill("SIGTERM"), SIGINT: () => {}, SIGHUP: () => {}, SIGUSR2: () => {} });
  parent.onClose(over.resolve);
  const { NODE_CHANNEL_FD: _fd, NODE_CHANNEL_SERIALIZATION_MODE: _mode, ...env } = process.env;
  child = start(program, parameters, { stdio: ["ignore", "inherit", "inherit"], env }, end);
  if (child?.pid !== undefined) parent.send({ type: "started", pid: child.pid } satisfies Told);
  child?.on("exit", (code, signal) => end(signal ?? `exit code ${code}`));
  return over.promise;
}
