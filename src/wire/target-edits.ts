/*  Rewriting of request targets in origin form. Whatever is not touched keeps its bytes, percent-encoding included.
 *
 *      path:   the prefix stripped, or another in its place -> the pattern -> a prefix put before it
 *      query:  parameters removed, set, added; the others stay as they are, where they are
 *
 *  A prefix is compared by segments and with the escapes of visible bytes decoded but for the delimiters, as routes are matched. The
 *  pattern sees the path as it was sent, and if it does not match there, with the escapes of unreserved bytes decoded (RFC 3986, 6.2.2.2).
 *
 *  A path that was made here may mean something else than what was matched: behind `/api` the client may have written `/../admin`, or
 *  `//other.example`. So `pathProblem` says what no result may hold: dot segments, however their dots and slashes are encoded; a
 *  second slash at the front, which reads as an authority; control bytes.
 */
import { RE2JS } from "re2js";
import { utf8Bytes } from "./field-edits.ts";
import { MAX_TARGET_BYTES } from "./h1/message-head.ts";

const PERCENT = 0x25, SLASH = 0x2f;

/** The part of a route that says what becomes of the path; null: nothing of that kind. */
export interface PathRewrite {
  readonly stripPrefix: string | null;
  readonly replacePrefix: string | null;
  readonly addPrefix: string | null;
  readonly pattern: string | null;
  readonly to: string | null;
}

export class PathEdits {
  /** Compared with; null: none. */
  readonly #prefix: string | null;
  readonly #replacement: string;
  readonly #added: string;
  readonly #pattern: RE2JS | null;
  /** What stays as it is and the numbers of groups. */
  readonly #to: readonly (string | number)[];

  constructor(rewrite: PathRewrite) {
    const { stripPrefix, replacePrefix, addPrefix, pattern, to } = rewrite;
    this.#prefix = stripPrefix === null ? null : withoutEnd(decoded(pathText(stripPrefix), COMPARED_BYTE));
    this.#replacement = withoutEnd(pathText(replacePrefix ?? ""));
    this.#added = withoutEnd(pathText(addPrefix ?? ""));
    this.#pattern = pattern === null ? null : RE2JS.compile(utf8Bytes(pattern));
    this.#to = this.#pattern === null ? [] : replacementOf(to ?? "", this.#pattern);
  }

