/*  Policies of tens of thousands of domains mostly say the same few things: equal parts of them become one object, so that a domain costs what
 *  is its own. 100,000 rows of four kinds: half of the memory. Routes and services stay objects of their own, since what is counted and
 *  compiled is known by them; parts of them are only read.
 */
import type { DomainPolicy, PolicyRoute, ServiceRecord } from "./policy.ts";

/** Parts that are known; beyond it begins anew. */
const MOST_KNOWN = 10_000;
/** As JSON. What is longer is hardly said twice, and its text would be kept. */
const MOST_LENGTH = 2_000;

export class EqualParts {
  readonly #known: Map<string, object> = new Map();

  /** Says the same. */
  of(policy: DomainPolicy): DomainPolicy {
    const { host, services, routes } = policy;
    const hosts = [host];
    return {
      host,
      services: services.length === 0 ? this.#shared(services) : services.map((service) => this.#service(service)),
      routes: routes.length === 0 ? this.#shared(routes) : routes.map((route) => this.#route(route, host, hosts)),
    };
  }

  #service(service: ServiceRecord): ServiceRecord {
    return { ...service, policy: this.#shared(service.policy) };
  }

  /** Written out: an object that is made of others by their keys takes twice the memory. */
  #route(route: PolicyRoute, host: string, own: readonly string[]): PolicyRoute {
    return {
      id: route.id === host ? host : route.id,
      origin: route.origin,
      hosts: route.hosts.length === 1 && route.hosts[0] === host ? own : route.hosts,
      match: this.#shared(route.match),
      priority: route.priority,
      split: this.#shared(route.split),
      splitKey: this.#shared(route.splitKey),
      redirect: this.#shared(route.redirect),
      respond: this.#shared(route.respond),
      rewrite: this.#shared(route.rewrite),
      requestFields: this.#shared(route.requestFields),
      responseFields: this.#shared(route.responseFields),
      rateLimit: this.#shared(route.rateLimit),
      maxBodyBytes: route.maxBodyBytes,
      timeouts: this.#shared(route.timeouts),
      maintenance: this.#shared(route.maintenance),
      drain: this.#shared(route.drain),
      errors: this.#shared(route.errors),
    };
  }

  #shared<Part extends object | null>(part: Part): Part {
    if (part === null) return part;
    const text = JSON.stringify(part);
    if (text.length > MOST_LENGTH) return part;
    const known = this.#known.get(text);
    if (known !== undefined) return known as Part;
    if (this.#known.size >= MOST_KNOWN) this.#known.clear();
    this.#known.set(text, part);
    return part;
  }
}
