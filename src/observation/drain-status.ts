/** How far the end of a generation is, for logs, the admin address and the service manager. */
import type { MetricsSnapshot } from "./metrics.ts";

/**
 * `lame-duck`: not ready any more, but accepts as before; `finishing`: accepts nothing, lets work finish; `cutting`: the grace is
 * over, what is left is ended; `drained`: nothing is left, final.
 */
export type DrainPhase = "lame-duck" | "finishing" | "cutting" | "drained";

/** Work that has not ended, over all workers, as they last reported. */
export interface WorkLeft {
  /** Running now, tunnels not among them. */
  readonly exchanges: number;
  readonly tunnels: number;
  /** Of clients, with or without work on them. */
  readonly connections: number;
}

export interface DrainStatus {
  readonly phase: DrainPhase;
  /** `SIGTERM`, `succeeded by pid 12`. */
  readonly reason: string;
  readonly sinceAtMs: number;
  readonly phaseSinceAtMs: number;
  /** When what is left will be cut. */
  readonly deadlineAtMs: number;
  readonly left: WorkLeft;
}

export function workLeft({ exchangesActive, tunnelsActive, connectionsOpen }: MetricsSnapshot): WorkLeft {
  return { exchanges: Math.max(0, exchangesActive - tunnelsActive), tunnels: tunnelsActive, connections: connectionsOpen };
}

/** `draining: 3 exchanges, 1 tunnel left`, for people. */
export function drainLine({ phase, left }: DrainStatus): string {
  if (phase === "lame-duck") return `draining: lame duck, ${counted(left.connections, "connection")}`;
  const work = [counted(left.exchanges, "exchange"), counted(left.tunnels, "tunnel")].filter((text) => !text.startsWith("0 "));
  return `draining: ${work.join(", ") || counted(left.connections, "connection")} left`;
}

/** `1 tunnel`, `3 tunnels`. */
export function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}
