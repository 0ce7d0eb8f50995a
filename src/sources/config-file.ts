/** The routes file on disk: read whole, within bounds. */
import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { type FileContext, type ParsedFile, parseRoutesFile } from "./routes-file.ts";

/** A file is read into memory, and its records go to every worker. */
export const MOST_FILE_BYTES = 16 * 1024 * 1024;

/** What it says now, or all that is wrong with it. */
export async function readConfigFile(path: string, context: Omit<FileContext, "file">): Promise<ParsedFile> {
  let text: string;
  try {
    text = await readText(path);
  } catch (error) {
    return { problems: [`${path}: ${(error as Error).message}`] };
  }
  return parseRoutesFile(text, { ...context, file: path });
}

async function readText(path: string): Promise<string> {
  // Links are followed, containers mount such files as links; a pipe must not keep us
  await using file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  const found = await file.stat();
  if (!found.isFile()) throw new Error("is no file");
  const bytes = await readBytes(file, found.size);
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new Error("is not UTF-8");
  }
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
