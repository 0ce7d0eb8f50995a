/*  The last good table becomes a file (`last-good-format`) and comes out of one again, piece by piece; no disk here.
 *
 *  A file is believed whole or not at all, and only when its checksum is right: a flipped bit in the header must not look like a file of
 *  another region. So reading goes on to the end whatever it meets, and what it met is told only of a file that is as it was written.
 */
import { createHash, type Hash } from "node:crypto";
import { isIP } from "node:net";
import { piecesInSlices } from "../runtime/in-slices.ts";
import { isNormalisedDomain } from "../table/host-name.ts";
import { endpointKey, type EndpointRecord } from "../table/record.ts";
import { type Routes, RoutesDraft } from "../table/routes.ts";
import type { Service, Services } from "../table/services.ts";
import {
  CHECKSUM_BYTES,
  FIXED_BYTES,
  formatOf,
  KIND_REGION,
  KIND_VM,
  MAGIC,
  parseHeader,
  REGION_BYTES,
  type TableHeader,
  VERSION,
} from "./last-good-format.ts";

/** A million domains are 37 MB. */
export const MOST_FILE_BYTES: number = 2 ** 30;
/** What is written or taken in at a time: some 900 routes, half a millisecond. */
export const PIECE_BYTES: number = 32 * 1024;
/** Of a service; nobody has as many. */
const MOST_ENDPOINTS = 0xffff;
const MOST_ROUTE_BYTES = 1 + 255 + 4;
const MOST_ENDPOINT_BYTES = 2 + 45 + 2 + REGION_BYTES;
const DAMAGED_HEADER = "it has no readable header";

export interface SavedTable {
  readonly header: TableHeader;
  readonly routes: Routes;
}

/** The file, piece by piece; a piece is valid until the next is asked for. */
export function* encodeTable(header: Omit<TableHeader, "routes">, routes: Routes): Generator<Uint8Array, void> {
  const pieces = new PieceWriter();
  yield pieces.begin({ ...header, routes: routes.size });
  const indexes = new Map<Service, number>();
  for (const [host, service] of routes.entries()) {
    let index = indexes.get(service);
    if (index === undefined) {
      indexes.set(service, index = indexes.size);
      yield* pieces.service(service.endpoints.slice(0, MOST_ENDPOINTS));
    }
    if (!pieces.hasRoom(MOST_ROUTE_BYTES)) yield pieces.take();
    pieces.route(host, index);
  }
  yield pieces.take();
  yield pieces.checksum();
}

class PieceWriter {
  readonly #buffer = Buffer.allocUnsafe(PIECE_BYTES);
  readonly #hash: Hash = createHash("sha256");
  #end = 0;

  begin(header: TableHeader): Uint8Array {
    const json = Buffer.from(JSON.stringify(header), "utf8");
    this.#end = MAGIC.copy(this.#buffer);
    this.#end = this.#buffer.writeUInt32LE(VERSION, this.#end);
    this.#end = this.#buffer.writeUInt32LE(json.length, this.#end);
    this.#end += json.copy(this.#buffer, this.#end);
    return this.take();
  }

  hasRoom(bytes: number): boolean {
    return this.#end + bytes <= PIECE_BYTES;
  }

  take(): Uint8Array {
    const piece = this.#buffer.subarray(0, this.#end);
    this.#hash.update(piece);
    this.#end = 0;
    return piece;
  }

  checksum(): Uint8Array {
    return this.#hash.digest();
  }

  route(host: string, index: number): void {
    this.#text(host);
    this.#end = this.#buffer.writeUInt32LE(index, this.#end);
  }

  *service(endpoints: readonly EndpointRecord[]): Generator<Uint8Array, void> {
    if (!this.hasRoom(3)) yield this.take();
    this.#buffer[this.#end++] = 0;
    this.#end = this.#buffer.writeUInt16LE(endpoints.length, this.#end);
    for (const { kind, address, port, region } of endpoints) {
      if (!this.hasRoom(MOST_ENDPOINT_BYTES)) yield this.take();
      this.#buffer[this.#end++] = kind === "vm" ? KIND_VM : KIND_REGION;
      this.#text(address);
      this.#end = this.#buffer.writeUInt16LE(port, this.#end);
      if (kind === "region") this.#end += this.#buffer.write(region, this.#end, REGION_BYTES, "latin1");
    }
  }

  #text(text: string): void {
    this.#buffer[this.#end++] = text.length;
    this.#end += this.#buffer.write(text, this.#end, "latin1");
  }
}

/** Takes a file in, piece by piece. */
export class TableReader {
  readonly #here: { readonly regionId: string; readonly regionPort: number };
  readonly #services: Services;
  readonly #hash: Hash = createHash("sha256");
  readonly #draft = new RoutesDraft();
  readonly #known: Service[] = [];
  /** Where the checksum begins. */
  readonly #contentBytes: number;
  #seen = 0;
  #rest: Buffer = Buffer.alloc(0);
  #checksum: Buffer = Buffer.alloc(0);
  #header: TableHeader | null = null;
  #routes = 0;
  /** The first thing that is wrong with what was read; nothing is taken in any more. */
  #problem: string | null = null;

  constructor(fileBytes: number, here: { readonly regionId: string; readonly regionPort: number }, services: Services) {
    this.#contentBytes = fileBytes - CHECKSUM_BYTES;
    this.#here = here;
    this.#services = services;
  }

