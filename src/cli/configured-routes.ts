/** The routes file that the environment names, or what was good of it before this start. */
import { type Environment, parseSetting } from "../lifecycle/settings.ts";
import { systemTimers } from "../runtime/timers.ts";
import type { FirstFile } from "../sources/config-file.ts";
import { type GoodFile, parseFile, readConfigFile } from "../sources/file-reading.ts";
import { LastGoodPolicies } from "../sources/last-good-policies.ts";

/** `file` null: none is named. */
export type ConfiguredRoutes = { readonly file: FirstFile | null } | { readonly problems: readonly string[] };

export async function configuredRoutes(env: Environment): Promise<ConfiguredRoutes> {
  const path = parseSetting("configFile", env), region = parseSetting("regionId", env);
  if ("problem" in path || path.value === "") return { file: null };
  const context = { regionId: "value" in region ? region.value : "" };
  const read = await readConfigFile(path.value, context);
  if (!("problems" in read)) return { file: { good: read, problems: [] } };
  const good = await lastGood(path.value, context.regionId, env);
  return good === null ? read : { file: { good, problems: read.problems } };
}

/** After a restart, too, a wrong file must not take away what was right. null: nothing is kept. */
async function lastGood(path: string, regionId: string, env: Environment): Promise<GoodFile | null> {
  const folder = parseSetting("stateDir", env), port = parseSetting("regionPort", env);
  if (regionId === "" || "problem" in folder || folder.value === "" || "problem" in port) return null;
  const { file } = await new LastGoodPolicies(folder.value, { regionId, regionPort: port.value }, systemTimers).read();
  if (file === null || file.path !== path) return null;
  const parsed = parseFile(file.text, path, { regionId });
  return "problems" in parsed ? null : parsed;
}
