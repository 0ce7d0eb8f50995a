/*  W3C Trace Context, read: which trace a request belongs to.
 *
 *      traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01
 *                   |  |                                |                |
 *                   |  trace id (not all zero)          parent id (same) flags
 *                   version: never ff; above 00 more may follow, after a dash
 *
 *  Letters are lower-case only. A field that is not exactly so counts as none, and so do several (Trace Context, 3.2); a tracestate
 *  means nothing without its traceparent.
 */
import { FieldKind, type HeaderList } from "./header-list.ts";

const VERSION_END = 2;
const TRACE_ID_START = 3;
const TRACE_ID_END = 35;
const PARENT_ID_START = 36;
const PARENT_ID_END = 52;
const FLAGS_START = 53;
/** Of version 00; the least of all later ones. */
const LENGTH = 55;

export const SAMPLED = 0x01;
/** The trace id's last 7 bytes are random (Level 2). */
export const RANDOM = 0x02;

const DASH = 0x2d;
const ZERO = 0x30;

/** What a valid traceparent says. */
export interface TraceParent {
  readonly traceId: string;
  readonly parentId: string;
  readonly flags: number;
}

/** Where the value of the only traceparent begins in `fields.bytes`, when it is valid; else -1. */
export function traceparentAt(fields: HeaderList): number {
  if (!fields.has(FieldKind.Traceparent)) return -1;
  let found = -1;
  for (let i = 0; i < fields.count; i++) {
    if (fields.kinds[i] !== FieldKind.Traceparent) continue;
    if (found >= 0) return -1;
    found = i;
  }
  const start = fields.valueStart(found);
  return isTraceparent(fields.bytes, start, fields.valueEnd(found)) ? start : -1;
}

/** `start` as from `traceparentAt`. */
export function traceIdAt(bytes: Buffer, start: number): string {
  return bytes.toString("latin1", start + TRACE_ID_START, start + TRACE_ID_END);
}

/** `start` as from `traceparentAt`. */
export function traceParent(bytes: Buffer, start: number): TraceParent {
  return {
    traceId: traceIdAt(bytes, start),
    parentId: bytes.toString("latin1", start + PARENT_ID_START, start + PARENT_ID_END),
    flags: Number.parseInt(bytes.toString("latin1", start + FLAGS_START, start + LENGTH), 16),
  };
}

/** Whether a trace may have this id: 32 lower-case hexadecimal digits, not all of them zero. */
export function isTraceId(text: string): boolean {
  return /^(?!0+$)[0-9a-f]{32}$/.test(text);
}

function isTraceparent(bytes: Buffer, start: number, end: number): boolean {
  const length = end - start;
  if (length < LENGTH) return false;
  for (const dash of [VERSION_END, TRACE_ID_END, PARENT_ID_END]) if (bytes[start + dash] !== DASH) return false;
  if (!isHex(bytes, start, start + VERSION_END) || !isHex(bytes, start + FLAGS_START, start + LENGTH)) return false;
  if (!isId(bytes, start + TRACE_ID_START, start + TRACE_ID_END)) return false;
  if (!isId(bytes, start + PARENT_ID_START, start + PARENT_ID_END)) return false;
  const version = Number.parseInt(bytes.toString("latin1", start, start + VERSION_END), 16);
  if (version === 0xff) return false;
  return length === LENGTH || (version > 0 && bytes[start + LENGTH] === DASH);
}

function isHex(bytes: Buffer, start: number, end: number): boolean {
  for (let i = start; i < end; i++) {
    const c = bytes[i]!;
    if (!((c >= ZERO && c <= 0x39) || (c >= 0x61 && c <= 0x66))) return false;
  }
  return true;
}

function isId(bytes: Buffer, start: number, end: number): boolean {
  if (!isHex(bytes, start, end)) return false;
  for (let i = start; i < end; i++) if (bytes[i] !== ZERO) return true;
  return false;
}
