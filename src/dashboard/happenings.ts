/** What happened, as the admin API tells it: bad ends of exchanges, and the events of the edge. */
import type { Page } from "./answers.ts";

/** A bad end, in the names of the access log. */
export interface BadEnd {
  readonly time: string;
  readonly "request_id": string;
  readonly "trace_id": string;
  readonly error: string | null;
  readonly blame: string | null;
  readonly problem: string;
  /** 0: no head was sent. */
  readonly status: number;
  readonly client: string;
  readonly protocol: string;
  readonly method: string;
  readonly host: string;
  readonly route: string;
  readonly target: string;
  readonly upstream: string;
  readonly region: string;
  readonly attempts: number;
  readonly "bytes_in": number;
  readonly "bytes_out": number;
  readonly "head_wait_ms": number;
  readonly "probe_wait_ms": number;
  readonly "connect_ms": number;
  readonly "first_byte_ms": number | null;
  readonly "duration_ms": number;
  readonly worker: number;
}

export interface ListedBadEnd extends BadEnd {
  readonly id: number;
}

export interface ErrorsPage extends Page {
  readonly errors: readonly ListedBadEnd[];
  /** By blame: too many came at once. */
  readonly lost: Readonly<Record<string, number>>;
}

interface Stored {
  readonly id: number;
  readonly time: string;
}

export interface AuditEvent extends Stored {
  readonly type: "audit";
  readonly action: string;
  readonly subject: string;
  readonly details: Readonly<Record<string, unknown>>;
  readonly by: string;
  readonly succeeded: boolean;
}

export interface ErrorEvent extends Stored {
  readonly type: "error";
  readonly exchange: BadEnd;
}

export type EdgeEvent =
  | AuditEvent
  | ErrorEvent
  | Stored & {
    readonly type: "table";
    readonly revision: number;
    readonly routes: number;
    readonly added: number;
    readonly removed: number;
    readonly changed: number;
    readonly reason: string;
  }
  | Stored & { readonly type: "source"; readonly state: string; readonly problem: string }
  | Stored & {
    readonly type: "health";
    readonly key: string;
    readonly region: string;
    readonly verdict: string;
    readonly reason: string;
  }
  | Stored & {
    readonly type: "policies";
    readonly state: string;
    readonly revision: number;
    readonly services: number;
    readonly routes: number;
    readonly domains: number;
    readonly problem: string;
  }
  | Stored & { readonly type: "endpoint"; readonly key: string; readonly turn: string; readonly reason: string }
  | Stored & { readonly type: "worker"; readonly worker: number; readonly state: string; readonly reason: string };
