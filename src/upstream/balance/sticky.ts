/*  Cookies by which clients stick to an endpoint: `TAG.EXPIRY.SIGNATURE`.
 *
 *  TAG stands for the endpoint and does not tell its address; EXPIRY is a moment in seconds since 1970, in base 36; the SIGNATURE is an
 *  HMAC over both and the service's name, so that nobody makes such a cookie, carries it to another service, or keeps it longer than meant.
 *  Whatever is wrong with a cookie: the client gets another endpoint and another cookie.
 */
import { createHmac, timingSafeEqual } from "node:crypto";
import type { ServiceEndpoint } from "../../table/policy.ts";

/** What a genuine cookie says. */
export interface Stuck {
  readonly endpoint: ServiceEndpoint;
  /** Since 1970. */
  readonly expiresAtMs: number;
}

const TAG_BYTES = 9;
const SIGNATURE_BYTES = 16;
/** Beyond a few, somebody is trying what they cost. */
const MOST_COOKIES = 4;
/** Cookies whose signature has been looked at; others are looked at anew. */
const MAX_KNOWN = 4096;
const SHAPE = /^([\w-]{12})\.([0-9a-z]{1,9})\.([\w-]{22})$/;

export class StickyCookies {
  readonly #secret: string;
  readonly #tags: WeakMap<ServiceEndpoint, string> = new WeakMap();
  readonly #byTag: WeakMap<readonly ServiceEndpoint[], ReadonlyMap<string, ServiceEndpoint>> = new WeakMap();
  /** Genuine ones, with their service: a client sends its own with each request, and each is asked for twice. */
  readonly #genuine: Map<string, string> = new Map();

  constructor(secret: string) {
    this.#secret = secret;
  }

  valueFor(endpoint: ServiceEndpoint, expiresAtMs: number): string {
    const tag = this.#tagOf(endpoint);
    const expiry = Math.ceil(expiresAtMs / 1000).toString(36);
    return `${tag}.${expiry}.${this.#signature(endpoint.service, tag, expiry).toString("base64url")}`;
  }

  /** The first of a request's cookies that is genuine and whose endpoint is still there; null: none. */
  read(values: readonly string[], service: string, endpoints: readonly ServiceEndpoint[], nowMs: number): Stuck | null {
    for (const value of values.slice(0, MOST_COOKIES)) {
      const stuck = this.#readOne(value, service, endpoints, nowMs);
      if (stuck !== null) return stuck;
    }
    return null;
  }

  #readOne(value: string, service: string, endpoints: readonly ServiceEndpoint[], nowMs: number): Stuck | null {
    const [, tag = "", expiry = "", signature = ""] = SHAPE.exec(value) ?? [];
    if (tag === "") return null;
    const expiresAtMs = parseInt(expiry, 36) * 1000;
    if (expiresAtMs <= nowMs) return null;
    const endpoint = this.#tagged(endpoints).get(tag);
    if (endpoint === undefined) return null;
    if (this.#genuine.get(value) === service) return { endpoint, expiresAtMs };
    const given = Buffer.from(signature, "base64url");
    const genuine = this.#signature(service, tag, expiry);
    if (given.length !== genuine.length || !timingSafeEqual(given, genuine)) return null;
    if (this.#genuine.size >= MAX_KNOWN) this.#genuine.clear();
    this.#genuine.set(value, service);
    return { endpoint, expiresAtMs };
  }

  /** Of two that are the same address the first. */
  #tagged(endpoints: readonly ServiceEndpoint[]): ReadonlyMap<string, ServiceEndpoint> {
    let byTag = this.#byTag.get(endpoints);
    if (byTag === undefined) {
      byTag = new Map(endpoints.toReversed().map((endpoint) => [this.#tagOf(endpoint), endpoint]));
      this.#byTag.set(endpoints, byTag);
    }
    return byTag;
  }

  #tagOf(endpoint: ServiceEndpoint): string {
    let tag = this.#tags.get(endpoint);
    if (tag === undefined) {
      tag = this.#hmac(`endpoint\n${endpoint.key}`).subarray(0, TAG_BYTES).toString("base64url");
      this.#tags.set(endpoint, tag);
    }
    return tag;
  }

  #signature(service: string, tag: string, expiry: string): Buffer {
    return this.#hmac(`sticky\n${service}\n${tag}.${expiry}`).subarray(0, SIGNATURE_BYTES);
  }

  #hmac(text: string): Buffer {
    return createHmac("sha256", this.#secret).update(text).digest();
  }
}
