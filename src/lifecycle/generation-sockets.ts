/** The listening sockets of a generation: of the service manager, of the generations before it, or its own. */
import process from "node:process";
import type { Log } from "../observation/log.ts";
import { inheritedListeningSockets, type ListeningSocket, openListeningSockets } from "../runtime/listening-sockets.ts";
import { socketDoors } from "../runtime/sockets.ts";
import { systemTimers } from "../runtime/timers.ts";
import type { Generations } from "./generations.ts";
import type { Settings } from "./settings.ts";

/** How long an address may be taken, and how often it is tried. */
const TAKEN_MS = 1000;
const TAKEN_AGAIN_MS = 50;

export interface GenerationSockets {
  /** None where workers bind sockets of their own. */
  readonly sockets: readonly ListeningSocket[];
  /** The service manager has opened them. */
  readonly activated: boolean;
}

export interface GenerationSocketsOptions {
  readonly settings: Pick<Settings, "httpAddr" | "workers">;
  readonly generations: Pick<Generations, "arrive">;
  /** Nobody needs them any more. */
  readonly over: () => boolean;
  readonly log: Log;
}

/** Who is about to end may hold the address for a moment longer and offer it to nobody. Rejects when it stays taken. */
export async function generationSockets(options: GenerationSocketsOptions): Promise<GenerationSockets> {
  const untilMs = systemTimers.nowMs() + TAKEN_MS;
  while (true) {
    const taken = await options.generations.arrive();
    if (options.over()) return { sockets: taken, activated: false };
    try {
      return openSockets(taken, options);
    } catch (error) {
      if ((error as { code?: unknown }).code !== "EADDRINUSE" || systemTimers.nowMs() >= untilMs) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, TAKEN_AGAIN_MS));
  }
}

function openSockets(taken: readonly ListeningSocket[], options: GenerationSocketsOptions): GenerationSockets {
  const { httpAddr, workers } = options.settings;
  const given = inheritedListeningSockets(process.env);
  const wanting = given === null ? Math.max(workers, 1) - taken.length : 0;
  const sockets = [...given ?? [], ...taken, ...openMore(wanting, taken.length > 0, options)];
  options.log.info("listening", {
    address: sockets[0]?.host ?? httpAddr.host,
    "http_port": sockets[0]?.port ?? httpAddr.port,
    workers,
    sockets: socketDoors()[0]!.name,
    ...given !== null && { from: "service manager" },
  });
  return { sockets, activated: given !== null };
}

function openMore(count: number, optional: boolean, { settings, log }: GenerationSocketsOptions): readonly ListeningSocket[] {
  if (count <= 0) return [];
  try {
    return openListeningSockets({ ...settings.httpAddr, count, alone: !optional, reusePort: true }) ?? [];
  } catch (error) {
    if (!optional) throw error;
    log.debug("the sockets that were handed over cannot be added to", { error: (error as Error).message });
    return [];
  }
}
