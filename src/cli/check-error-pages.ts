/** `edgeproxy check`, EDGEPROXY_ERROR_PAGES: would the proxy start with these pages, and for which answers are they? */
import { pageNames } from "../downstream/error-page.ts";
import { readErrorPages } from "../lifecycle/error-page-folder.ts";
import type { Settings } from "../lifecycle/settings.ts";
import { ANSWER_CODES } from "../observation/proxy-error.ts";
import { report } from "./finding.ts";

const SUBJECT = "error pages";

/** Whether the proxy would start. */
export async function checkErrorPages({ errorPages: folder }: Settings): Promise<boolean> {
  if (folder === "") return true;
  const read = await readErrorPages(folder);
  if ("problems" in read) {
    for (const problem of read.problems) report("FAIL", SUBJECT, problem);
    return false;
  }
  const names = Object.keys(read.pages);
  const covered = ANSWER_CODES.filter((code) => pageNames(code).some((name) => names.includes(name)));
  report("ok", SUBJECT, `${names.length} in ${folder}, for ${covered.length} of ${ANSWER_CODES.length} error codes`);
  return true;
}
