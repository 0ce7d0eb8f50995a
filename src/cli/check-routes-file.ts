/** In `edgeproxy check`: would this routes file come into force? */
import { readConfigFile } from "../sources/file-reading.ts";
import { hiddenRoutes } from "../table/policy-findings.ts";
import type { FilePolicies } from "../table/policy.ts";
import type { Routes } from "../table/routes.ts";
import { report } from "./finding.ts";

const MOST_HIDDEN = 20;

/** `regionId` tells endpoints here from those elsewhere. null: it would not come into force. */
export async function checkRoutesFile(path: string, regionId: string): Promise<FilePolicies | null> {
  const read = await readConfigFile(path, { regionId });
  if ("problems" in read) {
    for (const problem of read.problems) report("FAIL", "routes file", problem);
    return null;
  }
  for (const warning of read.warnings) report("warn", "routes file", warning);
  report("ok", "routes file", `${path}: ${contentsOf(read.policies)}`);
  return read.policies;
}

/** Routes of the file for hosts of the database, which never apply. */
export function reportHidden(file: FilePolicies, routes: Pick<Routes, "get">): void {
  const hidden = hiddenRoutes(file, routes);
  for (const { id, origin, host } of hidden.slice(0, MOST_HIDDEN)) {
    const what =
      `${origin} (${id}) never applies to ${host}, which the database has: give it a path, a matcher or a priority above 0`;
    report("warn", "routes file", what);
  }
  if (hidden.length > MOST_HIDDEN) report("warn", "routes file", `and ${hidden.length - MOST_HIDDEN} more that never apply`);
}

function contentsOf({ routes, services }: FilePolicies): string {
  const endpoints = services.reduce((count, service) => count + (service.endpoints?.length ?? 0), 0);
  return `${counted(routes.length, "route")}, ${counted(services.length, "service")} with ${counted(endpoints, "endpoint")}`;
}

function counted(count: number, word: string): string {
  return `${count} ${word}${count === 1 ? "" : "s"}`;
}
