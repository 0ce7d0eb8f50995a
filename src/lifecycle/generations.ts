/*  This generation between the one before it and the one after it, at the same address.
 *
 *      arrive                          ready                        a successor is ready
 *   ----------> arriving: predecessors --------> serving, and offering ------------------> succeeded: drains, and tells
 *               serve on                         its sockets          '--- leave: offers nothing any more; final
 *
 *  A successor is a process that somebody has started, or that we have (SIGUSR2): it finds us by our address either way. One that we have
 *  started, and that has not become ready in time, is ended; we go on as if nothing had been.
 */
import process from "node:process";
import type { Predecessor } from "../admin/deps.ts";
import type { WorkLeft } from "../observation/drain-status.ts";
import type { Log } from "../observation/log.ts";
import { channelNames } from "../runtime/fd-channel.ts";
import { closeDescriptor, type ListeningSocket } from "../runtime/listening-sockets.ts";
import { portHolder } from "../runtime/port-owner.ts";
import { startSuccessor, type SuccessorProcess } from "../runtime/successor-process.ts";
import type { CancelTimer, Timers } from "../runtime/timers.ts";
import { VERSION } from "../runtime/version.ts";
import { handOverKey, type Identity, namePrefix } from "./hand-over.ts";
import { offerSuccession, type SuccessionOffer, type Successor } from "./succession-offer.ts";
import type { Settings } from "./settings.ts";
import { type Predecessor as PredecessorProcess, type Succession, takeOver, type TakeOverOptions } from "./take-over.ts";

/** What is told to a successor while this generation drains. */
export interface DrainReport {
  readonly left: WorkLeft;
  readonly remainingMs: number;
}

/** What a successor has that we have started, beyond its own bound: time to start, and to say why it gives up. */
const START_MS = 5000;
const REPORT_MS = 1000;
/** Until workers know that their supervisor is gone. */
const ORPHANED_MS = 500;
/** When we look for orphans that could not be asked while we started, first and at the rarest: until they drain they serve an old table. */
const LOOK_MS = 1000;
const MOST_LOOK_MS = 60_000;

type Neighbourhood = Omit<TakeOverOptions, "waitMs" | "role">;

export class Generations {
  /** Resolves when others accept from our sockets and we are to drain. */
  readonly succeeded: Promise<Successor>;
  /** Called when those before us have all gone while we were not ready, and left no workers: nobody serves. */
  onAlone: () => void = () => {};
  readonly #settings: Settings;
  readonly #log: Log;
  readonly #timers: Timers;
  readonly #startedAtMs: number;
  #setSucceeded: (successor: Successor) => void = () => {};
  #sockets: readonly ListeningSocket[] | null = null;
  #memory: number | null = null;
  #offer: SuccessionOffer | null = null;
  #succession: Succession | null = null;
  /** Of orphans that were found later. */
  #orphans: Succession[] = [];
  /** Begins to look for orphans. */
  #look: () => void = () => {};
  #readyAtMs = 0;
  #left = false;
  #child: SuccessorProcess | null = null;
  #cancelChild: CancelTimer = () => {};
  /** Is to be told when the successor has ended that is to. */
  #dismissed: (() => void) | null = null;
  #successor: Successor | null = null;

