/** How the workers of a generation are started: as children of this process or within it, and what they are told of the settings. */
import { randomBytes } from "node:crypto";
import type { AccessLog } from "../observation/access-log.ts";
import type { Log } from "../observation/log.ts";
import { type CellFile, cellTable } from "./cell-file.ts";
import { childWorker } from "./child-worker.ts";
import type { StartWorker } from "./fleet-member.ts";
import { localWorker } from "./local-worker.ts";
import type { Settings } from "./settings.ts";
import { tracesUrl } from "./trace-settings.ts";
import type { WorkerSettings } from "./worker-channel.ts";

export interface WorkerStartParts {
  readonly settings: Settings;
  /** The listening sockets of this process, which every worker inherits. */
  readonly descriptors: readonly number[];
  /** Inherited as well. */
  readonly cells: CellFile | null;
  /** Whether another generation accepts from the sockets, too. */
  readonly beside: () => boolean;
  /** Of a worker within this process. */
  readonly log: Log;
  readonly accessLog: AccessLog;
}

export function workerStart({ settings: all, descriptors, cells, beside, log, accessLog }: WorkerStartParts): StartWorker {
  const settings = workerSettings(all);
  if (settings.workers > 0) return childWorker({ settings, descriptors, cells, beside });
  return localWorker({ settings, descriptors, cells: cellTable(cells?.descriptor ?? null, log), log, accessLog });
}

/** The numbers of the workers: of one within this process, 0. */
export function workerNumbers({ workers }: Pick<Settings, "workers">): readonly number[] {
  return workers === 0 ? [0] : Array.from({ length: workers }, (_, index) => index + 1);
}

/** What only the control plane needs is nobody else's. */
function workerSettings(settings: Settings): WorkerSettings {
  const { databaseUrl: _database, configFile: _file, adminAddr: _address, adminToken: _token, ...others } = settings;
  const { otlpEndpoint: _endpoint, otlpTracesEndpoint: _traces, otlpHeaders: _headers, ...rest } = others;
  return { ...rest, secret: settings.secret === "" ? randomSecret() : settings.secret, exportsSpans: tracesUrl(settings) !== null };
}

/** Nobody else believes what it has signed, nor do we after the next start. */
function randomSecret(): string {
  return randomBytes(32).toString("base64url");
}
