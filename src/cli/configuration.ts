/** The settings for commands that cannot go on without them. */
import { type Environment, parseSettings, type Settings } from "../lifecycle/settings.ts";
import { printError } from "./output.ts";

/** null after every problem has been said: exit with 2. */
export function requireSettings(env: Environment): Settings | null {
  const parsed = parseSettings(env);
  for (const warning of parsed.warnings) printError(`warning: ${warning}`, 0);
  if ("settings" in parsed) return parsed.settings;
  printError(parsed.problems.join("\n"), 2);
  return null;
}
