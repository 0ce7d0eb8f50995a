/*  What the services of endpoints ask of a worker: their checks, and the guards at their doors. An endpoint under no policy has neither.
 *
 *  What is asked for by service must not be looked up by request, so it is asked for when an endpoint is first spoken to, and again when
 *  other policies are in force (`Endpoints.watchAnew`).
 */
import type { Metrics } from "../observation/metrics.ts";
import type { PolicedReport, QueueLength, TroubleKind } from "../observation/policed-figures.ts";
import type { Timers } from "../runtime/timers.ts";
import { endpointIn, isEdge, ownEndpoints, partsOfKey, type PolicyService } from "../table/policies.ts";
import { type ConcurrencyPolicy, type HealthPolicy, type ServiceEndpoint, tlsPeer } from "../table/policy.ts";
import type { EndpointRecord } from "../table/record.ts";
import type { RoutingTable } from "../table/routing-table.ts";
import { BreakerGuard, type BreakerTurn } from "../upstream/breaker-guard.ts";
import type { BreakerView } from "../upstream/breaker-view.ts";
import type { CellTable } from "../upstream/cell-table.ts";
import { EjectionGuard, type Turn } from "../upstream/ejection-guard.ts";
import { EndpointWatch, type Guard } from "../upstream/endpoint-watch.ts";
import { type JointCount, JointCounts } from "../upstream/joint-count.ts";
import { PlaceQueues } from "../upstream/place-queue.ts";
import { PlacesGuard } from "../upstream/places-guard.ts";
import type { TlsOf } from "../upstream/probe.ts";
import { Troubles } from "./troubles.ts";
import type { UpMessage } from "./worker-channel.ts";

export interface WatchParts {
  readonly table: RoutingTable;
  readonly cells: CellTable;
  readonly metrics: Metrics;
  readonly timers: Timers;
  send(message: UpMessage): void;
}

const BREAKER_TURNS = { "open": "breaker_open", "half-open": "breaker_half_open", "closed": "breaker_closed" } as const;
const NOBODY: readonly EndpointRecord[] = [];
/** Requests under way are only counted. */
const UNLIMITED: ConcurrencyPolicy = { soft: 0, hard: 0, queue: 0, queueTimeoutMs: 0 };

export class Watches {
  /** What else than its guards keeps requests from an endpoint. */
  outsideOf: (key: string) => "unhealthy" | "draining" | null = () => null;
  /** Requests that wait for a place. */
  readonly queues: PlaceQueues;
  readonly #parts: WatchParts;
  readonly #troubles: Troubles = new Troubles();
  readonly #counts: JointCounts;
  /** By endpoint: a balancer asks for those of all endpoints of its service, which are too many for names to be made. */
  readonly #places: Map<string, JointCount> = new Map();
  /** By name; those of endpoints and services that have had requests. */
  readonly #breakers: Map<string, { readonly guard: BreakerGuard; readonly service: string }> = new Map();

  constructor(parts: WatchParts) {
    this.#parts = parts;
    this.queues = new PlaceQueues(parts.cells);
    this.#counts = new JointCounts(parts.cells);
  }

  /** Other policies are in force, and all guards are about to be asked for anew. */
  tidy(): void {
    this.#breakers.clear();
    this.#troubles.clear();
    this.queues.tidy();
    this.#places.clear();
    this.#counts.tidy();
  }

  /** Nobody speaks to these endpoints any more. */
  forget(keys: readonly string[]): void {
    for (const key of keys) {
      this.#breakers.delete(key);
      this.#troubles.forget(key);
      this.#places.delete(key);
    }
  }

