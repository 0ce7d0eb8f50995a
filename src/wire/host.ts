/** The host of a request: one spelling per host, or nothing at all. */
import { isIPv6 } from "node:net";

/** Longest host name in bytes (RFC 1035, 2.3.4), without the trailing dot. */
export const MAX_NAME_LENGTH = 253;

/**
 * The host of a Host field or authority (`host [":" port]`, RFC 9110, 4.2.3), normalised; null when malformed: user
 * information, a list, a path, characters no host name has, a port that is no number up to 65535, or nothing at all.
 */
export function normaliseHost(authority: string): string | null {
  let end = authority.length;
  if (authority.charCodeAt(0) === 0x5b) return normaliseIpv6Authority(authority);
  let lower = true;
  for (let i = 0; i < end; i++) {
    const c = authority.charCodeAt(i);
    if (c === 0x3a) {
      if (!isPort(authority, i + 1)) return null;
      end = i;
    } else if (c >= 0x41 && c <= 0x5a) lower = false;
    else if (!isNameByte(c)) return null;
  }
  if (end > 0 && authority.charCodeAt(end - 1) === 0x2e) end--;
  if (end === 0 || end > MAX_NAME_LENGTH || authority.charCodeAt(end - 1) === 0x2e || authority.charCodeAt(0) === 0x2e) return null;
  const host = end === authority.length ? authority : authority.slice(0, end);
  return lower ? host : host.toLowerCase();
}

/** a-z 0-9 - . and _, which real customer names have. */
function isNameByte(c: number): boolean {
  return (c >= 0x61 && c <= 0x7a) || (c >= 0x30 && c <= 0x39) || c === 0x2d || c === 0x2e || c === 0x5f;
}

/** Empty ports are allowed by the grammar (RFC 3986, 3.2.3). */
function isPort(text: string, from: number): boolean {
  if (text.length - from > 5) return false;
  let value = 0;
  for (let i = from; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c < 0x30 || c > 0x39) return false;
    value = value * 10 + (c - 0x30);
  }
  return value <= 65_535;
}

function normaliseIpv6Authority(authority: string): string | null {
  const close = authority.indexOf("]");
  if (close < 0 || !isIPv6(authority.slice(1, close)) || authority.includes("%")) return null;
  if (close + 1 < authority.length && (authority.charCodeAt(close + 1) !== 0x3a || !isPort(authority, close + 2))) return null;
  return canonicalIpv6(authority.slice(1, close));
}

/** One spelling per address: `[::1]` also for `0:0::0001`. */
export function canonicalIpv6(address: string): string {
  return new URL(`http://[${address}]/`).hostname;
}
