/*  The connections of a listener for people: those that suit, the first ones in some order. One pass, in which nothing is made of a
 *  connection but numbers unless it may be among the first: 100,000 take some 10 ms.
 */
import type { ClientConnection, ConnectionList, ConnectionState, ConnectionWish } from "../observation/client-connection.ts";
import { BODY, COMPLETE, HEAD, TUNNEL } from "./client-input.ts";
import type { H1Connection } from "./h1-connection.ts";

interface Ranked {
  readonly connection: H1Connection;
  readonly rank: number;
}

export function listConnections(connections: Iterable<H1Connection>, wish: ConnectionWish, nowMs: number): ConnectionList {
  const { most } = wish;
  let total = 0;
  let kept: Ranked[] = [];
  let bound = Infinity;
  for (const connection of connections) {
    if (!suits(connection, wish)) continue;
    total++;
    const value = valueOf(connection, wish.order);
    const rank = wish.descending ? -value : value;
    if (rank > bound || most === 0) continue;
    kept.push({ connection, rank });
    if (kept.length < 4 * most) continue;
    kept = kept.sort(inOrder).slice(0, most);
    bound = kept.at(-1)!.rank;
  }
  const first = kept.sort(inOrder).slice(0, most);
  return { total, connections: first.map(({ connection }) => viewOf(connection, nowMs)) };
}

function inOrder(one: Ranked, other: Ranked): number {
  return one.rank - other.rank || one.connection.id - other.connection.id;
}

function suits(connection: H1Connection, { kind, state, part }: ConnectionWish): boolean {
  const is = stateOf(connection);
  if (kind !== null && (is === "tunnel") !== (kind === "tunnel")) return false;
  if (state !== null && is !== state) return false;
  if (part === "" || connection.peer.address.includes(part)) return true;
  const { exchange } = connection.input;
  return exchange !== null &&
    (exchange.host.includes(part) || exchange.record.upstream.includes(part) || exchange.head.target.includes(part));
}

function stateOf({ input }: H1Connection): ConnectionState {
  switch (input.phase) {
    case HEAD:
      return input.headStarted ? "head" : "idle";
    case TUNNEL:
      return "tunnel";
    case BODY:
    case COMPLETE:
      return "exchange";
    default:
      return "closing";
  }
}

/** Older is more: it has the age. */
function valueOf(connection: H1Connection, order: ConnectionWish["order"]): number {
  switch (order) {
    case "age":
      return -connection.sinceAtMs;
    case "requests":
      return connection.requests;
    case "bytes_in":
      return connection.bytesIn;
    case "bytes_out":
      return connection.out.bytes;
  }
}

function viewOf(connection: H1Connection, nowMs: number): ClientConnection {
  const { exchange } = connection.input;
  return {
    id: connection.id,
    client: connection.peer.address,
    sinceAtMs: performance.timeOrigin + connection.sinceAtMs,
    state: stateOf(connection),
    requests: connection.requests,
    bytesIn: connection.bytesIn,
    bytesOut: connection.out.bytes,
    host: exchange?.host ?? "",
    method: exchange?.head.method ?? "",
    target: exchange?.head.target ?? "",
    requestId: exchange?.requestId ?? "",
    upstream: exchange?.record.upstream ?? "",
    exchangeMs: exchange === null ? null : Math.max(0, nowMs - exchange.record.startedAtMs),
  };
}
