/*  Route keys: who carries one is sent to the routes of that key (sandbox routing). Any client can write one, so it is believed from trusted
 *  proxies, from anyone where the operator says so, and wherever it is signed:
 *
 *      X-Route-Key: sandbox-123                            header    signed: sandbox-123.SIGNATURE, also in the next three
 *      baggage: sd-routing-key=sandbox-123                 baggage   (W3C; percent-encoded, may have properties)
 *      tracestate: sd-routing-key=sandbox-123              tracestate
 *      Cookie: sd-routing-key=sandbox-123                  cookie
 *      Host: sandbox-123--app.example.com                  host      signed: sandbox-123--SIGNATURE--app.example.com
 *
 *  Another region's edge is a trusted proxy that passes on what strangers write: of a request that comes by one, a key is believed if that
 *  edge says so (see edge-word), or if it is signed.
 *
 *  The first carrier with a believed key counts. A preview host stands for the host behind the `--`; in its key all letters are small.
 */
import { fieldValue, type SaidFields } from "../table/field-values.ts";
import type { SandboxPolicy } from "../table/policy.ts";
import { withoutSpace } from "../wire/bytes.ts";
import { cookieValues } from "../wire/cookies.ts";
import type { HeaderList } from "../wire/header-list.ts";
import { isSignatureOf, SIGNATURE_LENGTH, signatureOf } from "../wire/signature.ts";
import type { RequestView } from "./match-route.ts";
import type { Trace } from "./trace.ts";

/** In baggage, tracestate and cookies. */
const MEMBER = "sd-routing-key";
const PURPOSE = "route-key";
const MAX_LENGTH = 256;

/** Whose unsigned keys are believed, of one request. */
export interface Vouched {
  readonly all: boolean;
  /** The one that the edge before has believed; null: none. */
  readonly key: string | null;
}

/** What operators give to those who are to be believed. */
export function signedRouteKey(key: string, secret: string): string {
  return `${key}.${signatureOf(key, PURPOSE, secret)}`;
}

/** For a preview host; null: the key cannot stand in one. */
export function signedPreviewHost(key: string, host: string, secret: string): string | null {
  const label = `${key}--${signatureOf(key, PURPOSE, secret)}--${host.split(".", 1)[0]}`;
  return isHostKey(key) && label.length <= 63 ? `${label}${host.slice(host.split(".", 1)[0]!.length)}` : null;
}

/** The believed key that fields of the request carry; null: none. */
export function routeKeyOf(
  view: RequestView,
  sandbox: SandboxPolicy,
  secret: string,
  vouched: Vouched,
  trace?: Trace,
): string | null {
  const all = vouched.all || sandbox.trust === "anyone";
  for (const carrier of sandbox.carriers) {
    const text = carrier === "host" ? null : carried(carrier, view, sandbox);
    if (text === null || text === "" || text.length > MAX_LENGTH) continue;
    const key = believed(text, all || text === vouched.key, secret);
    if (key !== null) return key;
    trace?.({
      kind: "note",
      text: `the route key in ${carrier} is not believed: neither from a trusted proxy nor signed, nor believed by an edge before`,
    });
  }
  return null;
}

function carried(
  carrier: "header" | "baggage" | "tracestate" | "cookie",
  said: SaidFields,
  sandbox: SandboxPolicy,
): string | null {
  switch (carrier) {
    case "header":
      return fieldValue(said, sandbox.routeKeyHeader);
    case "baggage":
    case "tracestate":
      return memberOf(said.fields, carrier);
    case "cookie":
      return cookieValues(said.fields, MEMBER)[0] ?? null;
  }
}

/** Of lists such as `a=1;x=y, sd-routing-key=sandbox-123`. */
function memberOf(fields: HeaderList, field: string): string | null {
  for (let i = 0; i < fields.count; i++) {
    if (!fields.nameIs(i, field)) continue;
    for (const member of fields.value(i).split(",")) {
      const equals = member.indexOf("=");
      if (equals < 0 || withoutSpace(member.slice(0, equals)) !== MEMBER) continue;
      return percentDecoded(withoutSpace(member.slice(equals + 1).split(";", 1)[0]!));
    }
  }
  return null;
}

/** As it is where that is no percent-encoding. */
function percentDecoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** A good signature is left out of the key also where the key would be believed without. */
function believed(text: string, trusted: boolean, secret: string): string | null {
  const dot = text.length - SIGNATURE_LENGTH - 1;
  if (dot > 0 && text[dot] === "." && isSignatureOf(text.slice(dot + 1), text.slice(0, dot), PURPOSE, secret)) {
    return text.slice(0, dot);
  }
  return trusted ? text : null;
}

/** What a preview host stands for. */
export interface PreviewHost {
  readonly host: string;
  /** null: it is not believed. */
  readonly key: string | null;
}

/** null: the host is none. Names in other alphabets begin with `xn--`, which is no key. */
export function previewHost({ host }: RequestView, sandbox: SandboxPolicy, secret: string, vouched: Vouched): PreviewHost | null {
  const dashes = host.indexOf("--");
  const dot = host.indexOf(".");
  if (dashes < 1 || dot < dashes || host.startsWith("xn--") || !sandbox.carriers.includes("host")) return null;
  const key = host.slice(0, dashes);
  const rest = host.slice(dashes + 2);
  const after = SIGNATURE_LENGTH;
  if (rest.startsWith("--", after) && isSignatureOf(rest.slice(0, after), key, PURPOSE, secret)) {
    return { host: rest.slice(after + 2), key };
  }
  const known = vouched.all || vouched.key === key || sandbox.trust === "anyone";
  return rest.startsWith(".") ? null : { host: rest, key: known ? key : null };
}

function isHostKey(key: string): boolean {
  return /^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/.test(key) && !key.includes("--") && key !== "xn";
}
