/** The routes file read once: its text, within bounds, and what that says. */
import { createHash } from "node:crypto";
import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import type { FilePolicies } from "../table/policy.ts";
import { placeAtOffset } from "./placed-value.ts";
import { type FileContext, type ParsedFile, parseRoutesFile } from "./routes-file.ts";

/** A file is read into memory, and its records go to every worker. */
export const MOST_FILE_BYTES = 16 * 1024 * 1024;

/** A file that is right. `digest`: of what it says, and of what it refers to, such as certificates. */
export type GoodFile = Extract<ParsedFile, { readonly policies: FilePolicies }> & {
  readonly text: string;
  readonly digest: string;
};
export type FileReading = GoodFile | Extract<ParsedFile, { readonly problems: readonly string[] }>;

/** What it says now, or all that is wrong with it. */
export async function readConfigFile(path: string, context: Omit<FileContext, "file">): Promise<FileReading> {
  let bytes: Uint8Array;
  try {
    bytes = await readFile(path);
  } catch (error) {
    return { problems: [`${path}: ${(error as Error).message}`] };
  }
  const text = new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes);
  const strange = text.indexOf("\uFFFD") < 0 ? null : firstStrange(text, bytes);
  if (strange === null) return parseFile(text, path, context);
  const { line, column } = placeAtOffset(text, strange);
  return { problems: [`${path}:${line}:${column}: is not UTF-8`] };
}

/** Where the first bytes are that are no character; null: all are, some say themselves that they stand for one. */
function firstStrange(text: string, bytes: Uint8Array): number | null {
  if (Buffer.compare(Buffer.from(text), bytes) === 0) return null;
  let offset = 0, at = 0;
  for (const character of text) {
    const size = Buffer.byteLength(character);
    if (character === "\uFFFD" && !(bytes[at] === 0xef && bytes[at + 1] === 0xbf && bytes[at + 2] === 0xbd)) return offset;
    offset += character.length;
    at += size;
  }
  return null;
}

/** A text that was read from there. */
export function parseFile(text: string, path: string, context: Omit<FileContext, "file">): FileReading {
  const parsed = parseRoutesFile(text, { ...context, file: path });
  return "problems" in parsed ? parsed : { ...parsed, text, digest: digestOf(parsed.policies) };
}

function digestOf(policies: FilePolicies): string {
  return createHash("sha256").update(JSON.stringify(policies)).digest("base64");
}

async function readFile(path: string): Promise<Uint8Array> {
  // Links are followed, containers mount such files as links; a pipe must not keep us
  await using file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  const found = await file.stat();
  if (!found.isFile()) throw new Error("is no file");
  return await readBytes(file, found.size);
}

/** It may grow while it is read. */
async function readBytes(file: FileHandle, size: number): Promise<Uint8Array> {
  let buffer = Buffer.alloc(Math.min(size, MOST_FILE_BYTES) + 1);
  let length = 0;
  for (;;) {
    const { bytesRead } = await file.read(buffer, length, buffer.length - length);
    if (bytesRead === 0) return buffer.subarray(0, length);
    length += bytesRead;
    if (length > MOST_FILE_BYTES) throw new Error(`is larger than ${MOST_FILE_BYTES} bytes`);
    if (length === buffer.length) buffer = Buffer.concat([buffer, Buffer.alloc(length)]);
  }
}
