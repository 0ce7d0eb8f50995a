/** A worker as a child process. */
import { FIRST_DESCRIPTOR, startChild } from "../runtime/child-process.ts";
import type { StartWorker } from "./fleet.ts";
import type { DownMessage, UpMessage, WorkerSettings } from "./worker-channel.ts";

/**
 * `descriptors`: the listening sockets of this process, which every worker inherits. `beside`: does another generation accept from them, too.
 */
export function childWorker(settings: WorkerSettings, descriptors: readonly number[], beside: () => boolean): StartWorker {
  return (worker, events) => {
    const child = startChild({
      parameters: ["worker", String(worker)],
      descriptors,
      onMessage: (message) => events.message(message as UpMessage),
      onExit: (reason) => events.exit(reason),
    });
    const send = (message: DownMessage) => child.send(message);
    const inherited = descriptors.map((_, index) => FIRST_DESCRIPTOR + index);
    send({ type: "settings", worker, settings, descriptors: inherited, beside: beside() });
    return { pid: child.pid, send, kill: () => child.kill("SIGKILL") };
  };
}
