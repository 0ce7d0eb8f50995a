/*  What one edge tells the next of a request that leads to VMs of another region. Both have the same policies, and what is drawn or counted
 *  must be so once: a split drawn twice gives a canary of 10 % 19 % of the requests, a limit taken twice lets half of them through.
 *
 *      X-Edgeproxy-Decided: ROUTE SERVICE counted|uncounted SIGNATURE
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
import type { Surroundings } from "./decide.ts";
import { edgesPassed } from "./loop.ts";
import type { MatchedRoute, RequestView } from "./match-route.ts";
import type { Trace } from "./trace.ts";

/** Believed. */
export interface EdgeWord {
  /** Its name in Via. */
  readonly edge: string;
  /** What the split has led to. */
  readonly service: string;
  /** By the rate limit of the route. */
  readonly counted: boolean;
}

const FIELD = "X-Edgeproxy-Decided";
const PURPOSE = "decided";

/** The line for the next edge; null: there is nothing that it would not decide in the same way. */
export function edgeWordLine(matched: MatchedRoute, requestId: string, { pseudonym, secret }: Signer): string | null {
  const { route, service } = matched;
  if (service === null || secret === "" || !hasWord(route)) return null;
  const counted = matched.limit !== null || matched.told?.counted === true;
  const word = `${orderNameOf(route)} ${service.name} ${counted ? "counted" : "uncounted"}`; // names have no spaces
  return `${FIELD}: ${word} ${signatureOf(signedText(pseudonym, requestId, word), PURPOSE, secret)}\r\n`;
}

export interface Signer {
  readonly pseudonym: string;
  readonly secret: string;
}

/** What the edge before has decided of a request to this route; null: nothing, or nothing that counts here. */
export function edgeWordOf(view: RequestView, route: PolicyRoute, { secret }: Surroundings, trace?: Trace): EdgeWord | null {
  if (!view.trusted || !view.fields.has(FieldKind.EdgeDecided) || !hasWord(route)) return null;
  const edge = edgesPassed(view.fields.joined(FieldKind.Via)).at(-1) ?? "";
  const text = view.fields.joined(FieldKind.EdgeDecided)!;
  const space = text.lastIndexOf(" ");
  const word = text.slice(0, space);
  if (edge === "" || !isSignatureOf(text.slice(space + 1), signedText(edge, view.requestId, word), PURPOSE, secret)) {
    trace?.({ kind: "note", text: "what an edge is said to have decided is not believed: it is not signed with our secret" });
    return null;
  }
  const [name = "", service = "", counted] = word.split(" ");
  if (name !== orderNameOf(route)) {
    trace?.({ kind: "note", text: `${edge} has decided by another route, ${name}: decided anew` });
    return null;
  }
  trace?.({ kind: "note", text: `${edge} has decided: service ${service}${counted === "counted" ? ", and has counted it" : ""}` });
  return { edge, service, counted: counted === "counted" };
}

/** Everything else comes out the same at each edge. */
function hasWord({ split, rateLimit }: PolicyRoute): boolean {
  return split.length > 1 || rateLimit !== null;
}

function signedText(edge: string, requestId: string, word: string): string {
  return `${edge} ${requestId} ${word}`;
}
