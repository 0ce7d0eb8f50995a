/*  `edgeproxy serve`: settings, signals, exit code.
 *
 *  SIGTERM, SIGINT: drain, exit 0; a second one exits at once (1). SIGHUP: refresh now.
 */
import process from "node:process";
import { Proxy } from "../lifecycle/proxy.ts";
import { effectiveSettings, parseSettings, type Settings } from "../lifecycle/settings.ts";
import { createLog, type Log } from "../observation/log.ts";
import { standardOutput } from "../observation/line-writer.ts";
import { createNotifier, type Notifier } from "../runtime/notify.ts";
import { onSignals } from "../runtime/signals.ts";
import { VERSION } from "../runtime/version.ts";
import { printError } from "./output.ts";

/** How long the process may outlive its last duty: a handle that somebody forgot must not keep it. */
const LEFTOVER_MS = 1000;

export async function runServe(env: Readonly<Record<string, string | undefined>>): Promise<number> {
  const parsed = parseSettings(env);
  if ("problems" in parsed) return printError([...parsed.warnings, ...parsed.problems].join("\n"), 2);
  const log = createLog(parsed.settings.logLevel);
  for (const warning of parsed.warnings) log.warn("configuration", { problem: warning });
  const exitCode = await serve(parsed.settings, log);
  standardOutput.close();
  setTimeout(() => process.exit(exitCode), LEFTOVER_MS).unref();
  return exitCode;
}

async function serve(settings: Settings, log: Log): Promise<number> {
  log.info("starting", { version: VERSION, pid: process.pid, settings: effectiveSettings(settings) });
  surviveFaults(log);
  const proxy = new Proxy(settings, log);
  const notifier = createNotifier();
  const stop = untilSignal(proxy, log);
  try {
    await proxy.start();
  } catch (error) {
    log.error("cannot start", { error: (error as Error).message });
    await proxy.stop("cannot start", { atOnce: true });
    return 1;
  }
  void proxy.control.loaded().then(() => {
    if (proxy.drain !== null) return;
    notifier.ready(`${proxy.control.table.size} routes`);
    log.info("ready", { routes: proxy.control.table.size });
  });
  return await shutDown(await stop, proxy, notifier, log);
}

/** Resolves with the first SIGTERM or SIGINT, to its name. */
function untilSignal(proxy: Proxy, log: Log): Promise<string> {
  return new Promise((resolve) => {
    const end = (signal: string) => () => {
      if (proxy.drain !== null) {
        log.warn("second signal, exiting at once", { signal });
        standardOutput.close();
        process.exit(1);
      }
      log.info("shutting down", { signal });
      resolve(signal);
    };
    onSignals({
      SIGTERM: end("SIGTERM"),
      SIGINT: end("SIGINT"),
      SIGHUP: () => void proxy.control.refreshNow("SIGHUP"),
    });
  });
}

async function shutDown(signal: string, proxy: Proxy, notifier: Notifier, log: Log): Promise<number> {
  notifier.stopping();
  const startedAtMs = performance.now();
  const cut = await proxy.stop(signal);
  notifier.close();
  log[cut > 0 ? "warn" : "info"]("stopped", { exchanges_cut: cut, duration_ms: Math.round(performance.now() - startedAtMs) });
  return 0;
}

/** A bug in one request must not end the others: it is logged with its stack, and the process goes on. */
function surviveFaults(log: Log): void {
  process.on("uncaughtException", (error) => log.error("uncaught exception", { error }));
  process.on("unhandledRejection", (error) => log.error("unhandled rejection", { error }));
}