  breakers(): BreakerView[] {
    return [...this.#breakers.values()].map(({ guard, service }) => guard.view(service));
  }

  /** What keeps requests away now, and for which services requests of this worker wait. */
  report(): Omit<PolicedReport, "targets"> {
    return { troubles: this.#troubles.list(), queues: this.#queueLengths() };
  }

  #queueLengths(): QueueLength[] {
    return this.queues.lengths().map(([service, waiting]) => {
      const limits = this.#parts.table.policies.service(service, null)?.policy.limits ?? null;
      return { service, waiting, places: limits?.queue ?? 0 };
    });
  }

  /** False: there is no such breaker. */
  resetBreaker(name: string): boolean {
    const found = this.#breakers.get(name);
    found?.guard.reset();
    return found !== undefined;
  }

  readonly healthOf = (key: string): HealthPolicy | null => this.serviceOf(key)?.policy.health ?? null;

  readonly tlsOf: TlsOf = (record) => {
    const service = this.serviceOf(record.key);
    return service === undefined ? undefined : tlsPeer(record, service.policy);
  };

  /** Requests under way in all workers, of services with limits or balanced by them. */
  readonly placesOf = (key: string): number => {
    let count = this.#places.get(key);
    if (count === undefined) this.#places.set(key, count = this.#counts.of(`places/${key}`));
    return count.count;
  };

  readonly watchOf = (record: EndpointRecord): EndpointWatch | null => {
    const service = this.serviceOf(record.key);
    if (service === undefined) return null;
    const guards = this.#guards(record, service);
    return guards.length === 0 ? null : new EndpointWatch(guards);
  };

  /** The one that an endpoint belongs to; undefined: none, or one that is not in force. */
  serviceOf(key: string): PolicyService | undefined {
    const { service } = partsOfKey(key);
    return service === null ? undefined : this.#parts.table.policies.service(service, null);
  }

  #guards(record: EndpointRecord, service: PolicyService): Guard[] {
    const { policy, name } = service, { key } = record;
    // Of another region's VMs its edge counts each
    const limits = isEdge(record, service) ? null : policy.limits;
    const guards: Guard[] = [];
    const { cells } = this.#parts;
    // Of one that a reload has taken away, which ends what is under way there, nobody is told as of one that is
    const isListed = service.endpoints === null || endpointIn(service.endpoints, key) !== undefined;
    if (policy.breaker !== null) {
      const ofAll = policy.breaker.scope === "service";
      const whose = ofAll ? name : key;
      const trials = this.#counts.of(`trials/${whose}`);
      // Requests under way may end at a guard that is no longer in force
      const noticed = (): void => void (this.#breakers.has(whose) && this.#troubles.breaker(whose, troubled));
      const turned = (turn: BreakerTurn): void => {
        noticed();
        this.#breakerTurned(turn);
      };
      const guard: BreakerGuard = new BreakerGuard(whose, policy.breaker, { cells, trials, turned, noticed });
      const troubled = { service: name, trouble: () => guard.trouble };
      if (isListed || ofAll) this.#breakers.set(whose, { guard, service: name });
      guard.look(); // it may be open from before
      guards.push(guard);
    }
    const limited = limits !== null && (limits.soft > 0 || limits.hard > 0);
    if (limited || policy.balance === "least-connections") {
      const freed = limited ? () => this.queues.of(name).freed() : () => {};
      guards.push(new PlacesGuard(this.#counts.of(`places/${key}`), limits ?? UNLIMITED, freed));
    }
    if (policy.ejection !== null) {
      const guard: EjectionGuard = new EjectionGuard(key, policy.ejection, {
        cells,
        peers: () => this.#endpointsOf(name).filter((each) => this.#isMeant(each)),
        isLone: () => !this.#endpointsOf(name).some((each) => each.key !== key && this.#isMeant(each)),
        failsChecks: (key) => this.outsideOf(key) === "unhealthy",
        turned: (turn) => this.#turned(turn),
        noticed: () => void (isListed && this.#troubles.ejection(key, troubled)),
        after: (delayMs, run) => void this.#parts.timers.after(delayMs, run),
      });
      const troubled = { service: name, trouble: (): TroubleKind | null => guard.look() };
      guard.look();
      guards.push(guard);
    }
    return guards;
  }

  /** One with weight 0, or a cordon, is not there to carry what others are spared. */
  #isMeant(endpoint: EndpointRecord): boolean {
    return (endpoint as ServiceEndpoint).weight !== 0 && this.outsideOf(endpoint.key) !== "draining";
  }

  /** As many as there are now. */
  #endpointsOf(name: string): readonly EndpointRecord[] {
    const { table } = this.#parts;
    const service = table.policies.service(name, null);
    if (service === undefined) return NOBODY;
    if (service.endpoints !== null) return service.endpoints;
    const vms = table.routes.get(name);
    return vms === undefined ? NOBODY : ownEndpoints(service, vms);
  }

  #breakerTurned({ name, to, reason }: BreakerTurn): void {
    if (to === "open") this.#parts.metrics.breakersOpened++;
    const turn = BREAKER_TURNS[to];
    this.#parts.send({ type: "turned", key: name, turn, reason });
  }

  #turned({ key, turn, reason, forMs }: Turn): void {
    if (turn === "ejected") this.#parts.metrics.ejections++;
    const text = turn === "ejected" ? `${reason}, out for ${Math.round(forMs / 100) / 10} s` : reason;
    this.#parts.send({ type: "turned", key, turn, reason: text });
  }
}