  push(piece: Uint8Array): void {
    const content = piece.subarray(0, Math.max(0, this.#contentBytes - this.#seen));
    this.#seen += piece.length;
    this.#hash.update(content);
    this.#checksum = Buffer.concat([this.#checksum, piece.subarray(content.length)]);
    if (this.#problem === null) this.#take(Buffer.concat([this.#rest, content]));
  }

  /** What the file says, or why it is not to be believed. */
  async finish(): Promise<SavedTable | string> {
    // What another format has at its end is not ours to check
    if (this.#header === null && this.#problem !== null && this.#problem !== DAMAGED_HEADER) return this.#problem;
    if (!this.#hash.digest().equals(this.#checksum)) return "it is torn or damaged: its checksum does not match";
    if (this.#problem !== null) return this.#problem;
    if (this.#header === null) return DAMAGED_HEADER;
    if (this.#routes !== this.#header.routes) return `it has ${this.#routes} routes and should have ${this.#header.routes}`;
    if (this.#rest.length > 0) return "it goes on behind its last route";
    const routes = await piecesInSlices(this.#draft.finishing());
    return routes.size === this.#routes ? { header: this.#header, routes } : "it has a host twice";
  }

  #take(bytes: Buffer): void {
    let from = 0;
    if (this.#header === null) {
      if (bytes.length < FIXED_BYTES && this.#seen < this.#contentBytes) return void (this.#rest = bytes);
      const format = formatOf(bytes);
      if (typeof format === "string") return void (this.#problem = format);
      if (bytes.length < FIXED_BYTES + format && this.#seen < this.#contentBytes) return void (this.#rest = bytes);
      this.#takeHeader(bytes);
      from = FIXED_BYTES + format;
    }
    const records = new RecordReader(bytes, from);
    while (this.#problem === null && this.#takeRecord(records)) from = records.at;
    this.#rest = bytes.subarray(from);
  }

  #takeHeader(bytes: Buffer): void {
    const header = parseHeader(bytes);
    if (header === null) return void (this.#problem = DAMAGED_HEADER);
    const { regionId, regionPort } = this.#here;
    this.#header = header;
    if (header.region !== regionId) this.#problem = `it is of region ${JSON.stringify(header.region)}, not of this one`;
    else if (header.regionPort !== regionPort) {
      this.#problem = `it is for EDGEPROXY_REGION_PORT ${header.regionPort}, which now is ${regionPort}`;
    } else if (header.routes * (1 + 1 + 4) > this.#contentBytes) {
      this.#problem = `it cannot have as many as ${header.routes} routes`;
    }
  }

  /** Whether it was there whole. */
  #takeRecord(records: RecordReader): boolean {
    const length = records.byte();
    if (length === 0) return this.#takeService(records);
    const host = records.text(length);
    const index = records.u32();
    if (records.short) return false;
    const service = this.#known[index];
    if (service === undefined) this.#problem = `its host ${JSON.stringify(host)} leads nowhere`;
    else if (!isNormalisedDomain(host)) this.#problem = `${JSON.stringify(host)} in it is no normalised host name`;
    else {
      this.#routes++;
      this.#draft.put(host, service);
    }
    return true;
  }

  #takeService(records: RecordReader): boolean {
    const count = records.u16();
    const endpoints: EndpointRecord[] = [];
    for (let i = 0; i < count && !records.short; i++) {
      const kind = records.byte();
      const address = records.text(records.byte());
      const port = records.u16();
      const region = kind === KIND_REGION ? records.text(REGION_BYTES) : this.#here.regionId;
      if (!records.short) endpoints.push(this.#endpoint(kind, address, port, region));
      if (this.#problem !== null) return true;
    }
    if (records.short) return false;
    if (count === 0) this.#problem = "it has a service without an endpoint";
    else this.#known.push(this.#services.of(endpoints));
    return true;
  }

  #endpoint(code: number, address: string, port: number, region: string): EndpointRecord {
    const kind = code === KIND_VM ? "vm" : "region";
    const isOurs = region === this.#here.regionId;
    if (isIP(address) === 0 || address.includes("%") || port === 0 || (code !== KIND_VM && code !== KIND_REGION)) {
      this.#problem = `it has an endpoint that cannot be: ${JSON.stringify(`${kind} ${address} port ${port}`)}`;
    } else if (isOurs !== (kind === "vm") || (kind === "region" && port !== this.#here.regionPort)) {
      this.#problem = `its endpoint ${address} port ${port} in region ${JSON.stringify(region)} cannot be seen from here`;
    }
    return { key: endpointKey(kind, address, port), kind, address, port, region };
  }
}

/** Numbers and texts one after the other; beyond the end they are 0 and empty, and `short` says so. */
class RecordReader {
  readonly #bytes: Buffer;
  at: number;
  short = false;

  constructor(bytes: Buffer, at: number) {
    this.#bytes = bytes;
    this.at = at;
  }

  byte(): number {
    const value = this.#bytes[this.#skip(1)];
    return value ?? 0;
  }

  u16(): number {
    const from = this.#skip(2);
    return this.short ? 0 : this.#bytes.readUInt16LE(from);
  }

  u32(): number {
    const from = this.#skip(4);
    return this.short ? 0 : this.#bytes.readUInt32LE(from);
  }

  text(length: number): string {
    const from = this.#skip(length);
    return this.short ? "" : this.#bytes.toString("latin1", from, from + length);
  }

  #skip(length: number): number {
    const from = this.at;
    this.at += length;
    if (this.at > this.#bytes.length) this.short = true;
    return from;
  }
}
