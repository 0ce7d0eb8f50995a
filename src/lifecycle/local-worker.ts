/** The data plane in the supervisor's own process (EDGEPROXY_WORKERS=0): a worker that the fleet starts like any other. */
import process from "node:process";
import type { AccessLog } from "../observation/access-log.ts";
import type { Log } from "../observation/log.ts";
import { socketDoors } from "../runtime/sockets.ts";
import type { CellTable } from "../upstream/cell-table.ts";
import type { StartWorker, WorkerEvents } from "./fleet-member.ts";
import { type DownMessage, inProcessChannel, type WorkerSettings } from "./worker-channel.ts";
import { Worker } from "./worker.ts";

export interface LocalWorkerOptions {
  readonly settings: WorkerSettings;
  readonly descriptors: readonly number[];
  readonly cells: CellTable;
  readonly log: Log;
  readonly accessLog: AccessLog;
}

export function localWorker({ settings, descriptors, cells, log, accessLog }: LocalWorkerOptions): StartWorker {
  return (_number, events) => {
    const channel = inProcessChannel();
    channel.control.onMessage = (message) => events.message(message);
    const worker = new Worker(settings, channel.worker, log, accessLog, descriptors, 0, cells);
    return {
      pid: process.pid,
      send: (message) => passOn(message, worker, events, (rest) => channel.control.send(rest)),
      kill: () => events.exit("ended"),
    };
  };
}

/** What a process would do by itself is done here. */
function passOn(message: DownMessage, worker: Worker, events: WorkerEvents, send: (message: DownMessage) => void): void {
  switch (message.type) {
    case "listen":
      return void worker.listen(message.sockets).then(
        (port) => events.message({ type: "listening", port, sockets: socketDoors()[0]!.name }),
        (error: Error) => {
          events.message({ type: "failed-to-start", error: error.message });
          events.exit("ended");
        },
      );
    case "drain":
      return void worker.drain(message.graceMs, message.succeeded).then((cut) => {
        events.message({ type: "drained", cut });
        events.exit("ended");
      });
    default:
      return send(message);
  }
}
