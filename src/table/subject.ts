/** What of a request routes are matched against. */
import { cookieValues } from "../wire/cookies.ts";
import { queryValues } from "../wire/query.ts";
import { fieldValues, type SaidFields } from "./field-values.ts";

/** Where a named value stands; of route keys there is one, without a name. */
export type Place = "header" | "cookie" | "query" | "route key";

/** What is looked at. */
export interface Requested extends SaidFields {
  /** Normalised. */
  readonly host: string;
  /** As the client speaks to the first of the proxies that we believe. */
  readonly scheme: string;
  readonly method: string;
  /** Without the `?`. */
  readonly query: string;
}

export class Subject {
  readonly method: string;
  /** One of the readings. */
  readonly path: string;
  /** The believed one; null: none. */
  readonly routeKey: string | null;
  readonly #requested: Requested;
  /** Of cookies and parameters, which are costly to find. */
  #values: Map<string, readonly string[]> | null = null;

  constructor(requested: Requested, path: string, routeKey: string | null) {
    this.method = requested.method;
    this.path = path;
    this.routeKey = routeKey;
    this.#requested = requested;
  }

  get host(): string {
    return this.#requested.host;
  }

  get scheme(): string {
    return this.#requested.scheme;
  }

  /** All values of that name, as text; empty: none. */
  values(place: Place, name: string): readonly string[] {
    if (place === "header") return fieldValues(this.#requested, name).map(asText);
    if (place === "route key") return this.routeKey === null ? NONE : [this.routeKey];
    const values = this.#values ??= new Map();
    const key = `${place} ${name}`;
    let found = values.get(key);
    if (found === undefined) values.set(key, found = this.#read(place, name).map(asText));
    return found;
  }

  #read(place: "cookie" | "query", name: string): string[] {
    const { fields, query } = this.#requested;
    return place === "cookie" ? cookieValues(fields, name) : queryValues(query, name);
  }
}

const NONE: readonly string[] = [];

/** Bytes as UTF-8, which operators write. */
function asText(value: string): string {
  for (let i = 0; i < value.length; i++) if (value.charCodeAt(i) > 0x7f) return Buffer.from(value, "latin1").toString("utf8");
  return value;
}
