/*  The loop guard (RFC 9110, 7.6.3): every forwarded request carries `Via: 1.1 edgeproxy-<region>`. A request that has
 *  already passed this region, or three edges at all, would go round for ever when two tables contradict each other.
 */

const PREFIX = "edgeproxy-";
/** Edges that a request may pass before this one refuses it. */
const MAX_EDGES = 3;

/** This region's name in Via. */
export function pseudonym(regionId: string): string {
  return PREFIX + regionId;
}

export function regionOf(pseudonym: string): string {
  return pseudonym.slice(PREFIX.length);
}

/** The pseudonyms of the edges that a request has passed, oldest first. `via` is the joined field, null without one. */
export function edgesPassed(via: string | null): string[] {
  if (via === null || !via.includes(PREFIX)) return [];
  const edges: string[] = [];
  for (const element of via.split(",")) {
    const receivedBy = element.trim().split(/[ \t]+/)[1];
    if (receivedBy?.startsWith(PREFIX)) edges.push(receivedBy.toLowerCase());
  }
  return edges;
}

/** Whether a request that has passed these edges goes in circles. */
export function isLoop(edges: readonly string[], own: string): boolean {
  return edges.length >= MAX_EDGES || edges.includes(own);
}
