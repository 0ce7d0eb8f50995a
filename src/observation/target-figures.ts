/*  What is counted of one target of a route under a policy: the row of a host (host-figures), and then what its policies made of requests:
 *
 *      column   COLUMNS..   refused, in the order of REFUSALS
 *               then        attempts beyond the first, requests that have waited for a place, and for how many ms
 */
import { COLUMNS, type Row } from "./host-figures.ts";
import type { ErrorCode } from "./proxy-error.ts";

/** What a policy refuses with. */
export const REFUSALS = [
  "rate_limited",
  "breaker_open",
  "queue_full",
  "queue_timeout",
  "maintenance",
  "no_endpoints",
] as const satisfies readonly ErrorCode[];
export type Refusal = (typeof REFUSALS)[number];

export const REFUSAL_COLUMN: number = COLUMNS;
export const RETRY_COLUMN: number = REFUSAL_COLUMN + REFUSALS.length;
export const WAIT_COLUMN: number = RETRY_COLUMN + 1;
export const WAIT_MS_COLUMN: number = RETRY_COLUMN + 2;
export const TARGET_COLUMNS: number = RETRY_COLUMN + 3;

/** What all others are called together; in no id and no name is a parenthesis. */
export const OTHERS = "(other)";

/** Neither holds a space. `route`: as operators name it; empty: the bare route of a domain. `service`: empty where it answers by itself. */
export interface Target {
  readonly route: string;
  readonly service: string;
}

export function targetKey({ route, service }: Target): string {
  return `${route} ${service}`;
}

export function targetOf(key: string): Target {
  if (key === OTHERS) return { route: OTHERS, service: OTHERS };
  const space = key.indexOf(" ");
  return { route: key.slice(0, space), service: key.slice(space + 1) };
}

export function refusedOf(row: Row): number {
  let sum = 0;
  for (let column = REFUSAL_COLUMN; column < RETRY_COLUMN; column++) sum += row[column]!;
  return sum;
}
