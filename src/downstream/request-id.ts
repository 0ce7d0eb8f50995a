/** Request ids: 32 hexadecimal digits, unique and cheap. They identify, they are not secret. */
import { randomBytes } from "node:crypto";

const COUNT = 1 << 24;
let counter = COUNT - 1;
/** What of an id stays the same for 16 million of them, and for 4096. */
let start = "";
let random = "";
let end = "";

/** The hexadecimal digits of 0 to 4095, three each, so that what follows a number is far from it. */
const TRIPLES: readonly string[] = Array.from({ length: 4096 }, (_, n) => ((n * 2531) & 0xfff).toString(16).padStart(3, "0"));

/**
 * 16 random digits, 6 that count, 10 random ones; the random ones are drawn anew every 16 million ids. They may be ids of traces: VMs that
 * sample by the numeric value of the last 16 digits find them evenly spread, and those digits alone are an id for a span.
 */
export function nextRequestId(): string {
  counter++;
  if ((counter & 0xfff) === 0) startBlock();
  return start + TRIPLES[counter & 0xfff]! + end;
}

function startBlock(): void {
  if (counter === COUNT) {
    counter = 0;
    random = randomBytes(13).toString("hex");
    start = random.slice(0, 16);
  }
  end = TRIPLES[counter >>> 12]! + random.slice(16);
}

/** The part of a request id that no other has. */
export function nextSpanId(): string {
  return nextRequestId().slice(16);
}

/** What we keep of a trusted peer's id: up to 128 characters that are safe in fields, logs and pages; else null. */
export function acceptableRequestId(value: string): string | null {
  return /^[\w.:=+/@-]{1,128}$/.test(value) ? value : null;
}
