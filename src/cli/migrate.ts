/*  `edgeproxy migrate`: puts the change feed into the database, with those of the four tables that are absent; `--remove` takes the
 *  feed out, `--print` shows the SQL instead of running it. All decisions are in the SQL (`feed-schema`).
 */
import { type Environment, parseSetting } from "../lifecycle/settings.ts";
import { describeError, openDatabase } from "../sources/database-client.ts";
import { type DatabaseTarget, parseDatabaseUrl } from "../sources/database-url.ts";
import { removeScript } from "../sources/feed-removal.ts";
import { migrateScript } from "../sources/feed-schema.ts";
import { ENV_FILE, environmentWith } from "./env-file.ts";
import { parseFlags } from "./flags.ts";
import { print, printError } from "./output.ts";

const OPTIONS = { print: { type: "boolean" }, remove: { type: "boolean" }, ...ENV_FILE } as const;

/** An index on a large table takes its time; locks are not waited for that long. */
const PATIENCE_MS = 3_600_000;

/** The exit code: 0 done, or nothing to do; 1 failed, and then nothing was changed; 2 wrong usage or configuration. */
export async function runMigrate(argv: readonly string[], env: Environment): Promise<number> {
  const flags = parseFlags(argv, OPTIONS);
  if ("problem" in flags) return printError(`edgeproxy migrate: ${flags.problem}`, 2);
  const script = flags.remove === true ? removeScript() : migrateScript();
  if (flags.print === true) {
    print(script.trimEnd());
    return 0;
  }
  const environment = await environmentWith(flags["env-file"], env);
  if (environment === null) return 2;
  const url = parseSetting("databaseUrl", environment);
  if ("problem" in url) return printError(url.problem, 2);
  const target = parseDatabaseUrl(url.value);
  if ("problem" in target) return printError(`EDGEPROXY_DATABASE_URL: ${target.problem}`, 2);
  try {
    await runScript(script, target);
    return 0;
  } catch (error) {
    return printError(`edgeproxy migrate: ${describeError(error)}`, 1);
  }
}

/** Prints each row when the transaction is over. Of several servers the primary is meant, whichever one the proxy prefers. */
async function runScript(script: string, target: DatabaseTarget): Promise<void> {
  const signal = AbortSignal.timeout(PATIENCE_MS);
  const client = await openDatabase({ ...target, session: target.hosts.length > 1 ? "primary" : "any" }, signal);
  try {
    const steps: string[] = [];
    await client.query(script, (row) => steps.push(...Object.values(row).map(String)), signal);
    for (const step of steps) print(step);
  } finally {
    await client.close();
  }
}
