/*  The one document of a YAML (or JSON) text as a plain value, with the place of each of its parts.
 *
 *  What such texts are used to harm or to fool with is a problem here: keys twice in a mapping, aliases that unfold to millions of nodes or
 *  into themselves, nesting without end, a second document that nobody would read, tags that make other values than they look like.
 */
import {
  Composer,
  type CST,
  isAlias,
  isMap,
  isPair,
  isScalar,
  isSeq,
  LineCounter,
  type ParsedNode,
  Parser,
  type Range,
  type Scalar,
  type YAMLMap,
  type YAMLSeq,
} from "yaml";
import { parseJson } from "./json-value.ts";
import type { PlacedValue, TextPlace, ValuePath } from "./placed-value.ts";

export interface YamlProblem extends TextPlace {
  readonly message: string;
}

const MOST_CHARACTERS = 16 * 2 ** 20;
const MOST_DEPTH = 64;
/** With aliases unfolded. */
const MOST_NODES = 4_000_000;
const MOST_PROBLEMS = 20;
const PLAIN_TAGS = /^tag:yaml\.org,2002:(map|seq|str|int|float|bool|null)$/;

export function parseYaml(text: string): PlacedValue | { readonly problems: readonly YamlProblem[] } {
  if (text.length > MOST_CHARACTERS) return refused(`is larger than ${MOST_CHARACTERS / 2 ** 20} MiB`);
  const json = parseJson(text, MOST_DEPTH);
  if (json !== null) return json;
  const lines = new LineCounter();
  const tokens = [...new Parser(lines.addNewLine).parse(text)];
  const deep = firstTooDeep(tokens);
  if (deep !== null) return refused(`is nested more than ${MOST_DEPTH} deep`, placeAt(lines, deep));
  const composer = new Composer({ version: "1.2", uniqueKeys: false, logLevel: "silent" });
  const documents = [...composer.compose(tokens, true, text.length)];
  const errors = documents.flatMap((document) => document.errors).slice(0, MOST_PROBLEMS);
  if (errors.length > 0) {
    return { problems: errors.map(({ pos, message }) => ({ ...placeAt(lines, pos[0]), message: wording(firstLine(message)) })) };
  }
  const [document, second] = documents;
  if (second !== undefined) return refused("is a second document: there can be only one", placeAt(lines, second.range[0]));
  return new Reading(lines).of((document?.contents ?? null) as ParsedNode | null);
}

/** Where nesting goes beyond MOST_DEPTH; null: nowhere. Composing nodes recurses, and how deep the stack is nobody can say. */
function firstTooDeep(tokens: readonly CST.Token[]): number | null {
  let level: CST.Token[] = tokens.flatMap((token) => token.type === "document" && token.value !== undefined ? [token.value] : []);
  for (let depth = 1; level.length > 0; depth++) {
    if (depth > MOST_DEPTH) return level[0]!.offset;
    const below: CST.Token[] = [];
    for (const token of level) {
      if (!("items" in token)) continue;
      for (const { key, value } of token.items) {
        if (key) below.push(key);
        if (value) below.push(value);
      }
    }
    level = below;
  }
  return null;
}

function refused(message: string, place: TextPlace = { line: 1, column: 1 }): { readonly problems: readonly YamlProblem[] } {
  return { problems: [{ ...place, message }] };
}

function firstLine(message: string): string {
  return message.split("\n", 1)[0]!;
}

/** Hosts such as `*` and `*.example.com` are read as aliases. */
const STAR = "a text that begins with * needs quotes";

/** What is usually meant by what the library says, which knows nothing but YAML. */
const HINTS: Readonly<Record<string, string>> = {
  "Alias cannot be an empty string": `an alias needs a name: ${STAR}`,
  "Nested mappings are not allowed in compact mappings": "a text with a colon and a space needs quotes (header:NAME has no space)",
  "Block collections are not allowed within flow collections":
    "a text with a colon and a space needs quotes (header:NAME has no space)",
  "Implicit map keys need to be followed by map values": "is no key with a value: after the colon goes a space",
  "All mapping items must start at the same column": "is neither as far to the right as the keys above nor as those around them",
  "Sequence item without - indicator": "is neither as far to the right as the keys of the item above, nor an item with a -",
  "Flow map in block collection must be sufficiently indented and end with a }": "a { above is not closed",
  "Flow sequence in block collection must be sufficiently indented and end with a ]": "a [ above is not closed",
};

