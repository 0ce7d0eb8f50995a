/** `edgeproxy launch`: what `serve` starts its successor with; nobody calls it by hand. */
import process from "node:process";
import { parentChannel } from "../runtime/child-process.ts";
import { nameProcess } from "../runtime/processes.ts";
import { launchSuccessor } from "../runtime/successor-process.ts";
import { printError } from "./output.ts";

export async function runLaunch(command: readonly string[]): Promise<number> {
  const parent = parentChannel();
  if (parent === null) return printError("edgeproxy launch: is started by edgeproxy serve", 2);
  nameProcess("edgeproxy-next"); // it was started as /proc/self/exe
  await launchSuccessor(command, parent);
  parent.close();
  setTimeout(() => process.exit(0), 100); // it may still have a child
  return 0;
}
