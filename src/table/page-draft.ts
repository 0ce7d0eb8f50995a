/*  A page that is being made. What is put and removed is first only written down, record by record as they lie in buckets; at the end,
 *  before anybody looks, and when it has become much, it is sorted and woven into the buckets that it concerns. So a million routes
 *  cost 0.3 us each, and leave little garbage; merging 64 at a time costs 0.9 us, and twice the memory.
 */
import { bitsFor, type BucketServices, compareRecords, indexIn, inOne, isWildcardAt, MAX_HOST_LENGTH, type Names } from "./page.ts";
import { Page, RECORD_HEAD, recordEnd, TAG_BITS, tagAt } from "./page.ts";
import type { Service } from "./services.ts";

/** What is written down for a page, at most: 0.3 ms to merge. */
const MOST_NOTES = 1024;
const FIRST_NOTES_BYTES = 64;

/** One merge at a time works with these: tag and number of each note, and where it is. */
const keys = new Uint32Array(MOST_NOTES);
const starts = new Uint32Array(MOST_NOTES);
/** Where names are put together, how far, and whether they are others than before. */
let together: Names = new Uint8Array(16_384);
let wovenEnd = 0;
let renamed = false;

export class PageDraft {
  readonly #base: Page;
  #bits: number;
  #size: number;
  #wildcards: number;
  #names: Names[];
  #services: BucketServices[];
  #changed = false;
  #notes: Names = new Uint8Array(FIRST_NOTES_BYTES);
  #notesEnd = 0;
  /** Of each note; null: removed. */
  #noted: (Service | null)[] = [];

  constructor(base: Page) {
    this.#base = base;
    this.#bits = base.bits;
    this.#size = base.size;
    this.#wildcards = base.wildcards;
    this.#names = base.names as Names[];
    this.#services = base.services as BucketServices[];
  }

  get size(): number {
    this.#merge();
    return this.#size;
  }

