/** Valid messages of every shape, also the odd ones: what the mutations start from. Text is Latin-1. */
import type { Random } from "./random.ts";
import { BODIES, CONNECTIONS, EXTENSIONS, HOSTS, METHODS, NAMES, PATHS, REASONS, STATUSES, VALUES } from "./spellings.ts";

/** One to four requests on one connection. */
export function requestStream(random: Random): string {
  const parts = [random.chance(0.05) ? "\r\n" : "", request(random)];
  while (parts.length < 6 && random.chance(0.4)) parts.push(request(random), random.chance(0.05) ? "\r\n" : "");
  return parts.join("");
}

export function request(random: Random): string {
  const method = random.pick(METHODS);
  const minor = random.chance(0.9) ? 1 : 0;
  const lines = [`${method} ${target(random, method)} HTTP/1.${minor}`];
  if (minor === 1 || random.chance(0.5)) lines.push(field(random, random.chance(0.95) ? "Host" : "hOsT", random.pick(HOSTS)));
  lines.push(...random.several(6, () => field(random, random.pick(NAMES), random.pick(VALUES))));
  lines.push(...random.several(2, () => requestOption(random)));
  const framed = body(random, random.chance(method === "GET" ? 0.2 : 0.8), minor === 1, "");
  if (framed.field !== "") lines.splice(1 + random.int(lines.length), 0, framed.field);
  return `${lines.join("\r\n")}\r\n\r\n${framed.bytes}`;
}

function target(random: Random, method: string): string {
  if (method === "OPTIONS" && random.chance(0.3)) return "*";
  if (random.chance(0.9)) return random.pick(PATHS);
  const authority = random.pick(HOSTS.filter((host) => !host.startsWith("[")));
  return random.pick(["http://", "HTTP://", "https://"]) + authority + random.pick(["", "/", "?q", "/p?q", "/\xe9"]);
}

/** Fields by which a client says what it wants from the connection. */
function requestOption(random: Random): string {
  switch (random.int(5)) {
    case 0:
      return field(random, "TE", random.pick(["trailers", "trailers, gzip", "gzip;q=0.5, trailers", "gzip", ""]));
    case 1:
      return field(random, "Expect", random.pick(["100-continue", "100-Continue", "nothing"]));
    case 2:
      return `Connection: Upgrade\r\nUpgrade: ${random.pick(["websocket", "h2c", "foo/1, bar"])}`;
    default:
      return field(random, "Connection", random.pick(CONNECTIONS));
  }
}

/** One answer per method, each with the 1xx that come before it. */
export function answerStream(random: Random, methods: readonly string[]): string {
  return methods.map((method) => answer(random, method)).join("");
}

export function answer(random: Random, method: string): string {
  const early = random.chance(0.15)
    ? `HTTP/1.1 ${random.pick(["100", "103", "102"])}${random.pick(REASONS)}\r\nLink: </a>\r\n\r\n`
    : "";
  const status = random.pick(STATUSES);
  const minor = random.chance(0.95) ? 1 : 0;
  const lines = [`HTTP/1.${minor} ${status}${random.pick(REASONS)}`];
  lines.push(...random.several(5, () => field(random, random.pick(NAMES), random.pick(VALUES))));
  if (random.chance(0.2)) lines.push(field(random, "Connection", random.pick(CONNECTIONS)));
  const framed = body(random, random.chance(0.9), minor === 1, random.chance(0.9) ? "" : "00");
  if (framed.field !== "") lines.splice(1 + random.int(lines.length), 0, framed.field);
  const bodiless = method === "HEAD" || status === "204" || status === "304";
  return `${early}${lines.join("\r\n")}\r\n\r\n${bodiless ? "" : framed.bytes}`;
}

function field(random: Random, name: string, value: string): string {
  const before = random.chance(0.9) ? " " : random.pick(["", "  ", "\t"]);
  return `${name}:${before}${value}${random.chance(0.95) ? "" : random.pick([" ", "\t", "  "])}`;
}

/** `zeros` before a length are allowed to VMs only. */
function body(random: Random, any: boolean, chunkable: boolean, zeros: string): { readonly field: string; readonly bytes: string } {
  if (!any) return { field: "", bytes: "" };
  const text = random.pick(BODIES);
  if (!chunkable || random.chance(0.5)) {
    return { field: `Content-Length: ${zeros}${text.length}`, bytes: text };
  }
  return { field: "Transfer-Encoding: chunked", bytes: chunks(random, text) };
}

function chunks(random: Random, text: string): string {
  let written = "";
  for (let at = 0; at < text.length;) {
    const size = 1 + random.int(text.length - at);
    written += `${chunkSize(random, size)}${random.pick(EXTENSIONS)}\r\n${text.slice(at, at + size)}\r\n`;
    at += size;
  }
  const trailers = random.chance(0.7)
    ? []
    : random.several(3, () => `${field(random, random.pick(NAMES), random.pick(VALUES))}\r\n`);
  return `${written}${random.chance(0.9) ? "0" : "000"}${random.pick(EXTENSIONS)}\r\n${trailers.join("")}\r\n`;
}

function chunkSize(random: Random, size: number): string {
  const hex = size.toString(16);
  return random.chance(0.8) ? hex : random.pick([hex.toUpperCase(), `0${hex}`, hex.padStart(8, "0")]);
}
