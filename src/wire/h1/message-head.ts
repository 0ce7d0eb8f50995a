/** What a parsed head holds, for requests and responses; and how one is refused. */
import { HeaderList } from "../header-list.ts";

/** The buffer ends within the head. */
export const NEED_MORE = 0;
/** Malformed or ambiguous. */
export const REFUSED = -1;

/** How a head was refused; the names are the contract's error codes. */
export type HeadRefusal = "bad_request" | "head_too_large" | "target_too_long" | "unsupported_coding";

export interface HeadLimits {
  /** Start line and fields with their line ends, in bytes. */
  readonly maxHeadBytes: number;
  readonly maxFields: number;
  /** Request target in bytes. */
  readonly maxTargetBytes: number;
}

export const MAX_FIELDS = 128;
export const MAX_TARGET_BYTES = 8192;

const NO_BYTES = Buffer.alloc(0);
/** Memory for heads that a resting connection may hold. */
const RESTING_BYTES = 1024;

/** Rounded up, so that heads that grow a little from one request to the next need no other. */
function memoryFor(length: number): number {
  return length <= RESTING_BYTES ? Math.ceil(length / 256) * 256 : Math.ceil(length / 4096) * 4096;
}

/** What both kinds of heads have. */
export class MessageHead {
  readonly fields: HeaderList = new HeaderList();
  /** Where the start line lies in `fields.bytes`. */
  start = 0;
  /** Minor version of HTTP/1: 0 or 1. */
  minor = 1;
  /** Content-Length, or -1 without one. */
  contentLength = -1;
  chunked = false;
  /** Connection options. */
  close = false;
  keepAlive = false;
  upgrade = false;
  /** Lower-case field names that Connection nominates besides the options above; null when none. */
  nominated: string[] | null = null;
  refusal: HeadRefusal = "bad_request";
  problem = "";

  clear(bytes: Buffer): void {
    this.fields.clear(bytes);
    this.minor = 1;
    this.contentLength = -1;
    this.chunked = false;
    this.close = false;
    this.keepAlive = false;
    this.upgrade = false;
    this.nominated = null;
  }

  refuse(problem: string, refusal: HeadRefusal = "bad_request"): typeof REFUSED {
    this.problem = problem;
    this.refusal = refusal;
    return REFUSED;
  }
}

/** A request's start line and fields; used again for the next request of its connection. */
export class RequestHead extends MessageHead {
  method = "";
  /** As received, byte for byte. */
  target = "";
  /** Where the origin-form of the target lies in `fields.bytes`: all of it, or what follows the authority of an absolute-form. */
  pathStart = 0;
  pathEnd = 0;
  /** The authority of an absolute-form target, else the value of Host; empty when there is none (HTTP/1.0). */
  authority = "";
  /** The Host of the request before on this connection: usually the same, so no string need be made. */
  lastAuthority = "";
  /** Expect: 100-continue. */
  expectsContinue = false;
  /** TE contains trailers. */
  acceptsTrailers = false;
  /** Where the head lies while its exchange runs; used again for the next. */
  #memory: Buffer = NO_BYTES;

  /** What an origin server is asked for: where an absolute-form has no path, `/`, or `*` for OPTIONS (RFC 9112, 3.2.1 and 3.2.4). */
  get originForm(): string {
    const { target } = this;
    if (target.startsWith("/")) return target;
    const path = target.slice(target.length - (this.pathEnd - this.pathStart));
    if (path === "") return this.method === "OPTIONS" ? "*" : "/";
    return path.startsWith("?") ? `/${path}` : path;
  }

  /** Moves the head out of the buffer it was received in, which is about to be used again. */
  keep(): void {
    const { fields, start } = this;
    const length = fields.end + 2 - start;
    if (this.#memory.length < length) this.#memory = Buffer.allocUnsafeSlow(memoryFor(length));
    fields.bytes.copy(this.#memory, 0, start, start + length);
    fields.move(this.#memory, start);
    this.pathStart -= start;
    this.pathEnd -= start;
    this.start = 0;
  }

  /** Its connection rests: nothing is held that a usual head would not need again. */
  rest(): void {
    this.fields.clear(NO_BYTES);
    if (this.#memory.length > RESTING_BYTES) this.#memory = NO_BYTES;
  }

  /** Whether the value of field `index` is `lastAuthority`, byte for byte. */
  repeats(index: number): boolean {
    const { fields, lastAuthority } = this;
    const start = fields.valueStart(index);
    if (fields.valueEnd(index) - start !== lastAuthority.length) return false;
    for (let i = 0; i < lastAuthority.length; i++) {
      if (fields.bytes[start + i] !== lastAuthority.charCodeAt(i)) return false;
    }
    return true;
  }

  override clear(bytes: Buffer): void {
    super.clear(bytes);
    this.method = "";
    this.target = "";
    this.authority = "";
    this.expectsContinue = false;
    this.acceptsTrailers = false;
  }
}

/** A response's start line and fields. */
export class ResponseHead extends MessageHead {
  /** 100 to 999. */
  status = 0;
  /** Where the status code and the reason phrase lie in `fields.bytes`. */
  statusStart = 0;
  reasonEnd = 0;

  override clear(bytes: Buffer): void {
    super.clear(bytes);
    this.status = 0;
  }
}
