/** The routes file that the environment names. */
import { type Environment, parseSetting } from "../lifecycle/settings.ts";
import { readConfigFile } from "../sources/config-file.ts";
import type { FilePolicies } from "../table/policy.ts";

/** `policies` null: none is named. */
export type ConfiguredRoutes =
  | { readonly policies: FilePolicies | null; readonly warnings: readonly string[] }
  | { readonly problems: readonly string[] };

export async function configuredRoutes(env: Environment): Promise<ConfiguredRoutes> {
  const path = parseSetting("configFile", env), region = parseSetting("regionId", env);
  if ("problem" in path || path.value === "") return { policies: null, warnings: [] };
  return await readConfigFile(path.value, { regionId: "value" in region ? region.value : "" });
}
