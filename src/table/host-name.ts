/*  A row's domain name, as a request's Host is compared with it (wire/host): lower case, no trailing dot, IDN as punycode,
 *  IPv6 literals in brackets.
 */
import { domainToASCII } from "node:url";
import { isIPv4, isIPv6 } from "node:net";
import { canonicalIpv6, MAX_NAME_LENGTH } from "../wire/host.ts";

const MAX_LABEL_LENGTH = 63;
const LABEL = /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$/;

const DOT = 0x2e;
const DASH = 0x2d;

/** Whether the name is plainly its own normal form: most are, and a look at each byte tells. False: ask `normaliseDomain`. */
export function isPlainHost(name: string): boolean {
  const { length } = name;
  if (length > MAX_NAME_LENGTH) return false;
  let at = name.startsWith("*.") ? 2 : 0;
  let before = DOT;
  let labelAt = at;
  for (; at < length; at++) {
    const c = name.charCodeAt(at);
    if (c === DOT) {
      if (before === DOT || before === DASH || at - labelAt > MAX_LABEL_LENGTH) return false;
      labelAt = at + 1;
    } else if (c === DASH) {
      if (before === DOT) return false;
    } else if (!((c >= 0x61 && c <= 0x7a) || (c >= 0x30 && c <= 0x39) || c === 0x5f)) return false;
    before = c;
  }
  return before !== DOT && before !== DASH && length - labelAt <= MAX_LABEL_LENGTH;
}

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
  if (!/^[\x00-\x7f]*$/.test(rest)) rest = domainToASCII(rest);
  if (rest === "" || rest.length > MAX_NAME_LENGTH || !rest.split(".").every((label) => LABEL.test(label))) return null;
  return wildcard ? `*.${rest}` : rest;
}

/** Whether `normaliseDomain` would leave it as it is; quick for the usual names, of which there may be a million. */
export function isNormalisedDomain(host: string): boolean {
  const from = host.startsWith("*.") ? 2 : 0;
  if (host.length === from || host.length - from > MAX_NAME_LENGTH) return false;
  let label = 0;
  for (let i = from; i <= host.length; i++) {
    const c = i < host.length ? host.charCodeAt(i) : 0x2e;
    if (c === 0x2e) {
      if (label === 0 || label > 63 || host.charCodeAt(i - 1) === 0x2d) return false;
      label = 0;
    } else if ((c >= 0x61 && c <= 0x7a) || (c >= 0x30 && c <= 0x39) || c === 0x5f || (c === 0x2d && label > 0)) label++;
    else return c === 0x5b && i === 0 && normaliseDomain(host) === host;
  }
  return true;
}
