/*  The table `route_policies`: what is said of domains beyond their VMs, as rows of text, and what they mean.
 *
 *  It may be absent. One that has been read and cannot be any more (dropped, renamed, altered, forbidden) says nothing: what it said stays,
 *  until it can be read again or somebody says that it is meant (`letGo`). A row that is wrong excludes its domain: whoever wrote it wants requests treated so, and might be hurt if they were
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
  | { readonly kind: "none"; readonly why: "absent" | "other" | "forbidden" }
  /** `rows` null: as before. */
  | { readonly kind: "all"; readonly digest: string; readonly rows: readonly PolicyRow[] | null }
  /** Of these names; those without a row have none any more. */
  | { readonly kind: "some"; readonly names: readonly string[]; readonly rows: readonly PolicyRow[] };

/** How the table itself stands. */
export interface PolicyTableState {
  /** Why it cannot be read; null: it can, or there has never been one. */
  readonly problem: string | null;
  /** Rows that stay in force although it cannot be read. */
  readonly kept: number;
  /** They have gone with this reading, because somebody said so. */
  readonly letGo: boolean;
}

const PROBLEMS = {
  "absent": `${POLICY_TABLE} is not there any more`,
  "other": `${POLICY_TABLE} has no columns domain and policy that can be understood`,
  "forbidden": `this user may not read ${POLICY_TABLE}`,
} as const;

/** A row of this size is a mistake, and would be parsed at every change. */
const MOST_BYTES = 256 * 1024;

/** One row: is there a table of policies, and may this user read it? `policy` may be of any type whose text is JSON. */
export const POLICY_TABLE_QUERY = `
  select case when to_regclass('${POLICY_TABLE}') is null then 'absent' when count(*) < 2 then 'other'
    when bool_and(has_column_privilege(attrelid, attnum, 'select')) then 'readable' else 'forbidden' end as policy_table
  from pg_attribute join pg_type on pg_type.oid = atttypid
  where attrelid = to_regclass('${POLICY_TABLE}') and not attisdropped and (attname = 'domain' or attname = 'policy' and (
    typcategory = 'S' or typcategory = 'U' and pg_type.oid not in ('bytea'::regtype, 'uuid'::regtype)
  ))`;

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
  { policy_table: found }: Answer["others"],
  known: string | null,
): Promise<PolicyNews> {
  if (found !== "readable") return { kind: "none", why: found as keyof typeof PROBLEMS };
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
  #problem: string | null = null;
  #letGoMeant = false;
  #letGo = false;
  #policies: ReadonlyMap<string, DomainPolicy> = new Map();
  #exclusions: readonly Exclusion[] = [];
  /** What `exclude` has answered, and of what. */
  #last: { readonly of: Routes; readonly exclusions: readonly Exclusion[]; readonly routes: Routes } | null = null;

  constructor(around: PolicySurroundings) {
    this.#around = around;
  }

  /** Whether there may be some that cannot be read. */
  get unreadable(): boolean {
    return this.#problem !== null;
  }

  /** What stays of a table that cannot be read goes with the next reading, unless that can read it again. */
  letGo(): void {
    this.#letGoMeant = this.unreadable;
  }

  /** As of the last reading, for that one. */
  takeState(): PolicyTableState {
    const letGo = this.#letGo;
    this.#letGo = false;
    return { problem: this.#problem, kept: this.unreadable ? this.#parsed.size : 0, letGo };
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
    const letGo = this.#letGoMeant;
    this.#letGoMeant = false;
    this.#problem = null;
    switch (news.kind) {
      case "none":
        this.#digest = null;
        if (news.why === "forbidden" || this.#parsed.size > 0 && !letGo) this.#problem = PROBLEMS[news.why];
        if (!letGo) return;
        this.#letGo = this.#parsed.size > 0;
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