function wording(message: string): string {
  return Object.hasOwn(HINTS, message) ? HINTS[message]! : message;
}

function placeAt(lines: LineCounter, offset: number): TextPlace {
  const { line, col } = lines.linePos(offset);
  return { line: Math.max(line, 1), column: Math.max(col, 1) };
}

type Collection = YAMLMap | YAMLSeq;

interface Anchor {
  readonly node: ParsedNode;
  readonly value: unknown;
  /** Values in it, with aliases unfolded. */
  readonly size: number;
  readonly height: number;
}

class Reading {
  readonly #lines: LineCounter;
  readonly #problems: YamlProblem[] = [];
  /** What an alias of that name means at this point of the text. */
  readonly #anchors: Map<string, Anchor | "open"> = new Map();
  /** Where objects and arrays come from. */
  readonly #origins: WeakMap<object, Collection> = new WeakMap();
  #nodes = 0;
  /** The deepest that the present part goes, with aliases unfolded. */
  #reach = 0;
  #spent = false;

  constructor(lines: LineCounter) {
    this.#lines = lines;
  }

  of(root: ParsedNode | null): PlacedValue | { readonly problems: readonly YamlProblem[] } {
    const value = root === null ? null : this.#value(root, 1);
    if (this.#problems.length > 0) return { problems: this.#problems };
    const start = root === null ? 0 : startOf(root);
    return { value, placeOf: (path) => this.#placeOf(value, path, start) };
  }

  #value(node: ParsedNode | null, depth: number): unknown {
    if (node === null || this.#spent) return null;
    if (isAlias(node)) return this.#aliased(node, depth);
    const anchor = node.anchor;
    const before = this.#nodes++, reach = this.#reach;
    this.#reach = depth;
    if (anchor !== undefined) this.#anchors.set(anchor, "open");
    if (node.tag !== undefined && !PLAIN_TAGS.test(node.tag)) {
      this.#problem(node, `has the tag ${node.tag}, which means nothing here`);
    }
    const value = isMap(node) ? this.#mapping(node, depth) : isSeq(node) ? this.#list(node, depth) : scalarValue(node as Scalar);
    if (anchor !== undefined) this.#anchors.set(anchor, { node, value, size: this.#nodes - before, height: this.#reach - depth });
    this.#reach = Math.max(reach, this.#reach);
    if (this.#nodes > MOST_NODES) this.#giveUp(node, `is too much: more than ${MOST_NODES} values, with aliases unfolded`);
    return value;
  }

  #aliased(node: ParsedNode & { readonly source: string }, depth: number): unknown {
    const anchor = this.#anchors.get(node.source);
    if (anchor === undefined || anchor === "open") {
      this.#problem(
        node,
        anchor === undefined ? `no anchor &${node.source} is above: ${STAR}` : `the alias *${node.source} contains itself`,
      );
      return null;
    }
    this.#nodes += anchor.size;
    this.#reach = Math.max(this.#reach, depth + anchor.height);
    if (this.#reach > MOST_DEPTH) this.#giveUp(node, `is nested more than ${MOST_DEPTH} deep, with aliases unfolded`);
    else if (this.#nodes > MOST_NODES) this.#giveUp(node, `is too much: more than ${MOST_NODES} values, with aliases unfolded`);
    return anchor.value;
  }

  /** One problem of that kind is enough. */
  #giveUp(node: ParsedNode, message: string): void {
    if (!this.#spent) this.#problem(node, message);
    this.#spent = true;
  }

  #list(node: YAMLSeq, depth: number): unknown[] {
    const list = node.items.map((item) => this.#value(item as ParsedNode, depth + 1));
    this.#origins.set(list, node);
    return list;
  }

  #mapping(node: YAMLMap, depth: number): Record<string, unknown> {
    const entries: [string, unknown][] = [];
    const merged: [string, unknown][] = [];
    const seen = new Set<string>();
    for (const pair of node.items) {
      const name = this.#name(pair.key as ParsedNode | null, node);
      if (name === null) continue;
      const value = this.#value(pair.value as ParsedNode | null, depth + 1);
      if (name === MERGE && isMergeKey(pair.key)) this.#merge(value, pair.key as ParsedNode, merged);
      else if (seen.has(name)) this.#problem(pair.key as ParsedNode, `the key ${quoted(name)} is there twice`);
      else {
        seen.add(name);
        entries.push([name, value]);
      }
    }
    // Own keys win, and of several merged mappings the first.
    for (const [name, value] of merged) {
      if (!seen.has(name)) {
        seen.add(name);
        entries.push([name, value]);
      }
    }
    const mapping = Object.fromEntries(entries);
    this.#origins.set(mapping, node);
    return mapping;
  }

  #name(key: ParsedNode | null, owner: YAMLMap): string | null {
    const node = key !== null && isAlias(key) ? this.#anchoredNode(key.source) : key;
    if (!isScalar(node)) {
      this.#problem(key ?? owner as ParsedNode, "a key must be a word");
      return null;
    }
    const name = typeof node.value === "string" ? node.value : node.source ?? String(node.value);
    // Objects have it already, and it is no key of theirs.
    if (name !== "__proto__") return name;
    this.#problem(node as ParsedNode, `the key "__proto__" cannot be used`);
    return null;
  }

  #anchoredNode(name: string): ParsedNode | null {
    const anchor = this.#anchors.get(name);
    return anchor === undefined || anchor === "open" ? null : anchor.node;
  }

