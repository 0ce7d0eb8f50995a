/** The folder of an operator's error pages: read whole, within bounds, and refused whole when anything in it is wrong. */
import { open, readdir } from "node:fs/promises";
import { join } from "node:path";
import { pageNames, PLACEHOLDERS, unknownPlaceholders } from "../downstream/error-page.ts";
import { ANSWER_CODES } from "../observation/proxy-error.ts";
import { nearest } from "../sources/nearest-name.ts";
import { SETTINGS } from "./setting-table.ts";

/** Texts by the name of their file, without `.html`. */
export type ErrorPageFiles = Readonly<Record<string, string>>;

const MOST_PAGE_BYTES = 64 * 1024;
const MOST_BYTES = 1024 * 1024;
const ENDING = ".html";
/** A page for a status that we never answer with does no harm: sets of pages have them. */
const STATUS = /^[45]\d\d$/;
const NAMES: readonly string[] = [...new Set(ANSWER_CODES.flatMap(pageNames))];

type Reading = { readonly pages: ErrorPageFiles } | { readonly problems: readonly string[] };

/** Every problem at once, each with the variable and the file. */
export async function readErrorPages(folder: string): Promise<Reading> {
  if (folder === "") return { pages: {} };
  const read = await readFolder(folder).catch((error: Error): Reading => ({
    problems: [`cannot read the folder: ${error.message}`],
  }));
  return "pages" in read ? read : { problems: read.problems.map((problem) => `${SETTINGS.errorPages.variable}: ${problem}`) };
}

async function readFolder(folder: string): Promise<Reading> {
  const files = (await readdir(folder)).filter((file) => file.endsWith(ENDING) && !file.startsWith(".")).sort();
  if (files.length === 0) return { problems: [`${folder} has no page, such as error.html`] };
  const problems: string[] = [];
  const pages: Record<string, string> = {};
  let total = 0;
  for (const file of files) {
    const name = file.slice(0, -ENDING.length);
    const page = nameProblem(name) ?? await readPage(join(folder, file)).catch((error: Error) => error);
    if (page instanceof Error) problems.push(`${file}: ${page.message}`);
    else {
      total += page.length;
      const text = page.toString().replace(/^\ufeff/, "");
      problems.push(...placeholderProblems(text).map((problem) => `${file}: ${problem}`));
      pages[name] = text;
    }
  }
  if (total > MOST_BYTES) problems.push(`${folder} has ${total} bytes of pages, more than ${MOST_BYTES}`);
  return problems.length > 0 ? { problems } : { pages };
}

function nameProblem(name: string): Error | null {
  if (NAMES.includes(name) || STATUS.test(name)) return null;
  return new Error(`is for no code or status; did you mean ${nearest(name, NAMES)}${ENDING}?`);
}

async function readPage(path: string): Promise<Buffer> {
  await using file = await open(path); // links are followed: containers mount such files as links
  const found = await file.stat();
  if (!found.isFile()) throw new Error("is no file");
  const buffer = Buffer.alloc(MOST_PAGE_BYTES + 1);
  let length = 0;
  while (length < buffer.length) {
    const { bytesRead } = await file.read(buffer, length, buffer.length - length);
    if (bytesRead === 0) break;
    length += bytesRead;
  }
  if (length > MOST_PAGE_BYTES) throw new Error(`is larger than ${MOST_PAGE_BYTES} bytes`);
  const page = buffer.subarray(0, length);
  try {
    new TextDecoder("utf-8", { fatal: true }).decode(page);
  } catch {
    throw new Error("is not UTF-8");
  }
  return page;
}

function placeholderProblems(text: string): string[] {
  return [...new Set(unknownPlaceholders(text))].map((name) =>
    `unknown placeholder {{${name}}}; did you mean {{${nearest(name, PLACEHOLDERS)}}}?`
  );
}
