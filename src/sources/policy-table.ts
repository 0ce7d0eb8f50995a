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
import { HostMap } from "../table/host-map.ts";
import type { DomainPolicy } from "../table/policy.ts";
import { EqualParts } from "../table/equal-parts.ts";
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

/** By domain, as the table spells it. Does not change. */
export type PolicyRows = ReadonlyMap<string, Pick<PolicyRow, "text">>;

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

/** Worth tidying up after: some 50 MB. */
const MANY_ROWS = 10_000;

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

/** A row, of which there may be 100,000. */
interface Parsed {
  readonly text: string;
  /** null: its domain is none. */
  readonly host: string | null;
  /** null: it is wrong. */
  readonly policy: DomainPolicy | null;
  readonly problems: readonly string[] | null;
}

/** What the domains' policies are, reading by reading. */
export class PolicyTable {
  readonly #around: PolicySurroundings;
  readonly #tidy: () => void;
  readonly #parts: EqualParts = new EqualParts();
  /** By domain, as the table spells it. */
  #parsed: HostMap<Parsed> = HostMap.none;
  /** By host: domains that are spelled in another way. */
  readonly #spellings: Map<string, Set<string>> = new Map();
  /** By domain. */
  readonly #excluded: Map<string, Exclusion> = new Map();
  #digest: string | null = null;
  #problem: string | null = null;
  #letGoMeant = false;
  #letGo = false;
  #policies: HostMap<DomainPolicy> = HostMap.none;
  #exclusions: readonly Exclusion[] = [];
  /** What `exclude` has answered, and of what. */
  #last: { readonly of: Routes; readonly exclusions: readonly Exclusion[]; readonly routes: Routes } | null = null;

  /** `tidy`: called after much was parsed; may take its time. */
  constructor(around: PolicySurroundings, tidy: () => void = () => {}) {
    this.#around = around;
    this.#tidy = tidy;
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
  get policies(): HostMap<DomainPolicy> {
    return this.#policies;
  }

  /** Those that are wrong. */
  get exclusions(): readonly Exclusion[] {
    return this.#exclusions;
  }

  /** For whoever keeps them; the same map until something changes. */
  get rows(): PolicyRows {
    return this.#parsed;
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
        return await this.#replace(news.rows, news.names);
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

  /** `names`: of which the rows are all there are; null: all names. What does not change costs nothing but to be compared. */
  async #replace(rows: readonly PolicyRow[], names: readonly string[] | null): Promise<void> {
    const before = this.#parsed;
    const puts: [string, Parsed][] = [];
    const named = new Set<string>();
    await inSlices(rows, (row) => {
      named.add(row.domain);
      if (before.get(row.domain)?.text === row.text) return;
      puts.push([row.domain, this.#parse(row)]);
      if (puts.length % MANY_ROWS === 0) this.#tidy();
    });
    const removals: string[] = [];
    await inSlices(names ?? before.keys(), (domain) => void (!named.has(domain) && before.has(domain) && removals.push(domain)));
    if (puts.length + removals.length === 0) return;
    this.#parsed = before.with(puts, removals);
    await this.#compile([...removals, ...puts.map(([domain]) => domain)], before);
  }

  #parse({ domain, text }: PolicyRow): Parsed {
    const normal = normaliseDomain(domain);
    const host = normal === domain ? domain : normal; // one text for both
    const reading = this.#read(host, text);
    return "problems" in reading
      ? { text, host, policy: null, problems: reading.problems }
      : { text, host, policy: this.#parts.of(reading.policy), problems: null };
  }

  #read(host: string | null, text: string): DomainPolicyReading {
    if (host === null) return { problems: ["its domain is not a host name"] };
    if (text.length > MOST_BYTES) return { problems: [`is larger than ${MOST_BYTES} bytes`] };
    try {
      return parseDomainPolicy(host, JSON.parse(text), this.#around);
    } catch (error) {
      return { problems: [(error as Error).message] };
    }
  }

  /** `before`: what was there of the domains that have changed. */
  async #compile(domains: readonly string[], before: HostMap<Parsed>): Promise<void> {
    const hosts = new Set<string>();
    let other = false;
    const exclude = (domain: string, host: string | null, reason: string): void => {
      this.#excluded.set(domain, { domain, host, code: "bad_policy", reason });
      other = true;
    };
    await inSlices(domains, (domain) => {
      const { host, problems } = (this.#parsed.get(domain) ?? before.get(domain))!;
      if (this.#excluded.delete(domain)) other = true;
      if (host === null) return void (this.#parsed.has(domain) && exclude(domain, null, wrong(problems)));
      hosts.add(host);
      if (host !== domain) this.#spell(host, domain);
    });
    const puts: [string, DomainPolicy][] = [], removals: string[] = [];
    await inSlices(hosts, (host) => {
      const rows = this.#rowsOf(host);
      for (const [domain] of rows) if (this.#excluded.delete(domain)) other = true;
      let policy: DomainPolicy | null = null;
      for (const [domain, row] of rows) {
        if (row.policy === null) exclude(domain, host, wrong(row.problems));
        else if (policy === null) policy = row.policy;
        else exclude(domain, host, wrong(["another row of route_policies is about the same host"]));
      }
      if (policy === null || rows.some(([domain]) => this.#excluded.has(domain))) removals.push(host);
      else puts.push([host, policy]);
    });
    this.#policies = this.#policies.with(puts, removals);
    if (other) this.#exclusions = [...this.#excluded.values()].sort((a, b) => a.domain < b.domain ? -1 : 1);
  }

  /** A row came, went, or changed. */
  #spell(host: string, domain: string): void {
    const spellings = this.#spellings.get(host) ?? new Set();
    if (this.#parsed.has(domain)) this.#spellings.set(host, spellings.add(domain));
    else if (spellings.delete(domain) && spellings.size === 0) this.#spellings.delete(host);
  }

  /** By domain. */
  #rowsOf(host: string): readonly (readonly [domain: string, row: Parsed])[] {
    const domains = [host, ...this.#spellings.get(host) ?? []].sort();
    return domains.flatMap((domain) => {
      const row = this.#parsed.get(domain);
      return row === undefined ? [] : [[domain, row] as const];
    });
  }
}

function wrong(problems: readonly string[] | null): string {
  return `its policy is wrong: ${(problems ?? []).join("; ")}`;
}
