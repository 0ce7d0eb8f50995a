/** Where connections without an exchange are found: with their endpoint, last used last, and among all, longest at rest first. */
import type { ConnectionLimit } from "./connection-limit.ts";
import type { EndpointState } from "./endpoint-state.ts";
import type { H1UpstreamConnection } from "./h1-connection.ts";

/** Idle connections kept per endpoint. */
const MAX_IDLE = 512;

export function rest(connection: H1UpstreamConnection, { idle }: EndpointState, { resting }: ConnectionLimit): void {
  if (idle.length >= MAX_IDLE) idle.shift()?.close();
  idle.push(connection);
  resting.add(connection);
}

/** At once, not when the socket says that it is closed: nobody may take it in between. */
export function leaveRest(connection: H1UpstreamConnection, { idle }: EndpointState, { resting }: ConnectionLimit): void {
  const place = idle.indexOf(connection);
  if (place >= 0) idle.splice(place, 1);
  resting.delete(connection);
}
