/** Changes to messages: those that request smuggling is made of, and blind ones. Text is Latin-1. */
import type { Random } from "./random.ts";
import {
  BLIND_BYTES,
  CHUNK_SIZES,
  FRAMING_FIELDS,
  LINE_ENDS,
  OTHER_FIELDS,
  SPACES,
  TARGET_PIECES,
  TARGETS,
  VERSIONS,
} from "./spellings.ts";

type Mutation = (text: string, random: Random, corpus: readonly string[]) => string;

/** The knowing ones come more than once, so that they come more often. */
const MUTATIONS: readonly Mutation[] = [
  respellFraming,
  respellFraming,
  respellFraming,
  changeTarget,
  insertField,
  insertField,
  insertField,
  insertOther,
  changeLineEnd,
  changeLineEnd,
  insertSpace,
  insertSpace,
  changeChunkSize,
  changeChunkSize,
  changeVersion,
  changeNumber,
  respellName,
  repeatLine,
  swapLines,
  dropLine,
  cutOff,
  flipByte,
  insertByte,
  dropBytes,
  repeatBytes,
  splice,
  splice,
];

/** Up to four changes, often none: then the original must be read alike. */
export function mutated(text: string, random: Random, corpus: readonly string[]): string {
  if (random.chance(0.1)) return text;
  let changed = random.pick(MUTATIONS)(text, random, corpus);
  for (let more = 0; more < 3 && random.chance(0.35); more++) changed = random.pick(MUTATIONS)(changed, random, corpus);
  return changed.length > 20_000 ? changed.slice(0, 20_000) : changed;
}

function insertField(text: string, random: Random): string {
  return atLineEnd(text, random, `\r\n${random.pick(FRAMING_FIELDS)}\r\n`);
}

/** Another spelling of a framing field that is there, so that the body still fits. */
function respellFraming(text: string, random: Random): string {
  const at = placeOf(text, /(content-length|transfer-encoding):[^\r]*/gi, random);
  if (at === null) return text;
  const [length] = /[0-9]+/.exec(text.slice(at.start, at.end)) ?? [];
  const fitting = FRAMING_FIELDS.filter((field) => /content.length/i.test(field) === (length !== undefined));
  return text.slice(0, at.start) + random.pick(fitting).replaceAll("5", length ?? "5") + text.slice(at.end);
}

function changeTarget(text: string, random: Random): string {
  const at = placeOf(text, /(?<=[A-Z] )[^ \r\n]+(?= HTTP\/)/g, random);
  if (at === null) return text;
  const target = text.slice(at.start, at.end), middle = random.int(target.length + 1);
  const other = random.chance(0.5)
    ? random.pick(TARGETS)
    : target.slice(0, middle) + random.pick(TARGET_PIECES) + target.slice(middle);
  return text.slice(0, at.start) + other + text.slice(at.end);
}

function insertOther(text: string, random: Random): string {
  return atLineEnd(text, random, `\r\n${random.pick(OTHER_FIELDS)}\r\n`);
}

function changeLineEnd(text: string, random: Random): string {
  return atLineEnd(text, random, random.pick(LINE_ENDS));
}

/** Replaces one CRLF. */
function atLineEnd(text: string, random: Random, replacement: string): string {
  const at = placeOf(text, /\r\n/g, random);
  return at === null ? text : text.slice(0, at.start) + replacement + text.slice(at.end);
}

function insertSpace(text: string, random: Random): string {
  const at = placeOf(text, /[:\r\n ;,=]/g, random);
  if (at === null) return text;
  const where = random.chance(0.5) ? at.start : at.end;
  return text.slice(0, where) + random.pick(SPACES) + text.slice(where);
}

function changeChunkSize(text: string, random: Random): string {
  const at = placeOf(text, /(?<=\r\n)[0-9a-fA-F]+(?=[;\r])/g, random);
  if (at === null) return text;
  const size = text.slice(at.start, at.end);
  const choice = random.pick(CHUNK_SIZES);
  return text.slice(0, at.start) + (random.chance(0.7) ? choice.replace("5", size) : choice) + text.slice(at.end);
}

