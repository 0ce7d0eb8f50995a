/*  How a generation of the proxy is succeeded by the next one without a refused connection: what the two say to each other.
 *
 *      successor (take-over.ts)                            predecessor (succession-offer.ts)
 *          | -- hello ----------------------------------------> |   a supervisor, or a worker whose supervisor is gone
 *          | <------ offer, with the listening descriptors ---- |   or refused: starting, succeeding, draining
 *          |         and, if it wants it, the memory of cells   |
 *        starts workers, reads a table                       goes on serving
 *          | -- ready ----------------------------------------> |
 *        accepts from the same sockets                       drains: accepts no more, finishes what it has
 *          | <--------------------------------- draining ... -- |   progress, as often as it likes
 *          | <--------------------------------------- closes -- |   it is through
 *
 *  A connection that ends before `ready` changes nothing for either side: the predecessor serves on; the successor keeps the sockets, in
 *  whose queues nothing is lost. The sockets are the same ones in both processes, so between `ready` and the last accept of the
 *  predecessor both accept, and never nobody. Each generation listens at @edgeproxy/<key>/<pid>, in the abstract name space; the
 *  key is the address that it serves.
 */
import { z } from "zod";

/** Raised when a message changes its meaning; fields and messages that are added are skipped by those that do not know them. */
export const PROTOCOL = 1;

/** What a generation says of itself. */
export const identity = z.object({
  pid: z.number(),
  version: z.string(),
  /** UUID of the region that it serves. */
  region: z.string(),
  /** `host:port`; null without one. */
  adminAddress: z.string().nullable(),
  role: z.enum(["supervisor", "worker"]),
  /** Since 1970. Tells who was first of two that start at the same time. */
  startedAtMs: z.number(),
});
export type Identity = Readonly<z.infer<typeof identity>>;

/** `starting`: it has not opened its sockets; `succeeding`: another successor is under way; `draining`: it is on its way out. */
const refusal = z.enum(["starting", "succeeding", "draining"]);
export type Refusal = z.infer<typeof refusal>;

export const fromSuccessor = z.discriminatedUnion("type", [
  /** `memory`: it knows what to do with that of the cells. */
  z.object({ type: z.literal("hello"), protocol: z.number(), identity, memory: z.boolean().default(false) }),
  z.object({ type: z.literal("ready") }),
]);
export type FromSuccessor = z.input<typeof fromSuccessor>;

export const fromPredecessor = z.discriminatedUnion("type", [
  /** `memory`: the last descriptor is that of the cells. */
  z.object({ type: z.literal("offer"), protocol: z.number(), identity, memory: z.boolean().default(false) }),
  /** `by`: the successor that is under way, or 0. */
  z.object({ type: z.literal("refused"), reason: refusal, by: z.number(), identity }),
  z.object({
    type: z.literal("draining"),
    left: z.object({ exchanges: z.number(), tunnels: z.number(), connections: z.number() }),
    remainingMs: z.number(),
  }),
]);
export type FromPredecessor = z.input<typeof fromPredecessor>;

/** Under which generations that serve this address find each other; null for a port that the kernel chooses, which no two share. */
export function handOverKey(host: string, port: number): string | null {
  if (port === 0) return null;
  if (host === "" || host === "0.0.0.0" || host === "::") return `*:${port}`;
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

/** What the channel names of all generations of a key begin with. */
export function namePrefix(key: string): string {
  return `edgeproxy/${key}/`;
}