  constructor(settings: Settings, log: Log, timers: Timers) {
    this.#settings = settings;
    this.#log = log;
    this.#timers = timers;
    this.#startedAtMs = timers.nowMs();
    this.succeeded = new Promise((resolve) => this.#setSucceeded = resolve);
  }

  /** The listening sockets of those before us; may be asked again while there are none. Rejects if we must not take over. */
  async arrive(): Promise<readonly ListeningSocket[]> {
    const { httpAddr: { host, port }, handOverTimeoutMs: waitMs } = this.#settings;
    const key = handOverKey(host, port);
    if (key === null) return [];
    const identity = identityOf(this.#settings, this.#startedAtMs, "supervisor");
    const options = { key, identity, log: this.#log, timers: this.#timers };
    this.#offer ??= offerSuccession({
      ...options,
      listeners: () => this.#sockets?.map(({ fd }) => fd) ?? null,
      memory: () => this.#memory,
      readyWithinMs: waitMs + START_MS,
      onSucceeded: (successor) => this.#succeed(successor),
    });
    if (this.#offer === null) return [];
    this.#succession = await takeOver({ ...options, waitMs });
    this.#follow(this.#succession, options);
    this.#look = () => this.#lookForOrphans(options, LOOK_MS);
    return this.#succession.sockets;
  }

  #follow(succession: Succession, options: Neighbourhood): void {
    succession.onChange = ({ gone, identity: { pid, role } }) => {
      if (!gone) return;
      this.#log.info("predecessor is gone", { pid });
      if (this.preceded) return;
      if (role === "supervisor") this.#timers.after(ORPHANED_MS, () => void this.#followOrphans(options));
      else if (this.#readyAtMs === 0) this.onAlone();
    };
  }

  /** A supervisor that was killed leaves workers. They serve, so they are our predecessors now; of their sockets we have copies. */
  async #followOrphans(options: Neighbourhood): Promise<void> {
    if (this.#left) return;
    try {
      const succession = await takeOver({ ...options, role: "worker", waitMs: 0 });
      for (const socket of succession.sockets) socket.close();
      succession.memory.forEach(closeDescriptor);
      if (this.#left) return succession.close();
      if (succession.predecessors.length > 0) this.#orphans.push(succession);
      this.#follow(succession, options);
      if (this.#readyAtMs > 0) return this.#take(succession);
    } catch (error) {
      this.#log.warn("workers of a predecessor that is gone are not taken over from", { error: (error as Error).message });
    }
    if (this.#readyAtMs === 0 && !this.preceded) this.onAlone();
  }

  /** Who stood still while we started, or was not yet known to be an orphan. Again and again, ever more rarely. */
  #lookForOrphans(options: Neighbourhood, afterMs: number): void {
    this.#timers.after(afterMs, async () => {
      if (this.#left || this.#successor !== null) return;
      const prefix = namePrefix(options.key);
      if (channelNames(prefix).some((name) => name !== `${prefix}${process.pid}`)) await this.#followOrphans(options);
      this.#orphans = this.#orphans.filter(({ predecessors }) => predecessors.some(({ gone }) => !gone));
      this.#lookForOrphans(options, Math.min(2 * afterMs, MOST_LOOK_MS));
    });
  }

  /** Whether somebody serves while we start. */
  get preceded(): boolean {
    return this.#before.length > 0;
  }

  /** Those before us that are not gone. */
  get #before(): readonly PredecessorProcess[] {
    return [this.#succession, ...this.#orphans].flatMap((each) => each?.predecessors ?? []).filter(({ gone }) => !gone);
  }

  /** Whether one of them has the admin address that we are to have. */
  get adminHeld(): boolean {
    const ours = addressText(this.#settings.adminAddr);
    return ours !== null && this.#before.some(({ identity }) => identity.adminAddress === ours);
  }

  /**
   * Whether the admin address, which is taken, is another generation's that will not hand it over: it drains and is about to close it,
   * or stands still and never will.
   */
  get adminLeft(): boolean {
    const { adminAddr } = this.#settings;
    const ours = addressText(adminAddr);
    if (adminAddr === null || ours === null) return false;
    const holder = (): number | null => "path" in adminAddr ? null : portHolder(adminAddr.host, adminAddr.port);
    return (this.#succession?.passedOver ?? []).some(({ adminAddress, pid }) =>
      adminAddress === undefined ? pid > 0 && pid === holder() : adminAddress === ours
    );
  }

  /** Of those before us, what their workers share: as many descriptors as they have sent, for the caller to close. */
  get memory(): readonly number[] {
    return this.#succession?.memory ?? [];
  }

  /** These may be handed on from now on, and `memory` with them. */
  offer(sockets: readonly ListeningSocket[], memory: number | null): void {
    this.#sockets = sockets;
    this.#memory = memory;
  }

  /** We accept connections: those before us may drain. */
  ready(): void {
    this.#readyAtMs ||= this.#timers.nowMs();
    for (const succession of [this.#succession, ...this.#orphans]) if (succession !== null) this.#take(succession);
    this.#look();
  }

  #take(succession: Succession): void {
    const left = succession.predecessors.filter(({ gone }) => !gone);
    if (left.length === 0) return;
    this.#log.info("taking over", { predecessors: left.map(({ identity: { pid, version } }) => ({ pid, version })) });
    succession.ready();
  }

  /** Those that have handed over to us and still drain. */
  predecessors(): Predecessor[] {
    if (this.#readyAtMs === 0) return [];
    return this.#before.map(({ identity: { pid, version }, left }) => {
      return { pid, version, sinceAtMs: this.#readyAtMs, left };
    });
  }

  /** Starts the program in our place anew; it takes over once it is ready, and if it never is, we go on. */
  startSuccessor(): void {
    const { port } = this.#settings.httpAddr;
    if (this.#offer === null) {
      return this.#log.error("cannot hand over", {
        reason: port === 0 ? "the port is chosen by the kernel" : "not on this runtime or machine",
      });
    }
    // The end of the first process of a container ends all others
    if (process.pid === 1) return this.#log.error("cannot hand over", { reason: "process 1 of a container must stay" });
    if (this.#child !== null) return this.#log.warn("a successor is being started already", { pid: this.#child.pid });
    const child = startSuccessor({
      onStart: (pid) => this.#log.info("successor started", { pid, program: process.execPath }),
      onExit: (reason) => this.#childEnded(reason),
    });
    this.#child = child;
    this.#cancelChild = this.#timers.after(this.#settings.handOverTimeoutMs + START_MS, () => {
      this.#log.error("successor did not become ready in time and is ended", { pid: child.pid });
      child.kill("SIGKILL");
    });
  }

  /**
   * Whoever ends us does not mean to leave one behind that we have started: it ends, too, unless it has taken over already. Resolves when
   * it has; after `withinMs` it is ended.
   */
  async dismissSuccessor(withinMs: number): Promise<void> {
    const child = this.#child;
    if (child === null || this.#successor !== null) return;
    this.#cancelChild();
    this.#log.info("successor is to end, too", { pid: child.pid });
    this.#cancelChild = this.#timers.after(withinMs, () => child.kill("SIGKILL"));
    const ended = Promise.withResolvers<void>();
    this.#dismissed = ended.resolve;
    child.kill("SIGTERM");
    await ended.promise;
  }

  /** Whether we have started this successor ourselves, so that it is the same service. */
  isChild({ pid }: Successor): boolean {
    return this.#child?.pid === pid;
  }

  /** A successor that we have started is a child of the service manager from then on. */
  async releaseSuccessor(): Promise<void> {
    await this.#child?.release();
  }

  /** Tells the successor how far our drain is, until `leave`. */
  report(state: () => DrainReport): void {
    const { left, remainingMs } = state();
    this.#successor?.draining(left, remainingMs);
    this.#timers.after(REPORT_MS, () => this.#successor !== null && this.report(state));
  }

  /** Offers nothing any more. */
  close(): void {
    if (this.#dismissed === null) this.#cancelChild();
    this.#offer?.withdraw(); // who starts meanwhile learns that our addresses are about to be free
  }

  /** The last word, when nothing is left to drain. */
  leave(): void {
    this.#left = true;
    this.close();
    this.#offer?.close();
    for (const succession of [this.#succession, ...this.#orphans]) succession?.close();
    this.#successor?.close();
    this.#successor = null;
  }

  #succeed(successor: Successor): void {
    this.#cancelChild();
    this.#successor = successor;
    this.#setSucceeded(successor);
  }

  #childEnded(reason: string): void {
    this.#cancelChild();
    this.#dismissed?.();
    if (this.#successor === null && this.#dismissed === null) {
      this.#log.error("successor ended before it was ready, serving on", { pid: this.#child?.pid, reason });
    }
    this.#child = null;
  }
}

export function identityOf(
  { regionId: region, adminAddr = null }: Pick<Settings, "regionId"> & Partial<Settings>,
  startedAtMs: number,
  role: Identity["role"],
): Identity {
  return { pid: process.pid, version: VERSION, region, adminAddress: addressText(adminAddr), role, startedAtMs };
}

function addressText(address: Settings["adminAddr"]): string | null {
  if (address === null) return null;
  return "path" in address ? `unix:${address.path}` : `${address.host}:${address.port}`;
}
