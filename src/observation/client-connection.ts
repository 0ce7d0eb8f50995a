/** A client's connection and what it carries now, for people. Plain JSON; no field's value, so no secret but in targets. */

export interface ClientConnection {
  /** Of the worker: no two of its connections have the same. */
  readonly id: number;
  /** Address of the peer. */
  readonly client: string;
  /** Since 1970. */
  readonly sinceAtMs: number;
  /** `idle`: between two requests; `head`: in the middle of one's head; `closing`: its last answer leaves. */
  readonly state: ConnectionState;
  /** Requests so far, with the one under way. */
  readonly requests: number;
  /** Over the life of the connection. */
  readonly bytesIn: number;
  readonly bytesOut: number;
  /** Of the request under way; empty without one. */
  readonly host: string;
  readonly method: string;
  readonly target: string;
  readonly requestId: string;
  /** `address:port` of the endpoint that has it; empty: none yet. */
  readonly upstream: string;
  /** How long the request under way has lasted; null without one. */
  readonly exchangeMs: number | null;
}

export const CONNECTION_STATES = ["idle", "head", "exchange", "tunnel", "closing"] as const;
export type ConnectionState = (typeof CONNECTION_STATES)[number];

export const CONNECTION_ORDERS = ["age", "requests", "bytes_in", "bytes_out"] as const;
export type ConnectionOrder = (typeof CONNECTION_ORDERS)[number];

/** Which of them, and in which order: the first `most`. */
export interface ConnectionWish {
  /** null: of any kind; `tunnel`: in state tunnel; `connection`: in another. */
  readonly kind: "connection" | "tunnel" | null;
  readonly state: ConnectionState | null;
  /** Part of client, host, target or endpoint; empty: any. */
  readonly part: string;
  readonly order: ConnectionOrder;
  /** The largest first. */
  readonly descending: boolean;
  readonly most: number;
}

export interface ConnectionList {
  /** All that suit. */
  readonly total: number;
  readonly connections: readonly ClientConnection[];
}
