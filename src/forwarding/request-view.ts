/** What policies see of an exchange's request; each thing is made when it is first asked for. */
import type { RequestView } from "../decision/match-route.ts";
import { clientAddress, type IsTrusted } from "../downstream/client-address.ts";
import type { Exchange } from "../downstream/exchange.ts";
import { FieldKind, type HeaderList } from "../wire/header-list.ts";

export class ExchangeView implements RequestView {
  readonly #exchange: Exchange;
  readonly #isTrusted: IsTrusted;
  #target: string | undefined;
  #path: string | undefined;
  #client: string | undefined;

  constructor(exchange: Exchange, isTrusted: IsTrusted) {
    this.#exchange = exchange;
    this.#isTrusted = isTrusted;
  }

  get host(): string {
    return this.#exchange.host;
  }

  get authority(): string | null {
    const { authority } = this.#exchange.head;
    return authority === "" ? null : authority;
  }

  get method(): string {
    return this.#exchange.head.method;
  }

  get path(): string {
    if (this.#path !== undefined) return this.#path;
    const { target } = this;
    const query = target.indexOf("?");
    return this.#path = query < 0 ? target : target.slice(0, query);
  }

  get query(): string {
    const { target } = this;
    const query = target.indexOf("?");
    return query < 0 ? "" : target.slice(query + 1);
  }

  get fields(): HeaderList {
    return this.#exchange.head.fields;
  }

  get clientAddress(): string {
    const { peer, head } = this.#exchange;
    if (!peer.trusted) return peer.address;
    return this.#client ??= clientAddress(peer.address, head.fields.joined(FieldKind.XForwardedFor), this.#isTrusted);
  }

  get trusted(): boolean {
    return this.#exchange.peer.trusted;
  }

  get requestId(): string {
    return this.#exchange.requestId;
  }

  get accept(): string | null {
    return this.#exchange.head.fields.joined(FieldKind.Accept);
  }

  /** As the client speaks to the first of the proxies that we believe. */
  get scheme(): string {
    const { peer, scheme, head } = this.#exchange;
    const said = peer.trusted ? head.fields.joined(FieldKind.XForwardedProto)?.toLowerCase() : undefined;
    return said === "https" || said === "http" ? said : scheme;
  }

  /** What it was last sent to. */
  get upstreamKind(): "vm" | "region" | null {
    return this.#exchange.record.upstreamKind;
  }

  /** So far. */
  get attempts(): number {
    return this.#exchange.record.attempts;
  }

  /** In origin form, also where the client sent an absolute one. */
  get target(): string {
    return this.#target ??= this.#exchange.head.originForm;
  }
}
