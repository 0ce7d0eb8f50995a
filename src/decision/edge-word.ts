/*  What one edge tells the next of a request that leads to VMs of another region. Both have the same policies, and what is drawn or counted
 *  must be so once: a split drawn twice gives a canary of 10 % 19 % of the requests, a limit taken twice lets half of them through.
 *
 *      X-Edgeproxy-Decided: ROUTE SERVICE counted|uncounted KEY SIGNATURE        KEY: the route key it has believed; each - for none
 *
 *  The next edge matches by itself. Where it finds the same route it takes the target that was drawn, unless that has left its split, and
 *  takes nothing of a limit that has counted the request; else it decides anew. Its own maintenance and drains stay in force.
 *
 *  Who writes such a field says "do not count me", so it is believed only from a trusted peer and with the signature of an edge with the
 *  same secret: load balancers are trusted, too, and pass on what clients write. Signed is all that it says, with the request's id and the
 *  sender's name in Via. It goes to other edges alone, and what others send under its name goes nowhere.
 */
import { orderNameOf } from "../table/policy-order.ts";
import type { PolicyRoute } from "../table/policy.ts";
import { FieldKind } from "../wire/header-list.ts";
import { isSignatureOf, signatureOf } from "../wire/signature.ts";
import { edgesPassed } from "./loop.ts";
import type { MatchedRoute, RequestView } from "./match-route.ts";
import type { Vouched } from "./route-key.ts";
import type { Surroundings } from "./surroundings.ts";
import type { Trace } from "./trace.ts";

/** Believed. */
export interface EdgeWord {
  /** Its name in Via. */
  readonly edge: string;
  /** As `orderNameOf` says. */
  readonly route: string;
  /** What the split has led to. */
  readonly service: string;
  /** By the rate limit of the route. */
  readonly counted: boolean;
  /** The one that it has believed; null: none. */
  readonly routeKey: string | null;
}

export interface Signer {
  readonly pseudonym: string;
  readonly secret: string;
}

const FIELD = "X-Edgeproxy-Decided";
const PURPOSE = "decided";
const NONE = "-";
/** Else the key of who is believed whatever he writes: such a one no route wants. */
const KEY = /^[\x21-\x7e]+$/;
const EVERY: Vouched = { all: true, key: null };
const SIGNED: Vouched = { all: false, key: null };

/** The line for the next edge; null: there is nothing that it would not decide in the same way. */
export function edgeWordLine(matched: MatchedRoute, requestId: string, { pseudonym, secret }: Signer): string | null {
  const { route, service, routeKey } = matched;
  const key = routeKey !== null && KEY.test(routeKey) ? routeKey : NONE;
  if (service === null || secret === "" || key === NONE && !hasWord(route)) return null;
  const counted = matched.limit !== null || matched.told?.counted === true ? "counted" : "uncounted";
  const word = `${orderNameOf(route) || NONE} ${service.name} ${counted} ${key}`; // names have no spaces
  return `${FIELD}: ${word} ${signatureOf(signedText(pseudonym, requestId, word), PURPOSE, secret)}\r\n`;
}

/** What the edge before has decided of a request; null: nothing, or it is not believed. */
export function edgeWordOf(view: RequestView, { secret }: Surroundings, trace?: Trace): EdgeWord | null {
  if (!view.trusted || !view.fields.has(FieldKind.EdgeDecided)) return null;
  const edge = edgesOf(view).at(-1) ?? "";
  const text = view.fields.joined(FieldKind.EdgeDecided)!;
  const space = text.lastIndexOf(" ");
  const word = text.slice(0, space);
  if (edge === "" || !isSignatureOf(text.slice(space + 1), signedText(edge, view.requestId, word), PURPOSE, secret)) {
    trace?.({ kind: "note", text: "what an edge is said to have decided is not believed: it is not signed with our secret" });
    return null;
  }
  const [route = "", service = "", counted, key = NONE] = word.split(" ");
  return { edge, route, service, counted: counted === "counted", routeKey: key === NONE ? null : key };
}

/** As far as it counts here: the route is the same. */
export function toldOf(word: EdgeWord, route: PolicyRoute, trace?: Trace): EdgeWord | null {
  if (!hasWord(route)) return null;
  if (word.route !== orderNameOf(route)) {
    trace?.({ kind: "note", text: `${word.edge} has decided by another route, ${word.route}: decided anew` });
    return null;
  }
  trace?.({ kind: "note", text: `${word.edge} has decided: service ${word.service}${word.counted ? ", and has counted it" : ""}` });
  return word;
}

/** Whose route keys are believed. */
export function vouchedBy(view: RequestView, word: EdgeWord | null): Vouched {
  if (!view.trusted) return SIGNED;
  if (word === null) return edgesOf(view).length === 0 ? EVERY : SIGNED;
  return { all: false, key: word.routeKey };
}

function edgesOf({ fields }: RequestView): readonly string[] {
  return edgesPassed(fields.joined(FieldKind.Via));
}

/** Everything else comes out the same at each edge. */
function hasWord({ split, rateLimit }: PolicyRoute): boolean {
  return split.length > 1 || rateLimit !== null;
}

function signedText(edge: string, requestId: string, word: string): string {
  return `${edge} ${requestId} ${word}`;
}
