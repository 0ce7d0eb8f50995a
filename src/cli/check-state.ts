/** `edgeproxy check`, EDGEPROXY_STATE_DIR: can the last good table be kept there, and is there one? Nothing is written. */
import { access, constants, stat } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import type { Settings } from "../lifecycle/settings.ts";
import { LastGoodFolder } from "../sources/last-good-folder.ts";
import { Services } from "../table/services.ts";
import { report } from "./finding.ts";

const SUBJECT = "state folder";

/** Never a failure: traffic does not need the disk. */
export async function checkStateFolder(settings: Settings): Promise<void> {
  const { stateDir } = settings;
  if (stateDir === "") return;
  const trouble = await writeTrouble(resolve(stateDir));
  if (trouble === null) report("ok", SUBJECT, `${stateDir} can be written`);
  else report("warn", SUBJECT, `${stateDir} cannot be written by this user: ${trouble}`);
  await reportTable(settings);
}

/** A folder that is missing is made with those above it. */
async function writeTrouble(folder: string): Promise<string | null> {
  try {
    const found = await stat(folder);
    if (!found.isDirectory()) return `${folder} is no folder`;
    await access(folder, constants.W_OK | constants.X_OK);
    return null;
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    return code === "ENOENT" && folder !== "/" ? await writeTrouble(dirname(folder)) : message;
  }
}

async function reportTable(settings: Settings): Promise<void> {
  const folder = new LastGoodFolder(settings.stateDir, settings);
  const found = await folder.read(new Services()).catch((error: Error) => error.message);
  if (found === null) return report("ok", "last good table", "none yet");
  if (typeof found === "string") return report("warn", "last good table", `${folder.path} would not be used: ${found}`);
  const seconds = Math.round(Math.max(0, Date.now() - found.header.asOfMs) / 1000);
  report("ok", "last good table", `${found.routes.size} routes, as the source said ${seconds} s ago`);
}
