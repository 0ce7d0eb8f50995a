/** Request ids: 32 hexadecimal digits, unique and cheap. They identify, they are not secret. */
import { randomBytes } from "node:crypto";

const COUNT = 1 << 24;
let prefix = "";
let counter = COUNT - 1;

/** The hexadecimal digits of 0 to 4095, three each. */
const TRIPLES: readonly string[] = Array.from({ length: 4096 }, (_, n) => n.toString(16).padStart(3, "0"));

/** 26 random digits, drawn anew every 16 million ids, and 6 that count. */
export function nextRequestId(): string {
  if (++counter === COUNT) {
    counter = 0;
    prefix = randomBytes(13).toString("hex");
  }
  return prefix + TRIPLES[counter >>> 12]! + TRIPLES[counter & 0xfff]!;
}

/** What we keep of a trusted peer's id: up to 128 characters that are safe in fields, logs and pages; else null. */
export function acceptableRequestId(value: string): string | null {
  return /^[\w.:=+/@-]{1,128}$/.test(value) ? value : null;
}
