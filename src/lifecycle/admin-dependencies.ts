/** What the admin app may see and do, as plain functions. */
import type { AdminDeps } from "../admin/deps.ts";
import type { ControlFigures } from "../observation/exposition.ts";
import { standardOutput } from "../observation/line-writer.ts";
import type { Log } from "../observation/log.ts";
import { readProcessFigures, runtimeName } from "../runtime/process-figures.ts";
import { systemTimers } from "../runtime/timers.ts";
import { VERSION } from "../runtime/version.ts";
import type { ConfigFileStatus } from "../sources/config-file.ts";
import type { PolicyStatus } from "../sources/policy-status.ts";
import { isReadable } from "../sources/refresh-status.ts";
import type { ControlPlane } from "./control-plane.ts";
import { breakerDependencies, cordonDependencies, endpointDependencies, orderDependencies } from "./endpoint-dependencies.ts";
import { type Generation, totalOf } from "./generation.ts";
import { findingsKept, policedFigures } from "./policed-figures.ts";
import { describeSettings, type Settings } from "./settings.ts";

export function adminDependencies(control: ControlPlane, settings: Settings, log: Log, generation: Generation): AdminDeps {
  return {
    token: settings.adminToken,
    version: VERSION,
    regionId: settings.regionId,
    updateIntervalMs: settings.updateIntervalMs,
    log,
    nowMs: () => systemTimers.nowMs(),
    events: generation.events,
    closing: generation.closing,
    settings: () => describeSettings(settings),
    logLevel: () => generation.logLevel.status(),
    setLogLevel: (level, forMs) => generation.logLevel.set(level, forMs),
    resetLogLevel: () => generation.logLevel.reset("asked"),
    beginDrain: (reason) => generation.beginDrain(reason),
    collect: () => generation.collect(),
    drain: () => generation.drain(),
    predecessors: () => generation.predecessors(),
    workers: () => generation.workers(),
    refreshStatus: () => control.refresher.status(),
    lastGood: () => control.lastGoodFigures(),
    policies: () => control.policies.status,
    policyFindings: findingsKept(control, generation),
    targets: control.targets,
    refreshNow: (reason) => generation.refreshNow(reason),
    letPoliciesGo: () => control.refresher.letPoliciesGo(),
    routes: () => control.table,
    excluded: () => control.refresher.excluded,
    history: () => control.refresher.history,
    pin: (revision, forMs) => control.pin(revision, forMs),
    unpin: () => control.unpin(),
    endpointHealth: () => control.endpointHealth(),
    verdicts: () => control.proberFigures().endpoints,
    endpoints: endpointDependencies(control, generation),
    breakers: breakerDependencies(generation),
    cordons: cordonDependencies(generation.cordons, generation),
    policyOrders: orderDependencies(generation.policyOrders, generation),
    connections: async (wish) => {
      const answers = await generation.ask<"connections">({ kind: "connections", wish });
      return answers.map(({ worker, answer }) => ({ worker, list: answer.list }));
    },
    hosts: control.hosts,
    traffic: generation.traffic,
    cordoned: () => generation.cordons.list().map(({ key }) => key),
    explain: async (question, worker) => {
      const [answer] = await generation.ask<"explain">({ kind: "explain", question }, worker ?? "first");
      return answer === undefined ? null : { worker: answer.worker, explanation: answer.answer.explanation };
    },
    figures: async () => {
      await generation.collect();
      return {
        data: totalOf(generation),
        hosts: control.hosts.series(),
        policed: policedFigures(control, generation),
        workers: generation.workers(),
        restarts: generation.restarts(),
        control: controlFigures(control, settings, generation),
        process: await readProcessFigures(),
      };
    },
  };
}

function fileFigures(file: ConfigFileStatus | null): ControlFigures["configFile"] {
  return file === null ? null : { ok: file.problems.length === 0, loadedAtMs: file.loadedAtMs, results: file.results };
}

function policyFigures({ revision, policies: { file, domains }, names }: PolicyStatus): ControlFigures["policies"] {
  const namesFailing = names.filter(({ error }) => error !== null).length;
  const { services, routes } = file;
  return { revision, services: services.length, routes: routes.length, domains: domains.size, names: names.length, namesFailing };
}

function controlFigures(control: ControlPlane, settings: Settings, generation: Generation): ControlFigures {
  const status = control.refresher.status();
  const lastGood = control.lastGoodFigures();
  const { lastSuccessAtMs } = status;
  return {
    version: VERSION,
    runtime: runtimeName(),
    region: settings.regionId,
    routes: status.routes,
    revision: status.revision,
    tableAgeSeconds: lastSuccessAtMs === null ? Infinity : Math.max(0, systemTimers.nowMs() - lastSuccessAtMs) / 1000,
    updateIntervalSeconds: settings.updateIntervalMs / 1000,
    refreshesSucceeded: status.refreshes,
    refreshesFailed: status.failures,
    lastRefreshSeconds: status.lastDurationMs / 1000,
    refreshDurations: status.durations,
    sourceReadable: isReadable(status),
    // Everything in one process: the worker tells of it
    logLinesDropped: settings.workers === 0 ? 0 : standardOutput.lost,
    badRows: status.badRows,
    policiesKept: status.keptPolicies?.count ?? 0,
    refreshHeld: status.held + status.heldPolicies > 0,
    excluded: status.excluded,
    tableSource: status.tableSource,
    pinned: status.pinned !== null,
    following: status.following,
    server: status.server,
    lastComparisonAtMs: status.comparedAtMs,
    stateWrites: lastGood?.writes ?? 0,
    stateFailures: lastGood?.failures ?? 0,
    lastStateWriteAtMs: lastGood?.lastWriteAtMs ?? null,
    configFile: fileFigures(control.policies.status.file),
    policies: policyFigures(control.policies.status),
    spans: generation.spans(),
    ...control.proberFigures(),
    cordoned: generation.cordons.list().length,
    errorEventsLost: generation.events.lost,
  };
}
