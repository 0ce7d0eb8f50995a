/** `edgeproxy worker`: what `serve` starts; nobody calls it by hand. */
import process from "node:process";
import { WorkerProcess } from "../lifecycle/worker-process.ts";
import { standardOutput } from "../observation/line-writer.ts";
import { parentChannel } from "../runtime/child-process.ts";
import { nameProcess } from "../runtime/processes.ts";
import { printError } from "./output.ts";

export async function runWorker(number: string | undefined): Promise<number> {
  const parent = parentChannel();
  if (parent === null) return printError("edgeproxy worker: is started by edgeproxy serve", 2);
  nameProcess(`edgeproxy-w${number}`); // it was started as /proc/self/exe
  const exitCode = await new WorkerProcess(parent).run();
  standardOutput.close();
  parent.close();
  // A handle that somebody forgot must not keep the process
  setTimeout(() => process.exit(exitCode), 100).unref();
  return exitCode;
}
