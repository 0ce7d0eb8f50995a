/** The kinds of values a setting can have: how each is read from text and written back. */
import { isIP, isIPv6 } from "node:net";
import { z } from "zod";
import { type AccessSampling, NO_ACCESS_LOG } from "../observation/access-log.ts";
import { formatDuration, formatSize, parseDuration, parseSize } from "../sources/amounts.ts";
import { maskDatabaseUrl, parseDatabaseUrl } from "../sources/database-url.ts";
import { MOST_PATH_BYTES } from "../runtime/unix-path.ts";
import type { ListenAddress, UnixAddress } from "./settings.ts";

/** `parser` reports "must be ..." without the value; `format` writes a value as a user would, secrets masked. */
export interface ValueKind<Value> {
  /** What may stand there, for people. */
  readonly accepts: string;
  readonly parser: z.ZodType<Value, string>;
  readonly format: (value: Value) => string;
  /** What a problem may quote of the text; absent: all of it. */
  readonly mask?: (text: string) => string;
}

const MASK = "***";

export function duration(leastMs: number, mostMs: number): ValueKind<number> {
  return {
    accepts: `duration from ${formatDuration(leastMs)} to ${formatDuration(mostMs)}`,
    parser: parser((text) => {
      const ms = parseDuration(text);
      if (ms === null) return problem("must be a duration such as 250ms, 10s or 1m30s");
      if (ms < leastMs || ms > mostMs) return problem(`must be between ${formatDuration(leastMs)} and ${formatDuration(mostMs)}`);
      return { value: ms };
    }),
    format: formatDuration,
  };
}

export function size(least: number, most: number): ValueKind<number> {
  return {
    accepts: most === Number.MAX_SAFE_INTEGER ? "size" : `size from ${formatSize(least)} to ${formatSize(most)}`,
    parser: parser((text) => {
      const bytes = parseSize(text);
      if (bytes === null) return problem("must be a size such as 512, 32KiB or 10MB");
      if (bytes < least || bytes > most) return problem(`must be between ${formatSize(least)} and ${formatSize(most)}`);
      return { value: bytes };
    }),
    format: formatSize,
  };
}

export function integer(least: number, most: number): ValueKind<number> {
  return {
    accepts: `whole number from ${least} to ${most}`,
    parser: parser((text) => {
      const value = /^\d{1,15}$/.test(text) ? Number(text) : NaN;
      return value >= least && value <= most ? { value } : problem(`must be a whole number from ${least} to ${most}`);
    }),
    format: String,
  };
}

export function oneOf<Word extends string>(words: readonly Word[]): ValueKind<Word> {
  return {
    accepts: words.join(", "),
    parser: parser((text) => {
      const value = words.find((word) => word === text.toLowerCase());
      return value === undefined ? problem(`must be one of ${words.join(", ")}`) : { value };
    }),
    format: String,
  };
}

export const listenAddress: ValueKind<ListenAddress> = {
  accepts: "address and port",
  parser: parser((text) => {
    const value = parseAddress(text);
    return value === null ? problem("must be an address such as :8080, 127.0.0.1:8080 or [::1]:8080") : { value };
  }),
  format: formatAddress,
};

/** null when `off`. */
export const adminAddress: ValueKind<ListenAddress | UnixAddress | null> = {
  accepts: "address and port, unix:/path, or off",
  parser: parser<ListenAddress | UnixAddress | null>((text) => {
    if (text.toLowerCase() === "off") return { value: null };
    if (text.startsWith("unix:")) return parseUnixPath(text.slice("unix:".length));
    const value = parseAddress(text);
    return value === null
      ? problem("must be off or an address such as 127.0.0.1:9090, [::1]:9090 or unix:/run/edgeproxy/admin.sock")
      : { value };
  }),
  format: (value) => value === null ? "off" : "path" in value ? `unix:${value.path}` : formatAddress(value),
};

export const uuid: ValueKind<string> = {
  accepts: "UUID",
  parser: parser((text) => {
    const value = text.toLowerCase();
    return /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(value) ? { value } : problem("must be a UUID");
  }),
  format: String,
};

export const databaseUrl: ValueKind<string> = {
  accepts: "postgres:// URL",
  parser: parser((text) => {
    const target = parseDatabaseUrl(text);
    return "problem" in target ? target : { value: text };
  }),
  format: (url) => url === "" ? "" : maskDatabaseUrl(url),
  mask: maskDatabaseUrl,
};