function changeVersion(text: string, random: Random): string {
  const at = placeOf(text, /HTTP\/1\.[01]/g, random);
  return at === null ? text : text.slice(0, at.start) + random.pick(VERSIONS) + text.slice(at.end);
}

function changeNumber(text: string, random: Random): string {
  const at = placeOf(text, /[0-9]+/g, random);
  if (at === null) return text;
  const number = Number(text.slice(at.start, at.end));
  const other = random.pick([
    `${number + 1}`,
    `${Math.max(number - 1, 0)}`,
    "0",
    `0${number}`,
    `+${number}`,
    `-${number}`,
    `${number}0`,
    "4294967301",
    "",
  ]);
  return text.slice(0, at.start) + other + text.slice(at.end);
}

function respellName(text: string, random: Random): string {
  const at = placeOf(text, /(?<=\r\n)[A-Za-z-]+(?=:)/g, random);
  if (at === null) return text;
  const name = text.slice(at.start, at.end);
  const spelled = random.pick([
    name.toLowerCase(),
    name.toUpperCase(),
    name.replaceAll("-", "_"),
    `${name}\0`,
    `${name}\xad`,
    name.replace("e", "\xe8"),
    `"${name}"`,
  ]);
  return text.slice(0, at.start) + spelled + text.slice(at.end);
}

function repeatLine(text: string, random: Random): string {
  const at = placeOf(text, /[^\r\n]+\r\n/g, random);
  return at === null ? text : text.slice(0, at.end) + text.slice(at.start, at.end) + text.slice(at.end);
}

function swapLines(text: string, random: Random): string {
  const lines = text.split("\r\n");
  const one = random.int(lines.length), other = random.int(lines.length);
  [lines[one], lines[other]] = [lines[other]!, lines[one]!];
  return lines.join("\r\n");
}

function dropLine(text: string, random: Random): string {
  const at = placeOf(text, /[^\r\n]*\r\n/g, random);
  return at === null ? text : text.slice(0, at.start) + text.slice(at.end);
}

function cutOff(text: string, random: Random): string {
  return text.slice(0, random.int(text.length + 1));
}

function flipByte(text: string, random: Random): string {
  if (text === "") return text;
  const at = random.int(text.length);
  const flipped = random.chance(0.5) ? text.charCodeAt(at) ^ 1 << random.int(8) : random.int(256);
  return text.slice(0, at) + String.fromCharCode(flipped & 0xff) + text.slice(at + 1);
}

function insertByte(text: string, random: Random): string {
  const at = random.int(text.length + 1);
  return text.slice(0, at) + random.pick(BLIND_BYTES) + text.slice(at);
}

function dropBytes(text: string, random: Random): string {
  const at = random.int(text.length + 1);
  return text.slice(0, at) + text.slice(at + 1 + random.int(random.chance(0.5) ? 2 : 20));
}

function repeatBytes(text: string, random: Random): string {
  const at = random.int(text.length + 1);
  const piece = text.slice(at, at + 1 + random.int(30));
  return text.slice(0, at) + piece.repeat(random.chance(0.95) ? 2 : 140) + text.slice(at);
}

/** The beginning of one message with the end of another. */
function splice(text: string, random: Random, corpus: readonly string[]): string {
  const other = corpus.length === 0 ? text : random.pick(corpus);
  return text.slice(0, random.int(text.length + 1)) + other.slice(random.int(other.length + 1));
}

function placeOf(text: string, pattern: RegExp, random: Random): { readonly start: number; readonly end: number } | null {
  const places = [...text.matchAll(pattern)];
  if (places.length === 0) return null;
  const { index, 0: found } = random.pick(places);
  return { start: index, end: index + found.length };
}
