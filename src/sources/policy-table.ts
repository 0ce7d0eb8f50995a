/*  The table `route_policies`: what is said of domains beyond their VMs, as rows of text, and what they mean.
 *
 *  It may be absent. A row that is wrong excludes its domain: whoever wrote it wants requests treated so, and might be hurt if they were
 *  not, while all other domains are served as ever.
 *
 *  Where everything is compared a digest says whether there is anything to read; where the log is followed it names the domains.
 */
import { inSlices } from "../runtime/in-slices.ts";
import { normaliseDomain } from "../table/host-name.ts";
import type { DomainPolicy } from "../table/policy.ts";
import type { Routes } from "../table/routes.ts";
import { POLICY_TABLE } from "./change-feed.ts";
import { type DomainPolicyReading, parseDomainPolicy } from "./domain-policy.ts";
import type { PolicySurroundings } from "./policy-records.ts";
import type { Exclusion } from "./source.ts";
import type { Answer, ReadTransaction } from "./table-reading.ts";

export interface PolicyRow {
  /** As the table spells it. */
  readonly domain: string;
  /** JSON. */
  readonly text: string;
}

/** What a reading has found. */
export type PolicyNews =
  /** `unreadable`: there may be some, but this user may not see them. */
  | { readonly kind: "none"; readonly unreadable: boolean }
  /** `rows` null: as before. */
  | { readonly kind: "all"; readonly digest: string; readonly rows: readonly PolicyRow[] | null }
  /** Of these names; those without a row have none any more. */
  | { readonly kind: "some"; readonly names: readonly string[]; readonly rows: readonly PolicyRow[] };

/** A row of this size is a mistake, and would be parsed at every change. */
const MOST_BYTES = 256 * 1024;

/** One row: is there a table of policies, and may this user read it? */
export const POLICY_TABLE_QUERY = `
  select count(*) = 2 as policy_table, coalesce(bool_and(has_column_privilege(attrelid, attnum, 'select')), false) as policy_readable
  from pg_attribute where attrelid = to_regclass('${POLICY_TABLE}') and attname in ('domain', 'policy') and not attisdropped`;

const DIGEST_QUERY = `
  select count(*) || ':' || coalesce(sum(hashtextextended(domain::text || E'\\n' || policy::text, 0)), 0) as policy_digest
  from ${POLICY_TABLE}`;

/** Columns `policed`, `policy`. Of what is too large so much as tells that it is: it may be hundreds of megabytes. */
export function policiesWhere(condition: string): string {
  return `select domain::text as policed, left(policy::text, ${MOST_BYTES + 1}) as policy from ${POLICY_TABLE} where ${condition}`;
}

/** Everything, if it is not as it was. `found`: what POLICY_TABLE_QUERY says. */
export async function allPolicies(
  transaction: ReadTransaction,
  { policy_table: present, policy_readable: readable }: Answer["others"],
  known: string | null,
): Promise<PolicyNews> {
  if (present !== true || readable !== true) return { kind: "none", unreadable: present === true };
  const digest = String((await transaction.ask(DIGEST_QUERY)).others["policy_digest"]);
  const rows = digest === known ? null : (await transaction.ask(policiesWhere("true"))).policies;
  return { kind: "all", digest, rows };
}

interface Parsed {
  readonly text: string;
  readonly host: string | null;
  readonly reading: DomainPolicyReading;
}

/** What the domains' policies are, reading by reading. */
export class PolicyTable {
  readonly #around: PolicySurroundings;
  #parsed: ReadonlyMap<string, Parsed> = new Map();
  #rows: readonly PolicyRow[] | null = null;
  #digest: string | null = null;
  #unreadable = false;
  #policies: ReadonlyMap<string, DomainPolicy> = new Map();
  #exclusions: readonly Exclusion[] = [];
  /** What `exclude` has answered, and of what. */
  #last: { readonly of: Routes; readonly exclusions: readonly Exclusion[]; readonly routes: Routes } | null = null;

