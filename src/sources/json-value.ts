/*  JSON as a plain value with places. It is YAML too, but what is large is made by programs, and programs write JSON: this is some twenty
 *  times as fast, and while a file is read the control plane does nothing else. What is no JSON, or is none that anybody means, is left to YAML,
 *  which says what is wrong.
 */
import { placeAtOffset, type PlacedValue, type ValuePath } from "./placed-value.ts";

/** null: see `parseYaml`. */
export function parseJson(text: string, mostDepth: number): PlacedValue | null {
  if (!/^\uFEFF?\s*[{[]/.test(text)) return null;
  const reader = new Reader(text, mostDepth);
  const value = reader.read();
  return value === undefined ? null : { value, placeOf: (path) => placeAtOffset(text, reader.offsetOf(value, path)) };
}

const SPACE = /[ \t\r\n]*/y;
const PLAIN_STRING = /"[^"\\\p{Cc}]*"/uy;
const STRING = /"(?:[^"\\\p{Cc}]|\\.)*"/uy;
const OTHER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null/y;

/** undefined: not so. */
class Reader {
  readonly #text: string;
  readonly #mostDepth: number;
  /** Of keys and items, where they begin. */
  readonly #offsets: WeakMap<object, ReadonlyMap<string, number> | readonly number[]> = new WeakMap();
  #at = 0;

  constructor(text: string, mostDepth: number) {
    this.#text = text;
    this.#mostDepth = mostDepth;
  }

  read(): unknown {
    if (this.#text.startsWith("\uFEFF")) this.#at = 1;
    this.#skip();
    const value = this.#value(1);
    this.#skip();
    return this.#at === this.#text.length ? value : undefined;
  }

  offsetOf(root: unknown, path: ValuePath): number {
    let offset = 0;
    let container = root;
    for (const step of path) {
      const offsets = typeof container === "object" && container !== null ? this.#offsets.get(container) : undefined;
      const found = offsets instanceof Map ? offsets.get(String(step)) : (offsets as readonly number[] | undefined)?.[Number(step)];
      if (found === undefined) break;
      offset = found;
      container = (container as Record<string | number, unknown>)[step];
    }
    return offset;
  }

  #value(depth: number): unknown {
    const first = this.#text[this.#at];
    if (first === '"') return this.#string();
    if (first !== "{" && first !== "[") return this.#other();
    if (depth > this.#mostDepth) return undefined;
    this.#at++;
    return first === "{" ? this.#object(depth) : this.#array(depth);
  }

  #object(depth: number): unknown {
    const value: Record<string, unknown> = {};
    const offsets = new Map<string, number>();
    this.#offsets.set(value, offsets);
    if (this.#next("}")) return value;
    for (;;) {
      const start = this.#at;
      const key = this.#text[start] === '"' ? this.#string() : undefined;
      if (key === undefined || key === "__proto__" || offsets.has(key) || !this.#next(":")) return undefined;
      const part = this.#value(depth + 1);
      if (part === undefined) return undefined;
      offsets.set(key, start);
      value[key] = part;
      if (this.#next("}")) return value;
      if (!this.#next(",")) return undefined;
    }
  }

  #array(depth: number): unknown {
    const value: unknown[] = [];
    const offsets: number[] = [];
    this.#offsets.set(value, offsets);
    if (this.#next("]")) return value;
    for (;;) {
      offsets.push(this.#at);
      const part = this.#value(depth + 1);
      if (part === undefined) return undefined;
      value.push(part);
      if (this.#next("]")) return value;
      if (!this.#next(",")) return undefined;
    }
  }

  #string(): string | undefined {
    const plain = this.#take(PLAIN_STRING);
    if (plain !== null) return plain.slice(1, -1);
    const written = this.#take(STRING);
    try {
      return written === null ? undefined : JSON.parse(written) as string;
    } catch {
      return undefined; // An escape that there is not.
    }
  }

  #other(): unknown {
    const written = this.#take(OTHER);
    return written === null ? undefined : JSON.parse(written);
  }

  /** Past that character and the space around it; false: another is there. */
  #next(character: string): boolean {
    this.#skip();
    if (this.#text[this.#at] !== character) return false;
    this.#at++;
    this.#skip();
    return true;
  }

  #skip(): void {
    this.#take(SPACE);
  }

  #take(pattern: RegExp): string | null {
    pattern.lastIndex = this.#at;
    const [found] = pattern.exec(this.#text) ?? [];
    if (found === undefined) return null;
    this.#at += found.length;
    return found;
  }
}
