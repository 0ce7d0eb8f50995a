/** `hashtext` as PostgreSQL computes it (Bob Jenkins' lookup3 over the bytes of the text), where the server is little-endian and speaks UTF-8. */

const BEGIN = 0x9e3779b9 + 3923095;
const encoder = new TextEncoder();
let bytes = new Uint8Array(1024);

/** Unsigned. */
export function hashText(text: string): number {
  const length = encode(text);
  let a = BEGIN + length | 0, b = a, c = a;
  let at = 0;
  for (; length - at >= 12; at += 12) {
    a = a + wordAt(at) | 0;
    b = b + wordAt(at + 4) | 0;
    c = c + wordAt(at + 8) | 0;
    a = a - c ^ rotate(c, 4);
    c = c + b | 0;
    b = b - a ^ rotate(a, 6);
    a = a + c | 0;
    c = c - b ^ rotate(b, 8);
    b = b + a | 0;
    a = a - c ^ rotate(c, 16);
    c = c + b | 0;
    b = b - a ^ rotate(a, 19);
    a = a + c | 0;
    c = c - b ^ rotate(b, 4);
    b = b + a | 0;
  }
  for (let place = 0; at < length; at++, place++) {
    const byte = bytes[at]!;
    if (place < 4) a = a + (byte << 8 * place) | 0;
    else if (place < 8) b = b + (byte << 8 * (place - 4)) | 0;
    // The lowest byte of `c` is left to the length
    else c = c + (byte << 8 * (place - 7)) | 0;
  }
  c = (c ^ b) - rotate(b, 14) | 0;
  a = (a ^ c) - rotate(c, 11) | 0;
  b = (b ^ a) - rotate(a, 25) | 0;
  c = (c ^ b) - rotate(b, 16) | 0;
  a = (a ^ c) - rotate(c, 4) | 0;
  b = (b ^ a) - rotate(a, 14) | 0;
  c = (c ^ b) - rotate(b, 24) | 0;
  return c >>> 0;
}

function encode(text: string): number {
  if (bytes.length < text.length * 3) bytes = new Uint8Array(text.length * 6);
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code > 0x7f) return encoder.encodeInto(text, bytes).written;
    bytes[i] = code;
  }
  return text.length;
}

function wordAt(at: number): number {
  return bytes[at]! | bytes[at + 1]! << 8 | bytes[at + 2]! << 16 | bytes[at + 3]! << 24;
}

function rotate(word: number, by: number): number {
  return word << by | word >>> 32 - by;
}
