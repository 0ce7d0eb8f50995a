/*  `edgeproxy serve`: settings, signals, exit code.
 *
 *  SIGTERM, SIGINT, POST /api/drain: drain, exit 0; a second signal exits at once (1). SIGHUP: refresh now, read the error pages
 *  anew, log as configured. SIGUSR2: hand over to the program in our place.
 *  Once a successor has taken over, from there or started by hand: drain, exit 0.
 */
import process from "node:process";
import { type ErrorPageFiles, readErrorPages } from "../lifecycle/error-page-folder.ts";
import { selfCheck } from "../lifecycle/self-check.ts";
import { effectiveSettings, parseSetting, parseSettings, type Settings } from "../lifecycle/settings.ts";
import { reportStatus } from "../lifecycle/status-line.ts";
import { Supervisor } from "../lifecycle/supervisor.ts";
import { type AdjustableLog, createLog, type Log } from "../observation/log.ts";
import { standardOutput } from "../observation/line-writer.ts";
import { createNotifier, type Notifier } from "../runtime/notify.ts";
import { onSignals } from "../runtime/signals.ts";
import { systemTimers } from "../runtime/timers.ts";
import { VERSION } from "../runtime/version.ts";
import type { FirstFile } from "../sources/config-file.ts";
import { configuredRoutes } from "./configured-routes.ts";
import { printError } from "./output.ts";

/** How long the process may outlive its last duty: a handle that somebody forgot must not keep it. */
const LEFTOVER_MS = 1000;

export async function runServe(env: Readonly<Record<string, string | undefined>>): Promise<number> {
  const parsed = parseSettings(env);
  const folder = parseSetting("errorPages", env);
  const read = await readErrorPages("value" in folder ? folder.value : "");
  const routes = await configuredRoutes(env);
  if ("problems" in parsed || "problems" in read || "problems" in routes) {
    const problems = [parsed, read, routes].flatMap((each) => "problems" in each ? each.problems : []);
    return printError([...parsed.warnings, ...problems].join("\n"), 2);
  }
  const log = createLog(parsed.settings.logLevel);
  for (const warning of parsed.warnings) log.warn("configuration", { problem: warning });
  for (const warning of routes.file?.good.warnings ?? []) log.warn("routes file", { problem: warning });
  const exitCode = await serve(parsed.settings, log, read.pages, routes.file);
  standardOutput.close();
  setTimeout(() => process.exit(exitCode), LEFTOVER_MS).unref();
  return exitCode;
}

async function serve(settings: Settings, log: AdjustableLog, pages: ErrorPageFiles, file: FirstFile | null): Promise<number> {
  surviveFaults(log);
  const supervisor = new Supervisor(settings, log, pages, file);
  const notifier = createNotifier({ check: selfCheck(supervisor.generation, log) });
  const signal = untilSignal(supervisor, notifier, log);
  log.info("starting", { version: VERSION, pid: process.pid, settings: effectiveSettings(settings) });
  const started = supervisor.start().then(() => supervisor.ready()).then(() => announce(supervisor, notifier, log));
  return await Promise.race([
    signal.then((name) => shutDown(name, supervisor, notifier, log)),
    supervisor.drainAsked.then((reason) => {
      log.info("shutting down", { reason });
      return shutDown(reason, supervisor, notifier, log);
    }),
    supervisor.succeeded.then((successor) => giveWay(successor, supervisor, notifier, log)),
    supervisor.failed.then((reason) => giveUp(supervisor, log, reason)),
    started.then(forever, (error: Error) => supervisor.draining === null ? giveUp(supervisor, log, error.message) : forever()),
  ]);
}

/** It has begun, or its end has. */
function forever(): Promise<never> {
  return new Promise(() => {});
}

async function announce(supervisor: Supervisor, notifier: Notifier, log: Log): Promise<void> {
  if (supervisor.draining !== null) return;
  notifier.ready(supervisor.statusLine());
  const undo = reportStatus(() => supervisor.statusLine(), (line) => notifier.status(line), systemTimers);
  log.info("ready", { routes: supervisor.control.table.size });
  await supervisor.succeeded;
  undo(); // the successor speaks for the service now
}

/** Resolves with the first SIGTERM or SIGINT, to its name. A second one ends the process at once. */
function untilSignal(supervisor: Supervisor, notifier: Notifier, log: Log): Promise<string> {
  let signals = 0;
  return new Promise((resolve) => {
    const end = (signal: string) => () => {
      if (signals++ > 0) {
        log.warn("second signal, exiting at once", { signal });
        supervisor.kill();
        standardOutput.close();
        process.exit(1);
      }
      log.info("shutting down", { signal });
      resolve(signal);
    };
    onSignals({
      SIGTERM: end("SIGTERM"),
      SIGINT: end("SIGINT"),
      SIGUSR2: () => supervisor.handOver(),
      SIGHUP: () => void notifier.reload(supervisor.reload("SIGHUP"), () => supervisor.statusLine()),
    });
  });
}

async function giveUp(supervisor: Supervisor, log: Log, error: string): Promise<number> {
  log.error("cannot start", { error });
  await supervisor.stop("cannot start", { atOnce: true });
  return 1;
}

async function shutDown(reason: string, supervisor: Supervisor, notifier: Notifier, log: Log): Promise<number> {
  notifier.stopping(supervisor.mostDrainMs);
  const startedAtMs = performance.now();
  const cut = await supervisor.stop(reason);
  notifier.close();
  log[cut > 0 ? "warn" : "info"]("stopped", { exchanges_cut: cut, duration_ms: Math.round(performance.now() - startedAtMs) });
  return 0;
}

/** A successor has taken over: nothing is lost by our end, whatever signal comes meanwhile. */
async function giveWay(
  { pid, own }: { readonly pid: number; readonly own: boolean },
  supervisor: Supervisor,
  notifier: Notifier,
  log: Log,
): Promise<number> {
  const told = own ? supervisor.releaseSuccessor().then(() => notifier.mainPid(pid)) : null;
  if (own) notifier.close();
  else notifier.stopping(supervisor.mostDrainMs); // we are the main process to our end
  log.info("succeeded", { by: pid });
  const cut = await supervisor.stop(`succeeded by pid ${pid}`, { succeeded: true });
  notifier.close();
  await told;
  log[cut > 0 ? "warn" : "info"]("stopped", { exchanges_cut: cut });
  return 0;
}

/** A bug in one request must not end the others: it is logged with its stack, and the process goes on. */
function surviveFaults(log: Log): void {
  process.on("uncaughtException", (error) => log.error("uncaught exception", { error }));
  process.on("unhandledRejection", (error) => log.error("unhandled rejection", { error }));
}
