/** In `edgeproxy check`: would this routes file come into force? */
import { readConfigFile } from "../sources/file-reading.ts";
import type { FilePolicies } from "../table/policy.ts";
import { report } from "./finding.ts";

/** `regionId` tells endpoints here from those elsewhere. */
export async function checkRoutesFile(path: string, regionId: string): Promise<boolean> {
  const read = await readConfigFile(path, { regionId });
  if ("problems" in read) {
    for (const problem of read.problems) report("FAIL", "routes file", problem);
    return false;
  }
  for (const warning of read.warnings) report("warn", "routes file", warning);
  report("ok", "routes file", `${path}: ${contentsOf(read.policies)}`);
  return true;
}

function contentsOf({ routes, services }: FilePolicies): string {
  const endpoints = services.reduce((count, service) => count + (service.endpoints?.length ?? 0), 0);
  return `${counted(routes.length, "route")}, ${counted(services.length, "service")} with ${counted(endpoints, "endpoint")}`;
}

function counted(count: number, word: string): string {
  return `${count} ${word}${count === 1 ? "" : "s"}`;
}
