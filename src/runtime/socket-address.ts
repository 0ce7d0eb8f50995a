/** IP addresses and ports as the kernel has them (`struct sockaddr_in`, `sockaddr_in6`). */
import { type Libc, SOCKET } from "./libc.ts";

/** `sockaddr_in6`; the IPv4 one is shorter. */
export const ADDRESS_BYTES = 28;
const V4_AT = 4, V6_AT = 8;
const TEXT_BYTES = 46;

/** The address as the kernel wants it, or null when `host` is no IP literal. */
export function encodeAddress(libc: Libc, host: string, port: number): { family: number; bytes: Uint8Array } | null {
  const family = host.includes(":") ? SOCKET.INET6 : SOCKET.INET;
  const bytes = new Uint8Array(family === SOCKET.INET ? 16 : ADDRESS_BYTES);
  bytes[0] = family;
  bytes[2] = port >> 8;
  bytes[3] = port & 0xff;
  const address = bytes.subarray(family === SOCKET.INET ? V4_AT : V6_AT);
  return libc.parseAddress(family, Buffer.from(`${host}\0`), address) === 1 ? { family, bytes } : null;
}

export function portOf(bytes: Uint8Array): number {
  return bytes[2]! << 8 | bytes[3]!;
}

/** As text; an IPv4 client of a dual-stack listener shows as IPv4. */
export function hostOf(libc: Libc, bytes: Uint8Array): string {
  if (bytes[0] === SOCKET.INET) return dotted(bytes, V4_AT);
  if (isMapped(bytes)) return dotted(bytes, V6_AT + 12);
  const text = Buffer.alloc(TEXT_BYTES);
  libc.formatAddress(SOCKET.INET6, bytes.subarray(V6_AT), text, TEXT_BYTES);
  return text.toString("latin1", 0, text.indexOf(0));
}

function dotted(bytes: Uint8Array, at: number): string {
  return `${bytes[at]}.${bytes[at + 1]}.${bytes[at + 2]}.${bytes[at + 3]}`;
}

/** ::ffff:a.b.c.d */
function isMapped(bytes: Uint8Array): boolean {
  for (let i = V6_AT; i < V6_AT + 10; i++) if (bytes[i] !== 0) return false;
  return bytes[V6_AT + 10] === 0xff && bytes[V6_AT + 11] === 0xff;
}

/** `struct sockaddr_un` of a path, or of a name in the abstract name space if it begins with `@`; as long as it has to be. */
export function encodeUnix(path: string): Uint8Array {
  const name = Buffer.from(path.startsWith("@") ? `\0${path.slice(1)}` : `${path}\0`);
  const bytes = new Uint8Array(2 + name.length);
  bytes[0] = SOCKET.UNIX;
  bytes.set(name, 2);
  return bytes;
}
