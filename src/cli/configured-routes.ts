/** The routes file that the environment names. */
import { type Environment, parseSetting } from "../lifecycle/settings.ts";
import { type GoodFile, readConfigFile } from "../sources/config-file.ts";

/** `file` null: none is named. */
export type ConfiguredRoutes = { readonly file: GoodFile | null } | { readonly problems: readonly string[] };

export async function configuredRoutes(env: Environment): Promise<ConfiguredRoutes> {
  const path = parseSetting("configFile", env), region = parseSetting("regionId", env);
  if ("problem" in path || path.value === "") return { file: null };
  const read = await readConfigFile(path.value, { regionId: "value" in region ? region.value : "" });
  return "problems" in read ? read : { file: read };
}
