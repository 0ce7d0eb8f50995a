/*  Lists of the admin API, all alike: `?limit=&after=&q=&sort=` and filters in, `{ total, <name>: [...], next }` out.
 *
 *  `sort` names a column; with a minus before it the largest come first; equal ones are in order of their identity. `next` is the `after` of the next page: an
 *  opaque text that holds the last entry's place in that order, so that entries which come and go between two pages do not shift it.
 */
import { z } from "zod";

/** What an entry is sorted by; null comes first, with a minus last. */
export type Columns<Item, Name extends string> = Readonly<Record<Name, (item: Item) => string | number | null>>;

export interface ListWish<Name extends string> {
  readonly limit: number;
  readonly after: string;
  readonly sort: Name | `-${Name}`;
}

export interface ListPage<Item> {
  /** All that suit, not only those of the page. */
  readonly total: number;
  readonly page: readonly Item[];
  readonly next: string | null;
}

export const LIMIT = z.coerce.number().int().min(1).max(1000).default(100).describe("Entries of a page");
export const AFTER = z.string().default("").describe("`next` of the page before");
export const NEXT = z.string().nullable().describe("`after` of the next page; null: there is none");
export const TOTAL = z.int().describe("All that suit, not only those of the page");

/** The parameters of a list that can be sorted by these columns. */
export function listQuery<Name extends string, Filters extends z.core.$ZodShape>(
  columns: readonly Name[],
  first: Name | `-${Name}`,
  filters: Filters,
) {
  const orders: (Name | `-${Name}`)[] = columns.flatMap((column): (Name | `-${Name}`)[] => [column, `-${column}`]);
  return z.strictObject({
    limit: LIMIT,
    after: AFTER,
    q: z.string().default("").describe("Part of what is looked for"),
    sort: z.enum(orders as [Name | `-${Name}`, ...(Name | `-${Name}`)[]]).default(first as never).describe("A minus: descending"),
    ...filters,
  });
}

/** One page of the items that suit. `null`: the `after` is none of ours. */
export function listPage<Item, Name extends string>(
  items: Iterable<Item>,
  { limit, after, sort }: ListWish<Name>,
  columns: Columns<Item, Name>,
  identity: (item: Item) => string,
): ListPage<Item> | null {
  const descending = sort.startsWith("-");
  const column = columns[(descending ? sort.slice(1) : sort) as Name];
  const bound = after === "" ? null : readPlace(after);
  if (bound === undefined) return null;
  const inOrder = (one: Entry<Item>, other: Entry<Item>) => compare(one, other, descending);
  let total = 0;
  let kept: Entry<Item>[] = [];
  for (const item of items) {
    total++;
    const entry = { value: column(item), identity: identity(item), item };
    if (bound !== null && compare(entry, bound, descending) <= 0) continue;
    kept.push(entry);
    // Never much more than a page, however many there are
    if (kept.length >= 4 * limit) kept = kept.sort(inOrder).slice(0, limit + 1);
  }
  kept.sort(inOrder);
  const page = kept.slice(0, limit);
  return { total, page: page.map(({ item }) => item), next: kept.length > limit ? placeText(page.at(-1)!) : null };
}

interface Place {
  readonly value: string | number | null;
  readonly identity: string;
}

interface Entry<Item> extends Place {
  readonly item: Item;
}

function compare(one: Place, other: Place, descending: boolean): number {
  const order = compareValues(one.value, other.value);
  if (order !== 0) return descending ? -order : order;
  return compareValues(one.identity, other.identity);
}

function compareValues(one: string | number | null, other: string | number | null): number {
  if (one === other) return 0;
  if (one === null) return -1;
  if (other === null) return 1;
  return one < other ? -1 : 1;
}

const PLACE = z.tuple([z.union([z.string(), z.number(), z.null()]), z.string()]);

function placeText({ value, identity }: Place): string {
  return Buffer.from(JSON.stringify([value, identity])).toString("base64url");
}

/** undefined: it is no place. */
function readPlace(text: string): Place | undefined {
  try {
    const [value, identity] = PLACE.parse(JSON.parse(Buffer.from(text, "base64url").toString()));
    return { value, identity };
  } catch {
    return undefined;
  }
}