  constructor(around: PolicySurroundings) {
    this.#around = around;
  }

  /** There may be some, but this user may not see them. */
  get unreadable(): boolean {
    return this.#unreadable;
  }

  /** Of what `take` was last told of everything; null: something else has been said since. */
  get digest(): string | null {
    return this.#digest;
  }

  /** By host; the same map until something changes. */
  get policies(): ReadonlyMap<string, DomainPolicy> {
    return this.#policies;
  }

  /** Those that are wrong. */
  get exclusions(): readonly Exclusion[] {
    return this.#exclusions;
  }

  /** For whoever keeps them; the same list until something changes. */
  get rows(): readonly PolicyRow[] {
    return this.#rows ??= [...this.#parsed].map(([domain, { text }]) => ({ domain, text }));
  }

  async take(news: PolicyNews): Promise<void> {
    this.#unreadable = news.kind === "none" && news.unreadable;
    switch (news.kind) {
      case "none":
        this.#digest = null;
        return await this.#replace([], null);
      case "all":
        this.#digest = news.digest;
        return news.rows === null ? undefined : await this.#replace(news.rows, null);
      case "some":
        this.#digest = null;
        return await this.#replace(news.rows, new Set(news.names));
    }
  }

  /** The routes without the domains whose policy is wrong. */
  exclude(routes: Routes): Routes {
    if (this.#exclusions.length === 0) return routes;
    if (this.#last?.of === routes && this.#last.exclusions === this.#exclusions) return this.#last.routes;
    const draft = routes.draft();
    for (const { host } of this.#exclusions) if (host !== null && routes.get(host) !== undefined) draft.remove(host);
    this.#last = { of: routes, exclusions: this.#exclusions, routes: draft.finish() };
    return this.#last.routes;
  }

  /** `names`: of which the rows are all there are; null: all names. */
  async #replace(rows: readonly PolicyRow[], names: ReadonlySet<string> | null): Promise<void> {
    const before = this.#parsed;
    const parsed = new Map(names === null ? [] : before);
    for (const name of names ?? []) parsed.delete(name);
    await inSlices(rows, (row) => {
      const known = before.get(row.domain);
      parsed.set(row.domain, known?.text === row.text ? known : this.#parse(row));
    });
    const looked = names ?? parsed.keys();
    if (parsed.size === before.size && [...looked].every((domain) => before.get(domain) === parsed.get(domain))) return;
    this.#parsed = parsed;
    this.#rows = null;
    this.#compile();
  }

  #parse({ domain, text }: PolicyRow): Parsed {
    const host = normaliseDomain(domain);
    if (host === null) return { text, host, reading: { problems: ["its domain is not a host name"] } };
    if (text.length > MOST_BYTES) return { text, host, reading: { problems: [`is larger than ${MOST_BYTES} bytes`] } };
    try {
      return { text, host, reading: parseDomainPolicy(host, JSON.parse(text), this.#around) };
    } catch (error) {
      return { text, host, reading: { problems: [(error as Error).message] } };
    }
  }

  #compile(): void {
    const policies = new Map<string, DomainPolicy>();
    const exclusions: Exclusion[] = [];
    const exclude = (domain: string, host: string | null, reason: string): void => {
      exclusions.push({ domain, host, code: "bad_policy", reason });
    };
    for (const [domain, { host, reading }] of [...this.#parsed].sort(([a], [b]) => a < b ? -1 : 1)) {
      if ("problems" in reading || host === null) {
        exclude(domain, host, `its policy is wrong: ${"problems" in reading ? reading.problems.join("; ") : ""}`);
      } else if (policies.has(host)) {
        exclude(domain, host, "its policy is wrong: another row of route_policies is about the same host");
      } else policies.set(host, reading.policy);
    }
    for (const { host } of exclusions) if (host !== null) policies.delete(host);
    this.#policies = policies;
    this.#exclusions = exclusions;
  }
}