  #merge(value: unknown, key: ParsedNode, into: [string, unknown][]): void {
    for (const mapping of Array.isArray(value) ? value : [value]) {
      if (typeof mapping !== "object" || mapping === null || Array.isArray(mapping)) this.#problem(key, "<< needs a mapping");
      else {
        into.push(...Object.entries(mapping));
        this.#nodes += Object.keys(mapping).length;
      }
    }
  }

  #problem(node: ParsedNode, message: string): void {
    if (this.#problems.length < MOST_PROBLEMS) this.#problems.push({ ...placeAt(this.#lines, startOf(node)), message });
  }

  #placeOf(root: unknown, path: ValuePath, start: number): TextPlace {
    let offset = start;
    let container = root;
    for (const step of path) {
      const node = typeof container === "object" && container !== null ? this.#origins.get(container) : undefined;
      const found = node === undefined ? undefined : placeWithin(node, step);
      if (found === undefined) break;
      offset = found;
      container = (container as Record<string | number, unknown>)[step];
    }
    return placeAt(this.#lines, offset);
  }
}

const MERGE = "<<";

function isMergeKey(key: unknown): boolean {
  return isScalar(key) && key.type === "PLAIN";
}

function scalarValue(node: Scalar): unknown {
  // Integers beyond 2^53 would quietly be others.
  if (typeof node.value === "bigint") return String(node.value);
  return node.value instanceof Date ? node.source : node.value; // of YAML 1.1
}

function startOf(node: ParsedNode): number {
  return (node.range as Range | null)?.[0] ?? 0;
}

function placeWithin(node: Collection, step: string | number): number | undefined {
  if (isSeq(node)) {
    const item = node.items[Number(step)] as ParsedNode | undefined;
    return item === undefined || item === null ? undefined : startOf(item);
  }
  const pairs = node.items.filter(isPair);
  const pair = pairs.find(({ key }) => isScalar(key) && (key.value === step || key.source === step)) ??
    pairs.find(({ key }) => isScalar(key) && key.value === MERGE);
  return pair === undefined ? undefined : startOf(pair.key as ParsedNode);
}

function quoted(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text);
}
