/** What node:http cannot read though HTTP allows it, replaced by something that it can read, so that the rest is compared. */
import type { Reading, ReadMessage } from "./our-reading.ts";

/** Methods that node:http knows; others it refuses whatever the rest says. */
const KNOWN_METHODS: ReadonlySet<string> = new Set(
  ("DELETE GET HEAD POST PUT OPTIONS TRACE COPY LOCK MKCOL MOVE PROPFIND PROPPATCH SEARCH UNLOCK BIND REBIND UNBIND ACL REPORT MKACTIVITY " +
    "CHECKOUT MERGE M-SEARCH NOTIFY SUBSCRIBE UNSUBSCRIBE PATCH PURGE MKCALENDAR LINK UNLINK").split(" "),
);

/** Stands for methods that node:http does not know: it has a fixed list, RFC 9110, 9.1 has none. */
const ANY_METHOD = "REPORT";
/** Stands for bytes above 0x7f in targets, which llhttp refuses and users of browsers type. */
const ANY_TARGET_BYTE = "%";
/** Stands for the field name Upgrade: behind a wish for another protocol llhttp reads no more, and we do until it is granted. */
export const ANY_NAME = "Xpgrade";

/** The same bytes with heads that node:http reads whole. */
export function readableStream(bytes: Buffer, ours: Reading): string {
  let text = bytes.toString("latin1");
  for (const message of ours.messages.toReversed()) {
    const { at, start, text: target } = message;
    const head = headOf(bytes, message);
    const fields = head.slice(start.length + 1 + target.length).replaceAll(/(?<=\r\n)upgrade(?=:)/gi, ANY_NAME);
    text = `${text.slice(0, at)}${readableMethod(start)} ${plainTarget(target)}${fields}${text.slice(at + head.length)}`;
  }
  return text;
}

export function headOf(bytes: Buffer, { at }: ReadMessage): string {
  return bytes.toString("latin1", at, bytes.indexOf("\r\n\r\n", at) + 4);
}

export function plainTarget(target: string): string {
  return target.replaceAll(/[\x80-\xff]/g, ANY_TARGET_BYTE);
}

export function plainName(name: string): string {
  return name.toLowerCase() === "upgrade" ? ANY_NAME : name;
}

export function readableMethod(method: string): string {
  return KNOWN_METHODS.has(method) ? method : ANY_METHOD;
}
