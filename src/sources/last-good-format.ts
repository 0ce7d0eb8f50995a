/*  The last good table as a file: its layout, and whose it is.
 *
 *      magic      8 bytes   "EDGEPRXY"
 *      version    u32       1; a later one may mean anything by the rest
 *      length     u32       of the header
 *      header     JSON      for whom, as of when, how many routes (`TableHeader`)
 *      records    services and routes, until the routes are complete
 *        service  0, u16 count, then for each endpoint:
 *                 1, u8 length, address, u16 port                    a VM of the header's region
 *                 2, u8 length, address, u16 port, 36 bytes          another region's edge, and the region
 *        route    u8 length of the host (never 0), host, u32 index of a service that came before
 *      checksum   32 bytes  SHA-256 of all before
 *
 *  Numbers are little-endian, texts ASCII. Every service is there once. `last-good-file` writes and reads it.
 */
import { z } from "zod";

export const MAGIC: Buffer = Buffer.from("EDGEPRXY", "latin1");
export const VERSION = 1;
/** Before the header. */
export const FIXED_BYTES: number = MAGIC.length + 8;
export const CHECKSUM_BYTES = 32;
export const REGION_BYTES = 36;
export const KIND_VM = 1;
export const KIND_REGION = 2;
const MOST_HEADER_BYTES = 4096;
/** How much of a file says whose it is. */
export const HEAD_BYTES: number = FIXED_BYTES + MOST_HEADER_BYTES;

const HEADER = z.strictObject({
  region: z.string(),
  regionPort: z.number().int(),
  savedAtMs: z.number(),
  asOfMs: z.number(),
  revision: z.number().int().min(0),
  routes: z.number().int().min(0),
  source: z.string(),
});

/** Whose table it is. */
export interface TableHeader {
  /** Where the proxy runs: it decides which endpoints are VMs. */
  readonly region: string;
  readonly regionPort: number;
  readonly savedAtMs: number;
  /** When the table was last known to be what its source says. */
  readonly asOfMs: number;
  /** Of the process that wrote it. */
  readonly revision: number;
  readonly routes: number;
  readonly source: string;
}

/** The header of a file that begins with these bytes; null when it has none that can be read. */
export function headerOf(head: Uint8Array): TableHeader | null {
  const bytes = Buffer.from(head.buffer, head.byteOffset, head.length);
  return typeof formatOf(bytes) === "string" ? null : parseHeader(bytes);
}

/** Bytes of the header, or why it is no file of ours. */
export function formatOf(bytes: Buffer): number | string {
  if (bytes.length < FIXED_BYTES || !bytes.subarray(0, MAGIC.length).equals(MAGIC)) return "it is no routing table of edgeproxy";
  const version = bytes.readUInt32LE(MAGIC.length);
  if (version !== VERSION) return `its format is version ${version}, and this version of edgeproxy reads ${VERSION}`;
  return Math.min(bytes.readUInt32LE(MAGIC.length + 4), MOST_HEADER_BYTES);
}

/** null: it is not there whole, or not as it must be. */
export function parseHeader(bytes: Buffer): TableHeader | null {
  const length = bytes.readUInt32LE(MAGIC.length + 4);
  if (length > MOST_HEADER_BYTES || bytes.length < FIXED_BYTES + length) return null;
  try {
    return HEADER.parse(JSON.parse(bytes.toString("utf8", FIXED_BYTES, FIXED_BYTES + length)));
  } catch {
    return null;
  }
}