  find(tag: number, host: string): Service | undefined {
    this.#merge();
    const place = tag >>> TAG_BITS - this.#bits;
    const index = indexIn(this.#names[place]!, tag, host);
    return index < 0 ? undefined : this.#services[place]![index];
  }

  /** The host is the characters [start, end) of the text; null removes it. */
  note(tag: number, text: string, start: number, end: number, service: Service | null): void {
    const length = end - start;
    if (length < 1 || length > MAX_HOST_LENGTH) throw new RangeError(`Host of ${length} characters`);
    const at = this.#notesEnd;
    const notesEnd = at + RECORD_HEAD + length;
    if (notesEnd > this.#notes.length) this.#notes = grown(this.#notes, notesEnd);
    const notes = this.#notes;
    notes[at] = tag >>> 8;
    notes[at + 1] = tag;
    notes[at + 2] = length;
    let all = 0;
    for (let from = start, to = at + RECORD_HEAD; from < end; from++, to++) {
      const code = text.charCodeAt(from);
      all |= code;
      notes[to] = code;
    }
    if (all > 0x7f) throw new RangeError(`Host "${text.slice(start, end)}" is not ASCII`);
    this.#notesEnd = notesEnd;
    this.#noted.push(service);
    if (this.#noted.length === MOST_NOTES) this.#merge();
  }

  /** Ends the draft. */
  finish(): Page {
    this.#merge();
    if (!this.#changed) return this.#base;
    return this.#size === 0 ? Page.empty : new Page(this.#bits, this.#size, this.#wildcards, this.#names, this.#services);
  }

  #merge(): void {
    const count = this.#noted.length;
    if (count === 0) return;
    this.#sortNotes(count);
    if (2 * count > this.#size) this.#mergePage(count);
    else this.#mergeBuckets(count);
    this.#noted = [];
    this.#notesEnd = 0;
  }

  /** Few notes: only their buckets are made anew. */
  #mergeBuckets(count: number): void {
    const shift = TAG_BITS - this.#bits;
    for (let from = 0; from < count;) {
      const place = keys[from]! >>> TAG_BITS >>> shift;
      let to = from + 1;
      while (to < count && keys[to]! >>> TAG_BITS >>> shift === place) to++;
      const services = this.#weave(this.#names[place]!, this.#services[place]!, from, to);
      if (services !== null) {
        this.#own();
        if (renamed) this.#names[place] = together.slice(0, wovenEnd);
        this.#services[place] = services.slice(); // without spare room
      }
      from = to;
    }
    if (bitsFor(this.#size) === this.#bits) return;
    const [names, services] = inOne(this.#names, this.#services);
    this.#cut(names, names.length, services);
  }

  /** Many: all buckets are. */
  #mergePage(count: number): void {
    const [names, all] = inOne(this.#names, this.#services);
    const services = this.#weave(names, all, 0, count);
    if (services === null) return;
    this.#changed = true;
    this.#cut(together, wovenEnd, services);
  }

  /** As records are ordered; of one host's the last note comes last. */
  #sortNotes(count: number): void {
    const notes = this.#notes;
    for (let i = 0, at = 0; i < count; i++) {
      starts[i] = at;
      keys[i] = tagAt(notes, at) << TAG_BITS | i;
      at = recordEnd(notes, at);
    }
    if (count === 1) return;
    keys.subarray(0, count).sort();
    for (let from = 0; from < count;) {
      let to = from + 1;
      while (to < count && keys[to]! >>> TAG_BITS === keys[from]! >>> TAG_BITS) to++;
      if (to - from > 1) sortByName(notes, keys.subarray(from, to));
      from = to;
    }
  }

  /** Names and notes [from, to), each in their order: names as they are put together, and services; null when nothing changes. */
  #weave(names: Names, services: BucketServices, from: number, to: number): BucketServices | null {
    const notes = this.#notes;
    reserve(names.length + this.#notesEnd);
    const kept: Service[] = [];
    let end = 0, at = 0, index = 0, changed = false;
    renamed = false;
    for (let i = from; i < to; i++) {
      const start = starts[numberOf(keys[i]!)]!;
      if (i + 1 < to && compareRecords(notes, start, notes, starts[numberOf(keys[i + 1]!)]!) === 0) continue; // said anew
      const service = this.#noted[numberOf(keys[i]!)]!;
      let order = 1;
      while (at < names.length && (order = compareRecords(names, at, notes, start)) < 0) {
        end = append(names, at, end);
        at = recordEnd(names, at);
        kept.push(services[index++]!);
      }
      const before = order === 0 ? services[index++]! : null;
      if (before !== null) at = recordEnd(names, at);
      if (service !== null) {
        end = append(notes, start, end);
        kept.push(service);
      }
      if (before === service) continue;
      changed = true;
      const growth = Number(service !== null) - Number(before !== null);
      if (growth === 0) continue;
      renamed = true;
      this.#size += growth;
      if (isWildcardAt(notes, start)) this.#wildcards += growth;
    }
    if (!changed) return null;
    for (; index < services.length; at = recordEnd(names, at)) {
      end = append(names, at, end);
      kept.push(services[index++]!);
    }
    wovenEnd = end;
    return kept;
  }

  #own(): void {
    if (this.#changed) return;
    this.#changed = true;
    this.#names = this.#names.slice();
    this.#services = this.#services.slice();
  }

  /** Into as many buckets as the size asks for. */
  #cut(names: Names, end: number, services: BucketServices): void {
    const bits = bitsFor(this.#size);
    const shift = TAG_BITS - bits;
    const cutNames: Names[] = [], cutServices: BucketServices[] = [];
    for (let place = 0, at = 0, index = 0; place < 1 << bits; place++) {
      const from = at, first = index;
      for (; at < end && tagAt(names, at) >>> shift === place; index++) at = recordEnd(names, at);
      cutNames.push(names.slice(from, at));
      cutServices.push(services.slice(first, index));
    }
    this.#bits = bits;
    this.#names = cutNames;
    this.#services = cutServices;
  }
}

/** Behind what is put together so far. */
function append(from: Names, at: number, end: number): number {
  const target = together;
  for (const last = recordEnd(from, at); at < last; at++) target[end++] = from[at]!;
  return end;
}

function reserve(length: number): void {
  if (length > together.length) together = grown(together, length);
}

function grown(bytes: Names, length: number): Names {
  const larger = new Uint8Array(Math.max(2 * bytes.length, length));
  larger.set(bytes);
  return larger;
}

function numberOf(key: number): number {
  return key & 0xffff;
}

/** Notes of equal tags: hardly ever more than two. Stable. */
function sortByName(notes: Names, run: Uint32Array): void {
  const sorted = [...run].sort((a, b) => compareRecords(notes, starts[numberOf(a)]!, notes, starts[numberOf(b)]!) || a - b);
  run.set(sorted);
}