/** What can stand after `Authorization: Bearer`. */
export const token: ValueKind<string> = {
  accepts: "visible ASCII characters",
  parser: parser((text) => /^[\x21-\x7e]*$/.test(text) ? { value: text } : problem("must consist of visible ASCII characters")),
  format: (value) => value === "" ? "" : MASK,
  mask: () => MASK,
};

export const anyText: ValueKind<string> = {
  accepts: "text",
  parser: parser((text) => ({ value: text })),
  format: String,
};

export const folder: ValueKind<string> = {
  accepts: "path of a folder",
  parser: parser((text) => ({ value: text })),
  format: String,
};

export const file: ValueKind<string> = {
  accepts: "path of a file",
  parser: parser((text) => ({ value: text })),
  format: String,
};

/** Goes into a request line as it is. */
export const requestPath: ValueKind<string> = {
  accepts: "path that begins with /",
  parser: parser((text) =>
    /^\/[\x21\x22\x24-\x7e]{0,2047}$/.test(text)
      ? { value: text }
      : problem("must be a path such as / or /health, in visible ASCII characters")
  ),
  format: String,
};

export const networks: ValueKind<readonly string[]> = {
  accepts: "addresses and CIDR blocks, with commas",
  parser: parser((text) => {
    const value = text.split(",").map((network) => network.trim().toLowerCase()).filter((network) => network !== "");
    const bad = value.find((network) => !isNetwork(network));
    return bad === undefined
      ? { value }
      : problem(`must be a list such as 10.0.0.0/8,::1 (not an address or CIDR block: "${bad}")`);
  }),
  format: (value) => value.join(","),
};

export const accessSampling: ValueKind<AccessSampling> = {
  accepts: "off, on, errors, or a share in percent",
  parser: parser((text) => {
    const word = text.toLowerCase();
    if (word === "off") return { value: NO_ACCESS_LOG };
    if (word === "on") return { value: { share: 1, errors: true } };
    if (word === "errors") return { value: { share: 0, errors: true } };
    const percent = /^(\d{1,3}(?:\.\d{1,6})?)%$/.exec(text)?.[1];
    const share = Number(percent) / 100;
    return share >= 0 && share <= 1 ? { value: { share, errors: true } } : problem("must be off, on, errors or a share such as 1%");
  }),
  format: ({ share, errors }) => {
    if (share === 1) return "on";
    if (share === 0) return errors ? "errors" : "off";
    return `${Number((share * 100).toFixed(6))}%`;
  },
};

export function isLoopback(address: ListenAddress): boolean {
  return address.host === "::1" || address.host.startsWith("127.");
}

type Verdict<Value> = { readonly value: Value } | { readonly problem: string };

export function problem(text: string): { readonly problem: string } {
  return { problem: text };
}

/** From a function that says what a text means, or what it must be. */
export function parser<Value>(parse: (text: string) => Verdict<Value>): z.ZodType<Value, string> {
  return z.string().transform((text, context): Value => {
    const verdict = parse(text);
    if ("value" in verdict) return verdict.value;
    context.addIssue({ code: "custom", message: verdict.problem });
    return z.NEVER;
  });
}

function parseAddress(text: string): ListenAddress | null {
  const match = /^(?:\[([^\]]+)\]|([^:]*)):(\d{1,5})$/.exec(text);
  if (match === null) return null;
  const port = Number(match[3]);
  const host = match[1] ?? match[2] ?? "";
  const fits = match[1] === undefined ? host === "" || isIP(host) === 4 : isIPv6(host);
  return fits && port <= 65_535 ? { host, port } : null;
}

function parseUnixPath(path: string): Verdict<UnixAddress> {
  if (!/^\/[^\0]*[^/\0]$/.test(path)) {
    return problem("must name a socket by an absolute path such as unix:/run/edgeproxy/admin.sock");
  }
  const fits = Buffer.byteLength(path) <= MOST_PATH_BYTES;
  return fits ? { value: { path } } : problem(`must name a socket by a path of at most ${MOST_PATH_BYTES} bytes`);
}

function formatAddress(address: ListenAddress): string {
  return `${address.host.includes(":") ? `[${address.host}]` : address.host}:${address.port}`;
}

function isNetwork(text: string): boolean {
  const [address = "", length, ...more] = text.split("/");
  const version = isIP(address);
  if (version === 0 || address.includes("%") || more.length > 0) return false;
  return length === undefined || (/^\d{1,3}$/.test(length) && Number(length) <= (version === 4 ? 32 : 128));
}
