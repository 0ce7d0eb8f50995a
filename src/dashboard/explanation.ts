/** What the admin API answers to `POST /api/explain`, as far as the page shows it. */

export interface Candidate {
  readonly key: string;
  readonly kind: "vm" | "region";
  readonly region: string;
  readonly when: "now" | "before";
  readonly availability: string;
  readonly load: number;
  readonly outcome: "chosen" | "awaited" | "lost";
  readonly why: string;
}

export interface Field {
  readonly name: string;
  readonly value: string;
}

export interface Conclusion {
  readonly kind: "forward" | "fall-back" | "probe-first" | "table-first" | "queue" | "respond" | "refuse";
  readonly endpoint: string | null;
  readonly status: number | null;
  readonly code: string | null;
  readonly blame: string | null;
  readonly problem: string;
  readonly text: string;
}

export interface Explanation {
  readonly region: string;
  readonly worker: number | null;
  readonly revision: number;
  readonly "current_revision": number;
  readonly request: { readonly method: string; readonly target: string; readonly authority: string; readonly host: string | null };
  readonly route: string | null;
  readonly policy: string | null;
  readonly service: string | null;
  readonly steps: readonly string[];
  readonly candidates: readonly Candidate[];
  readonly conclusion: Conclusion;
  readonly hop: { readonly address: string; readonly port: number; readonly region: string; readonly via: string } | null;
  readonly fields: { readonly set: readonly Field[]; readonly added: readonly Field[]; readonly removed: readonly Field[] } | null;
}

export interface ExplainQuestion {
  readonly url: string;
  readonly method: string;
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly client?: string;
  readonly suppose: Readonly<Record<string, "healthy" | "unhealthy">>;
}
