/*  A row's domain name, as a request's Host is compared with it (wire/host): lower case, no trailing dot, IDN as punycode,
 *  IPv6 literals in brackets.
 */
import { domainToASCII } from "node:url";
import { isIPv4, isIPv6 } from "node:net";
import { canonicalIpv6, MAX_NAME_LENGTH } from "../wire/host.ts";

const MAX_LABEL_LENGTH = 63;
const DASH = 0x2d;
const DOT = 0x2e;
const OPEN = 0x5b;
const LABEL = /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$/;

/** A row's domain name (also `*.example.com`, Unicode names, IP literals), normalised; null when it is no host name. */
export function normaliseDomain(name: string): string | null {
  let domain = name.trim().toLowerCase();
  if (domain.endsWith(".")) domain = domain.slice(0, -1);
  if (isIPv4(domain)) return domain;
  const bare = domain.startsWith("[") && domain.endsWith("]") ? domain.slice(1, -1) : domain;
  if (isIPv6(bare)) return canonicalIpv6(bare);
  const wildcard = domain.startsWith("*.");
  let rest = wildcard ? domain.slice(2) : domain;
  // deno-lint-ignore no-control-regex -- the whole ASCII range
  if (!/^[\x00-\x7f]*$/.test(rest)) rest = punycode(rest);
  if (rest === "" || rest.length > MAX_NAME_LENGTH || !rest.split(".").every((label) => LABEL.test(label))) return null;
  return wildcard ? `*.${rest}` : rest;
}

/** "" when it is no name. Bun takes the text for a part of a URL: "bücher.test/x" would be bücher.test, and "①.②.③.④" an address. */
function punycode(name: string): string {
  // deno-lint-ignore no-control-regex -- ASCII is excluded but for what names are made of
  if (/(?![a-z0-9._-])[\x00-\x7f]/.test(name)) return "";
  const ascii = domainToASCII(name);
  return /[^.0-9][^.]*$/.test(ascii) && !isIPv4(ascii) ? ascii : "";
}

/**
 * Whether `normaliseDomain` would leave it as it is; quick for the usual names, of which there may be a million. The host may be a part
 * of a longer text: its characters [start, end).
 */
export function isNormalisedDomain(text: string, start = 0, end: number = text.length): boolean {
  const from = text.startsWith("*.", start) && end - start >= 2 ? start + 2 : start;
  if (end === from || end - from > MAX_NAME_LENGTH) return false;
  let label = 0;
  for (let i = from; i <= end; i++) {
    const c = i < end ? text.charCodeAt(i) : DOT;
    if (c === DOT) {
      if (label === 0 || label > MAX_LABEL_LENGTH || text.charCodeAt(i - 1) === DASH) return false;
      label = 0;
    } else if ((c >= 0x61 && c <= 0x7a) || (c >= 0x30 && c <= 0x39) || c === 0x5f || (c === DASH && label > 0)) label++;
    else return c === OPEN && i === start && isNormalisedLiteral(text.slice(start, end));
  }
  return true;
}

function isNormalisedLiteral(host: string): boolean {
  return normaliseDomain(host) === host;
}
