/** Connections of clients, with what they carry now: each worker lists its own, and the pages are put together here. */
import { z } from "zod";
import {
  type ClientConnection,
  CONNECTION_ORDERS,
  CONNECTION_STATES,
  type ConnectionOrder,
} from "../observation/client-connection.ts";
import type { AdminDeps } from "./deps.ts";
import { TIME } from "./fields.ts";
import { LIMIT, NEXT, TOTAL } from "./listing.ts";
import { type AdminContext, adminPath, type Given } from "./path.ts";
import { timeText } from "./time-text.ts";

/** How far one can go through them page by page: they change faster than anybody reads. */
const MOST = 10_000;

const CONNECTION = z.object({
  worker: z.int(),
  id: z.int().describe("Within its worker"),
  client: z.string().describe("Address of the peer"),
  since: TIME,
  state: z.enum(CONNECTION_STATES).describe(
    "idle: between two requests; head: in the middle of one; closing: its last answer leaves",
  ),
  requests: z.int().describe("So far, with the one under way"),
  bytes_in: z.int(),
  bytes_out: z.int(),
  host: z.string().describe("This and the following are of the request under way; empty without one"),
  method: z.string(),
  target: z.string(),
  request_id: z.string(),
  upstream: z.string().describe("ADDRESS:PORT of the endpoint that has it"),
  exchange_ms: z.int().nullable().describe("How long that has lasted"),
});

type ConnectionView = z.output<typeof CONNECTION>;
type Sort = ConnectionOrder | `-${ConnectionOrder}`;

const SORTS: Sort[] = CONNECTION_ORDERS.flatMap((order): Sort[] => [order, `-${order}`]);

const QUERY = z.strictObject({
  limit: LIMIT,
  after: z.string().regex(/^\d{0,5}$/, "is no `next` of this list").default("").describe("`next` of the page before"),
  q: z.string().default("").describe("Part of client, host, target or upstream"),
  sort: z.enum(SORTS as [Sort, ...Sort[]]).default("-age").describe("A minus: descending, so that the oldest come first"),
  kind: z.enum(["connection", "tunnel"]).optional().describe("connection: all but tunnels"),
  state: z.enum(CONNECTION_STATES).optional(),
});

export const LIST_CONNECTIONS = adminPath({
  method: "GET",
  path: "/api/connections",
  tag: "connections",
  summary: "Connections of clients, and tunnels, with what they carry now",
  query: QUERY,
  answers: {
    200: { meaning: "A page of them", schema: z.object({ total: TOTAL, connections: z.array(CONNECTION), next: NEXT }) },
  },
  answer: listConnections,
});

async function listConnections(
  c: AdminContext,
  deps: AdminDeps,
  { query }: Given<unknown, z.output<typeof QUERY>, unknown>,
): Promise<Response> {
  const { kind = null, state = null, sort } = query;
  const descending = sort.startsWith("-");
  const order = (descending ? sort.slice(1) : sort) as ConnectionOrder;
  const from = Number(query.after);
  const to = Math.min(from + query.limit, MOST);
  const lists = await deps.connections({ kind, state, part: query.q.toLowerCase(), order, descending, most: to });
  const all = lists.flatMap(({ worker, list }) => list.connections.map((connection) => viewOf(worker, connection)));
  all.sort((one, other) => compare(one, other, order, descending));
  const total = lists.reduce((sum, { list }) => sum + list.total, 0);
  return c.json({ total, connections: all.slice(from, to), next: total > to && to < MOST ? String(to) : null });
}

function compare(one: ConnectionView, other: ConnectionView, order: ConnectionOrder, descending: boolean): number {
  const difference = order === "age" ? Date.parse(other.since) - Date.parse(one.since) : one[order] - other[order];
  return (descending ? -difference : difference) || one.worker - other.worker || one.id - other.id;
}

function viewOf(worker: number, connection: ClientConnection): ConnectionView {
  return {
    worker,
    id: connection.id,
    client: connection.client,
    since: timeText(connection.sinceAtMs),
    state: connection.state,
    requests: connection.requests,
    bytes_in: connection.bytesIn,
    bytes_out: connection.bytesOut,
    host: connection.host,
    method: connection.method,
    target: connection.target,
    request_id: connection.requestId,
    upstream: connection.upstream,
    exchange_ms: connection.exchangeMs === null ? null : Math.round(connection.exchangeMs),
  };
}