  /** `path` begins with a slash. null: it takes too long. */
  apply(path: string): string | null {
    let edited = path;
    if (this.#prefix !== null) {
      const end = prefixEnd(edited, this.#prefix);
      if (end >= 0) edited = this.#replacement + edited.slice(end);
    }
    if (this.#pattern !== null) {
      const replaced = this.#replaced(edited === "" ? "/" : edited, this.#pattern);
      if (replaced === null) return null;
      edited = replaced;
    }
    edited = this.#added + edited;
    return edited === "" ? "/" : edited;
  }

  #replaced(path: string, pattern: RE2JS): string | null {
    const replaced = replaceAll(path, pattern, this.#to);
    if (replaced !== undefined) return replaced;
    const plain = decoded(path, UNRESERVED_BYTE);
    const again = plain === path ? undefined : replaceAll(plain, pattern, this.#to);
    return again === undefined ? path : again;
  }
}

/** Steps of patterns on bytes, a fraction of a second: each match may look at the whole path, so many matches take its square. */
const MOST_WORK = 1 << 22;

/** undefined: it matches nowhere. null: it matches so often that others would have to wait. */
function replaceAll(path: string, pattern: RE2JS, to: readonly (string | number)[]): string | null | undefined {
  const matcher = pattern.matcher(path);
  const workOfOne = path.length * Math.max(8, pattern.programSize());
  let replaced = "", at = 0;
  let found = false;
  for (let work = 0; replaced.length <= MAX_TARGET_BYTES && matcher.find(); work += workOfOne) {
    if (found && work > MOST_WORK) return null;
    found = true;
    replaced += path.slice(at, matcher.start());
    for (const part of to) replaced += typeof part === "string" ? part : matcher.group(part) ?? "";
    at = matcher.end();
  }
  return found ? replaced + path.slice(at) : undefined;
}

/** `$1`, `${1}` and `${name}` stand for groups, `$0` for all of the match, `$$` for a dollar. Groups that there are not are empty. */
function replacementOf(to: string, pattern: RE2JS): (string | number)[] {
  const names = pattern.namedGroups();
  const parts = to.split(/(\$(?:\$|\d{1,2}|\{\w+\}))/);
  return parts.flatMap((part, i): (string | number)[] => {
    if (i % 2 === 0) return part === "" ? [] : [pathText(part)];
    const group = part.replace(/^\$\{?|\}$/g, "");
    if (group === "$") return ["$"];
    const number = /^\d+$/.test(group) ? Number(group) : names[group];
    return number === undefined || number > pattern.groupCount() ? [] : [number];
  });
}

/** An operator's text as part of a path: what no path may hold is percent-encoded. */
function pathText(text: string): string {
  return utf8Bytes(text).replaceAll(/[^!-~]|[#?]/g, percentEncoded);
}

export function percentEncoded(character: string): string {
  return `%${character.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0")}`;
}

function withoutEnd(prefix: string): string {
  return prefix.endsWith("/") ? prefix.slice(0, -1) : prefix;
}

/** Where `prefix` ends in `path`, at the end of a segment; -1 if it is not there. */
function prefixEnd(path: string, prefix: string): number {
  let at = 0;
  for (let i = 0; i < prefix.length; i++) {
    const wanted = prefix.charCodeAt(i);
    const escaped = path.charCodeAt(at) === PERCENT ? byteAt(path, at, COMPARED_BYTE) : -1;
    if (escaped >= 0) {
      if (escaped !== wanted) return -1;
      at += 3;
    } else if (wanted === PERCENT) { // of a byte that is not unreserved; browsers' users also send those of UTF-8 as they are
      const escape = prefix.slice(i, i + 3);
      if (path.charCodeAt(at) > 0x7f && percentEncoded(path.charAt(at)) === escape) at++;
      else if (path.slice(at, at + 3).toUpperCase() === escape.toUpperCase()) at += 3;
      else return -1;
      i += 2;
    } else if (path.charCodeAt(at++) !== wanted) return -1;
  }
  return at === path.length || path.charCodeAt(at) === SLASH ? at : -1;
}

const UNRESERVED_BYTE = /[A-Za-z0-9\-._~]/;
/** What a path may say either way to mean the same: as table/path-reading.ts has it. */
const COMPARED_BYTE = /[!-~](?<![/\\;?#%])/;

/** The byte that the escape at `at` stands for, if it is one of these; else -1. */
function byteAt(text: string, at: number, which: RegExp): number {
  const hex = text.slice(at + 1, at + 3);
  if (!/^[0-9a-fA-F]{2}$/.test(hex)) return -1;
  const c = Number.parseInt(hex, 16);
  return which.test(String.fromCharCode(c)) ? c : -1;
}

/** With these bytes as themselves. */
function decoded(path: string, which: RegExp): string {
  if (!path.includes("%")) return path;
  return path.replaceAll(/%[0-9a-fA-F]{2}/g, (escape) => {
    const c = byteAt(escape, 0, which);
    return c < 0 ? escape : String.fromCharCode(c);
  });
}

/** All that could be wrong begins with one of these. */
const SUSPICIOUS = /[%\\?#]|\/[./]|[^!-~\x80-\xff]/;
const ENCODED_CONTROL = /%(?:[01][0-9a-f]|7f)/i;
const RAW_CONTROL = /[\0- \x7f#?]/;

/** Why a path that was made here may not be sent; null: it may. */
export function pathProblem(path: string): string | null {
  if (path.length > MAX_TARGET_BYTES) return "The rewritten target is longer than 8 KiB";
  if (!path.startsWith("/")) return "The rewritten path does not begin with a slash";
  if (!SUSPICIOUS.test(path)) return null;
  const plain = asDecodedTwice(path);
  if (RAW_CONTROL.test(path) || ENCODED_CONTROL.test(plain)) return "The rewritten path holds a control byte";
  if (plain.startsWith("//")) return "The rewritten path begins with two slashes";
  // Behind a semicolon are parameters, which some servers take away before they look at the dots
  if (plain.split("/").some((segment) => /^\.{1,2}(?:;|$)/.test(segment))) return "The rewritten path has a dot segment";
  return null;
}

/** Dots, slashes and semicolons as themselves, however often and however badly (as two bytes of UTF-8) they are encoded. */
function asDecodedTwice(path: string): string {
  return path.replaceAll(/%(?:25)+(?=[0-9a-f]{2})/gi, "%")
    .replaceAll(/%2e|%c0%ae/gi, ".")
    .replaceAll(/%2f|%5c|%c0%af|%c1%9c|\\/gi, "/")
    .replaceAll(/%3b/gi, ";");
}

/** The part of a route that says what becomes of the query; of `set` and `add` the values are given with each request. */
export interface QueryRewrite {
  readonly set: readonly (readonly [name: string, value: string])[];
  readonly add: readonly (readonly [name: string, value: string])[];
  readonly remove: readonly string[];
}

export class QueryEdits {
  readonly #set: readonly string[];
  readonly #add: readonly string[];
  readonly #touched: ReadonlySet<string>;

  constructor({ set, add, remove }: QueryRewrite) {
    this.#set = set.map(([name]) => utf8Bytes(name));
    this.#add = add.map(([name]) => utf8Bytes(name));
    this.#touched = new Set([...this.#set, ...remove.map(utf8Bytes)]);
  }

  /** `query` without its `?`; values of `set` and `add` in their order, one character for each byte. */
  apply(query: string, setValues: readonly string[], addValues: readonly string[]): string {
    const kept: string[] = [];
    const missing = new Set(this.#set);
    for (const parameter of query === "" ? [] : query.split("&")) {
      const name = nameOf(parameter);
      if (!this.#touched.has(name)) kept.push(parameter);
      else if (missing.delete(name)) kept.push(written(name, setValues[this.#set.indexOf(name)]!));
    }
    for (const [i, name] of this.#set.entries()) if (missing.delete(name)) kept.push(written(name, setValues[i]!));
    for (const [i, name] of this.#add.entries()) kept.push(written(name, addValues[i]!));
    return kept.join("&");
  }
}

/** As servers read it, one character for each byte. */
function nameOf(parameter: string): string {
  const end = parameter.indexOf("=");
  const name = end < 0 ? parameter : parameter.slice(0, end);
  if (!/[%+]/.test(name)) return name;
  return name.replaceAll("+", " ").replaceAll(/%([0-9a-fA-F]{2})/g, (_, hex) => String.fromCharCode(Number.parseInt(hex, 16)));
}

function written(name: string, value: string): string {
  return `${queryText(name)}=${queryText(value)}`;
}

/** Bytes as part of a parameter: all but unreserved ones are percent-encoded. */
export function queryText(bytes: string): string {
  return bytes.replaceAll(/[^A-Za-z0-9\-._~]/g, percentEncoded);
}
