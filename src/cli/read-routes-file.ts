/** `edgeproxy read-routes-file`: what `serve` has large routes files read by; nobody calls it by hand. */
import process from "node:process";
import { parentChannel } from "../runtime/child-process.ts";
import { nameProcess } from "../runtime/processes.ts";
import { READ_ROUTES_FILE, tellReading } from "../sources/aside-reading.ts";
import { printError } from "./output.ts";

export async function runReadRoutesFile([path = "", regionId = ""]: readonly string[]): Promise<number> {
  const parent = parentChannel();
  if (parent === null) return printError(`edgeproxy ${READ_ROUTES_FILE}: is started by edgeproxy serve`, 2);
  nameProcess("edgeproxy-file"); // it was started as /proc/self/exe
  await tellReading(path, regionId, parent);
  parent.close();
  setTimeout(() => process.exit(0), 100).unref();
  return 0;
}
