/** The kinds of values that OpenTelemetry's own variables have (its Environment Variable Specification). */
import { parser, problem, type ValueKind } from "./setting-values.ts";

const MASK = "***";

/** Where a collector listens. Who and with which query is nobody's business. */
export const collectorUrl: ValueKind<string> = {
  accepts: "http:// or https:// URL",
  parser: parser((text) => {
    const url = URL.parse(text);
    return url !== null && /^https?:$/.test(url.protocol)
      ? { value: text }
      : problem("must be a URL such as http://127.0.0.1:4318");
  }),
  format: maskedUrl,
  mask: maskedUrl,
};

/** A whole number of milliseconds. */
export const milliseconds: ValueKind<number> = {
  accepts: "milliseconds from 1 to 600000",
  parser: parser((text) => {
    const value = /^\d{1,9}$/.test(text) ? Number(text) : 0;
    return value >= 1 && value <= 600_000 ? { value } : problem("must be a whole number of milliseconds from 1 to 600000");
  }),
  format: String,
};

export const switchedOn: ValueKind<boolean> = {
  accepts: "true or false",
  parser: parser((text) => {
    const word = text.toLowerCase();
    return word === "true" || word === "false" ? { value: word === "true" } : problem("must be true or false");
  }),
  format: String,
};

/** Of a whole, as 0.01. */
export const fraction: ValueKind<number> = {
  accepts: "number from 0 to 1",
  parser: parser((text) => {
    const value = /^(\d{1,2}(\.\d{0,12})?|\.\d{1,12})$/.test(text) ? Number(text) : NaN;
    return value >= 0 && value <= 1 ? { value } : problem("must be a number from 0 to 1, such as 0.01");
  }),
  format: String,
};

/** `name=value,name=value`, values percent-encoded. */
export const attributes: ValueKind<Readonly<Record<string, string>>> = {
  accepts: "name=value, with commas",
  parser: parser((text) => {
    const pairs = pairsOf(text, /^[^\s=,]+$/);
    return pairs === null ? problem("must be a list such as deployment.environment=production,team=edge") : { value: pairs };
  }),
  format: (pairs) => Object.entries(pairs).map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join(","),
};

/** As attributes; each value is a secret. */
export const secretFields: ValueKind<Readonly<Record<string, string>>> = {
  accepts: "name=value, with commas",
  parser: parser((text) => {
    const pairs = pairsOf(text, /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/);
    const fine = pairs !== null && Object.values(pairs).every((value) => /^[\x20-\x7e]*$/.test(value));
    return fine ? { value: pairs } : problem("must be a list of fields such as authorization=Bearer%20abc");
  }),
  format: (pairs) => Object.keys(pairs).map((name) => `${name}=${MASK}`).join(","),
  mask: () => MASK,
};

function pairsOf(text: string, name: RegExp): Record<string, string> | null {
  const pairs: Record<string, string> = {};
  for (const pair of text.split(",")) {
    if (pair.trim() === "") continue;
    const equals = pair.indexOf("=");
    const key = pair.slice(0, Math.max(equals, 0)).trim();
    const value = decoded(pair.slice(equals + 1).trim());
    if (equals < 1 || !name.test(key) || value === null) return null;
    pairs[key] = value;
  }
  return pairs;
}

function decoded(text: string): string | null {
  try {
    return decodeURIComponent(text);
  } catch {
    return null;
  }
}

function maskedUrl(text: string): string {
  const url = URL.parse(text);
  if (url === null || !/^https?:$/.test(url.protocol)) return text.includes("@") || text.includes("?") ? MASK : text;
  if (url.username === "" && url.password === "" && url.search === "") return text;
  return `${url.protocol}//${url.username === "" && url.password === "" ? "" : `${MASK}@`}${url.host}${url.pathname}${
    url.search === "" ? "" : `?${MASK}`
  }`;
}
