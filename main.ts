/** Arguments and environment in, exit code out. */
import process from "node:process";
import { run } from "./src/cli/command-line.ts";

process.exitCode = await run(process.argv.slice(2), process.env);
