/** From arguments to the command that they name. */
import type { Environment } from "../lifecycle/settings.ts";
import { LAUNCH } from "../runtime/successor-process.ts";
import { READ_ROUTES_FILE } from "../sources/aside-reading.ts";
import { runCheck } from "./check.ts";
import { runDemo } from "./demo.ts";
import { ENV_FILE, environmentWith } from "./env-file.ts";
import { runExplain } from "./explain.ts";
import { parseFlags } from "./flags.ts";
import { runLaunch } from "./launch.ts";
import { runMigrate } from "./migrate.ts";
import { print, printError, toleratePipes } from "./output.ts";
import { runReadRoutesFile } from "./read-routes-file.ts";
import { runRoutes } from "./routes.ts";
import { runServe } from "./serve.ts";
import { runSignRouteKey } from "./sign-route-key.ts";
import { runWorker } from "./worker.ts";
import { type CommandName, findCommand, helpText, unknownCommand, versionText } from "./usage.ts";

/** The exit code: 0 fine, 1 failed at run time, 2 wrong usage or configuration. */
export async function run(argv: readonly string[], env: Environment): Promise<number> {
  toleratePipes();
  const [word = "serve", ...rest] = argv;
  // These are not for people, so not in the table of commands
  if (word === LAUNCH) return await runLaunch(rest);
  if (word === "worker") return await runWorker(rest[0]);
  if (word === READ_ROUTES_FILE) return await runReadRoutesFile(rest);
  if (word === "help" || asksForHelp(argv)) {
    print(helpText());
    return 0;
  }
  const command = word === "--version" ? "version" : findCommand(word);
  if (command === null) return printError(`edgeproxy: ${unknownCommand(word)}\nTry edgeproxy --help`, 2);
  return await runCommand(command, rest, env);
}

/** `demo` has a help of its own; behind `-H` and `--host` stands a value. */
function asksForHelp(argv: readonly string[]): boolean {
  return argv[0] !== "demo" &&
    argv.some((word, index) => /^(--help|-h)$/.test(word) && !/^(-H|--host)$/.test(argv[index - 1] ?? ""));
}

async function runCommand(command: CommandName, argv: readonly string[], env: Environment): Promise<number> {
  switch (command) {
    case "serve":
      return await serve(argv, env);
    case "demo":
      return await runDemo(argv, env);
    case "check":
      return await runCheck(argv, env);
    case "migrate":
      return await runMigrate(argv, env);
    case "routes":
      return await runRoutes(argv, env);
    case "explain":
      return await runExplain(argv, env);
    case "sign-route-key":
      return await runSignRouteKey(argv, env);
    case "version":
      return refuseArguments(command, argv) ?? showVersion();
  }
}

/** At a hand-over the successor gets the same arguments, so it reads the file anew. */
async function serve(argv: readonly string[], env: Environment): Promise<number> {
  const flags = parseFlags(argv, ENV_FILE);
  if ("problem" in flags) return printError(`edgeproxy serve: ${flags.problem}`, 2);
  const environment = await environmentWith(flags["env-file"], env);
  return environment === null ? 2 : await runServe(environment);
}

/** null when there are none. */
function refuseArguments(command: CommandName, argv: readonly string[]): number | null {
  const flags = parseFlags(argv, {});
  return "problem" in flags ? printError(`edgeproxy ${command}: ${flags.problem}`, 2) : null;
}

function showVersion(): number {
  print(versionText());
  return 0;
}
