/** What the admin app may see and do, as plain functions. */
import type { AdminDeps } from "../admin/deps.ts";
import type { ControlFigures } from "../observation/exposition.ts";
import type { Log } from "../observation/log.ts";
import { readProcessFigures, runtimeName } from "../runtime/process-figures.ts";
import { systemTimers } from "../runtime/timers.ts";
import { VERSION } from "../runtime/version.ts";
import type { ControlPlane } from "./control-plane.ts";
import type { Settings } from "./settings.ts";

export function adminDependencies(control: ControlPlane, settings: Settings, log: Log, stopping: () => boolean): AdminDeps {
  return {
    token: settings.adminToken,
    version: VERSION,
    regionId: settings.regionId,
    log,
    nowMs: () => systemTimers.nowMs(),
    stopping,
    refreshStatus: () => control.refreshStatus(),
    refreshNow: (reason) => control.refreshNow(reason),
    routes: () => control.table,
    endpointHealth: () => control.endpointHealth(),
    figures: async () => ({
      data: control.collect(),
      control: controlFigures(control, settings),
      process: await readProcessFigures(),
    }),
  };
}

function controlFigures(control: ControlPlane, settings: Settings): ControlFigures {
  const status = control.refreshStatus();
  const { lastSuccessAtMs } = status;
  return {
    version: VERSION,
    runtime: runtimeName(),
    region: settings.regionId,
    routes: status.routes,
    revision: status.revision,
    tableAgeSeconds: lastSuccessAtMs === null ? Infinity : Math.max(0, systemTimers.nowMs() - lastSuccessAtMs) / 1000,
    refreshesSucceeded: status.refreshes,
    refreshesFailed: status.failures,
    lastRefreshSeconds: status.lastDurationMs / 1000,
    badRows: status.badRows,
    refreshHeld: status.held > 0,
    ...control.proberFigures(),
  };
}
