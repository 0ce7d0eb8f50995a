/** What a request is told apart by: for splits, balancers that hash, and rate limits. */
import { isIPv6 } from "node:net";
import { fieldValue } from "../table/field-values.ts";
import { pathIdentity } from "../table/path-reading.ts";
import type { KeySource, ServicePolicy } from "../table/policy.ts";
import { cookieValues } from "../wire/cookies.ts";
import { FieldNames } from "../wire/field-edits.ts";
import type { HeaderList } from "../wire/header-list.ts";
import type { RequestView } from "./match-route.ts";

/** null: the request has none of it. */
export function requestKey(source: KeySource, view: RequestView, routeKey: string | null): string | null {
  switch (source.kind) {
    case "client-ip":
      return clientKey(view.clientAddress);
    case "path":
      return pathIdentity(view.path);
    case "route-key":
      return routeKey;
    case "header":
      return fieldValue(view, source.name);
    case "cookie":
      return cookieValues(view.fields, source.name)[0] ?? null;
  }
}

const CLIENT: KeySource = { kind: "client-ip" };

/** By what a request was told apart, for who asks why; null: it had nothing of `source` that counts, so it went by its address. */
export function keyWords(source: KeySource, value: string | null): string {
  const words = `${source.kind}${"name" in source ? ` ${source.name}` : ""}`;
  return value === null ? `by the client's address for want of a ${words}` : `by ${words}`;
}

/** What the service's balancer hashes; null: it does not hash, or the request has none of it. */
export function balanceKey({ balance, hashKey }: ServicePolicy, view: RequestView, routeKey: string | null): string | null {
  if (balance !== "ip-hash" && balance !== "consistent-hash") return null;
  return requestKey(balance === "ip-hash" ? CLIENT : hashKey, view, routeKey);
}

/**
 * The request says several things: the application may go by another than we do, so one who wants to be somebody else each time need only
 * put a made-up value before his own. Names of fields are the same with `_` for `-` there (CGI, WSGI, Rack, PHP).
 */
export function isAmbiguous(source: KeySource, { fields }: RequestView): boolean {
  if (source.kind !== "header" && source.kind !== "cookie") return false;
  const values = source.kind === "cookie" ? cookieValues(fields, source.name) : foldedValues(fields, source.name);
  return values.some((value) => value !== values[0]);
}

function foldedValues(fields: HeaderList, name: string): string[] {
  const names = new FieldNames([name]);
  const values: string[] = [];
  for (let i = 0; i < fields.count; i++) if (names.has(fields, i)) values.push(fields.value(i));
  return values;
}

/** An address; of IPv6 the first 64 bits, which is what one customer has at least. An IPv4 address within IPv6 counts as itself. */
export function clientKey(address: string): string {
  if (!address.includes(":") || !isIPv6(address)) return address;
  const groups = groupsOf(address);
  const v4 = groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff;
  if (v4) return [groups[6]! >> 8, groups[6]! & 255, groups[7]! >> 8, groups[7]! & 255].join(".");
  return `${groups.slice(0, 4).map((group) => group.toString(16)).join(":")}::/64`;
}

/** The eight groups of a valid IPv6 address. */
function groupsOf(address: string): number[] {
  let text = address.split("%")[0]!;
  const dotted = /(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(text);
  if (dotted !== null) {
    const [a, b, c, d] = dotted.slice(1).map(Number);
    text = `${text.slice(0, dotted.index)}${(a! << 8 | b!).toString(16)}:${(c! << 8 | d!).toString(16)}`;
  }
  const [head = "", tail] = text.split("::");
  const left = head === "" ? [] : head.split(":");
  const right = tail === undefined || tail === "" ? [] : tail.split(":");
  const missing = tail === undefined ? 0 : 8 - left.length - right.length;
  return [...left, ...Array.from({ length: missing }, () => "0"), ...right].map((group) => parseInt(group, 16));
}
