/*  Changes that somebody wishes for in the fields of a message on its way: names that are left out, and lines that are added behind
 *  what stays. What is set is both.
 *
 *  Names are compared as CGI, WSGI, Rack and PHP read them: in any case, `_` for `-`. Otherwise a client could send `X_Gateway` beside
 *  the `X-Gateway` that an operator sets, and the application might see the client's.
 *
 *  What frames a message, belongs to one connection, or says who the client is and which way a request has come, is the proxy's own and
 *  cannot be edited: a mistake there is no wrong field but a smuggled request, or a client that claims to be another. But one fixed Host
 *  can be set, for servers that know themselves by another name.
 */
import { TOKEN_BYTES, VALUE_BYTES } from "./bytes.ts";
import type { HeaderList } from "./header-list.ts";

export type Direction = "request" | "response";

/** Of one message. */
export interface FieldChanges {
  /** Which are not passed on; null: none of them. */
  readonly dropped: FieldNames | null;
  /** Added behind the others: one after the other these are lines, each with its CRLF; one character is one byte. */
  readonly lines: readonly string[];
  /** Among them is the Host field. */
  readonly host: boolean;
}

/** As a name is compared: lower-case, `-` for `_`. */
const FOLDED: Uint8Array = Uint8Array.from({ length: 256 }, (_, c) => c >= 0x41 && c <= 0x5a ? c | 0x20 : c === 0x5f ? 0x2d : c);

/** A set of names, looked up by the bytes of a head without making strings. */
export class FieldNames {
  /** Folded names by their length. */
  readonly #byLength: (Uint8Array[] | undefined)[] = [];

  constructor(names: readonly string[]) {
    for (const name of names) {
      const folded = Uint8Array.from(name, (c) => FOLDED[c.charCodeAt(0) & 0xff]!);
      (this.#byLength[name.length] ??= []).push(folded);
    }
  }

  /** Whether field `index` has one of these names. */
  has(fields: HeaderList, index: number): boolean {
    const start = fields.start(index);
    const names = this.#byLength[fields.nameEnd(index) - start];
    if (names === undefined) return false;
    for (let i = 0; i < names.length; i++) if (isAt(fields.bytes, start, names[i]!)) return true;
    return false;
  }
}

function isAt(bytes: Buffer, start: number, folded: Uint8Array): boolean {
  for (let i = 0; i < folded.length; i++) {
    if (FOLDED[bytes[start + i]!] !== folded[i]) return false;
  }
  return true;
}

/** One line with its CRLF; bytes that no field value may hold are left out, so that nothing can begin another line. */
export function fieldLine(name: string, value: string): string {
  return `${name}: ${safeValue(value)}\r\n`;
}

/** `text` as bytes of a field value, one character each: what is beyond Latin-1 has to be encoded before. */
export function safeValue(text: string): string {
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c > 0xff || VALUE_BYTES[c] === 0) return Array.from(text).filter(isValueByte).join("").trim();
  }
  return text;
}

function isValueByte(character: string): boolean {
  const c = character.charCodeAt(0);
  return c <= 0xff && VALUE_BYTES[c] === 1;
}

/** Text as it goes on the wire: one character for each byte of its UTF-8. */
export function utf8Bytes(text: string): string {
  return /^[\0-\x7f]*$/.test(text) ? text : Buffer.from(text, "utf8").toString("latin1");
}

const BOTH = [
  "connection keep-alive proxy-connection te transfer-encoding upgrade http2-settings content-length trailer x-request-id",
];
const OWN: Readonly<Record<Direction, ReadonlySet<string>>> = {
  request: new Set([
    ...words(BOTH),
    ...words([
      "host expect via forwarded x-forwarded-for x-forwarded-proto x-forwarded-host x-real-ip traceparent tracestate",
      "x-edgeproxy-decided",
    ]),
  ]),
  response: new Set(words(BOTH)),
};

function words(texts: readonly string[]): string[] {
  return texts.flatMap((text) => text.split(" "));
}

export function isHostField(direction: Direction, name: string): boolean {
  return direction === "request" && name.toLowerCase() === "host";
}

/** Why a field of that name cannot be set, added or removed; null: it can. */
export function whyUneditable(direction: Direction, name: string): string | null {
  if (name === "" || Array.from(name).some((c) => c.charCodeAt(0) > 0x7f || TOKEN_BYTES[c.charCodeAt(0)] === 0)) {
    return "is no field name";
  }
  const folded = name.toLowerCase().replaceAll("_", "-");
  if (OWN[direction].has(folded)) return "is the proxy's own and cannot be edited";
  if (direction === "response" && folded.startsWith("x-edgeproxy-")) return "is the proxy's own and cannot be edited";
  return null;
}
