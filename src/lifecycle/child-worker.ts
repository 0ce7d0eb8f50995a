/** A worker as a child process. */
import { FIRST_DESCRIPTOR, startChild } from "../runtime/child-process.ts";
import type { CellFile } from "./cell-file.ts";
import type { StartWorker } from "./fleet-member.ts";
import type { DownMessage, UpMessage, WorkerSettings } from "./worker-channel.ts";

export interface ChildWorkerOptions {
  readonly settings: WorkerSettings;
  /** The listening sockets of this process, which every worker inherits. */
  readonly descriptors: readonly number[];
  /** Inherited as well. */
  readonly cells: CellFile | null;
  /** Whether another generation accepts from the sockets, too. */
  readonly beside: () => boolean;
}

export function childWorker({ settings, descriptors, cells, beside }: ChildWorkerOptions): StartWorker {
  return (worker, events) => {
    const child = startChild({
      parameters: ["worker", String(worker)],
      descriptors: cells === null ? descriptors : [...descriptors, cells.descriptor],
      onMessage: (message) => events.message(message as UpMessage),
      onExit: (reason) => {
        cells?.vacate(child.pid);
        events.exit(reason);
      },
    });
    const send = (message: DownMessage) => child.send(message);
    const inherited = descriptors.map((_, index) => FIRST_DESCRIPTOR + index);
    const memory = cells === null ? null : FIRST_DESCRIPTOR + descriptors.length;
    send({ type: "settings", worker, settings, descriptors: inherited, cells: memory, beside: beside() });
    return { pid: child.pid, send, kill: () => child.kill("SIGKILL") };
  };
}
