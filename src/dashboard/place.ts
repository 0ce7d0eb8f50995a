/*  Where the reader is: `#/routes?q=shop&after=...`. All that a view shows by choice (search, filters, page) is in it, so that a link to it
 *  shows a colleague the same, and Back goes back.
 */
import { Store } from "./store.ts";

export interface Place {
  /** `routes` in `#/routes/app.example.com?q=`. */
  readonly page: string;
  /** What follows the page, decoded; empty: nothing. */
  readonly subject: string;
  readonly query: Readonly<Record<string, string>>;
}

export const place: Store<Place> = new Store(parsePlace(location.hash));

addEventListener("hashchange", () => place.set(parsePlace(location.hash)));

export function parsePlace(hash: string): Place {
  const [path = "", search = ""] = hash.replace(/^#\/?/, "").split("?", 2);
  const [page = "", ...rest] = path.split("/");
  return {
    page: page === "" ? "overview" : page,
    subject: decoded(rest.join("/")),
    query: Object.fromEntries(new URLSearchParams(search)),
  };
}

/** For `href`. Empty parameters are left out. */
export function linkTo(page: string, subject = "", query: Readonly<Record<string, string>> = {}): string {
  const given = Object.entries(query).filter(([, value]) => value !== "");
  const search = given.length === 0 ? "" : `?${new URLSearchParams(given)}`;
  return `#/${page}${subject === "" ? "" : `/${encodeURIComponent(subject)}`}${search}`;
}

/** Changes parameters of the view that is shown; `replace` leaves no step to go back to, as while somebody types. */
export function changeQuery(changes: Readonly<Record<string, string>>, replace = false): void {
  const { page, subject, query } = place.value;
  const link = linkTo(page, subject, { ...query, ...changes });
  if (link === location.hash) return;
  if (!replace) {
    location.hash = link;
    return;
  }
  history.replaceState(null, "", link);
  place.set(parsePlace(link));
}

/** A host from somewhere else may hold `%` in places where it encodes nothing. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
