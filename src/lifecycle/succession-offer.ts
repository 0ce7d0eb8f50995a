/*  The predecessor's side of a hand-over: see hand-over.ts for what is said.
 *
 *                hello: the offer                ready
 *    open ------------------------> offered ----------------> succeeded      final: the generation drains and tells of it
 *     | ^--- successor lost, or late ----'  |
 *     '---------- withdraw() --------------'---> withdrawn                   final: whoever comes is told `draining`
 *
 *  One successor at a time. Whoever else says hello is refused, and may ask again if it is told `starting` or `succeeding`.
 */
import type { WorkLeft } from "../observation/drain-status.ts";
import type { Log } from "../observation/log.ts";
import { type ChannelListener, type FdChannel, listenForChannels } from "../runtime/fd-channel.ts";
import { closeDescriptor } from "../runtime/listening-sockets.ts";
import type { CancelTimer, Timers } from "../runtime/timers.ts";
import {
  type FromPredecessor,
  type FromSuccessor,
  fromSuccessor,
  type Identity,
  namePrefix,
  PROTOCOL,
  type Refusal,
} from "./hand-over.ts";

export interface SuccessionOptions {
  readonly key: string;
  readonly identity: Identity;
  /** What a successor is to accept from; null while this generation has not opened its own sockets. */
  readonly listeners: () => readonly number[] | null;
  /** What its workers share besides (`CellFile`); absent or null: nothing. */
  readonly memory?: () => number | null;
  /** A successor that is not ready by then is forgotten: it may hang, and must not keep others from coming. */
  readonly readyWithinMs: number;
  /** Others accept from these sockets from now on: drain. Once. */
  readonly onSucceeded: (successor: Successor) => void;
  readonly log: Log;
  readonly timers: Timers;
}

/** Whoever has taken over. It may be gone; telling it is then in vain. */
export interface Successor {
  readonly pid: number;
  readonly version: string;
  draining(left: WorkLeft, remainingMs: number): void;
  /** The drain is over. */
  close(): void;
}

export interface SuccessionOffer {
  /** No successor may come any more, and one that is under way starts with what it has. Does nothing after `onSucceeded`. */
  withdraw(): void;
  /** Withdraws, and nobody is answered any more. */
  close(): void;
}

type State =
  | { readonly state: "open" }
  | { readonly state: "offered"; readonly channel: FdChannel; readonly successor: Identity; readonly cancel: CancelTimer }
  | { readonly state: "succeeded" }
  | { readonly state: "withdrawn" };

/** How long somebody may be connected without a word. */
const SILENT_MS = 5000;
/** A name that is taken belongs to a process of another container, with the same pid. */
const NAMES = 10;

/** Null where there are no channels between processes. Throws if no name can be had. */
export function offerSuccession(options: SuccessionOptions): SuccessionOffer | null {
  return Offer.open(options);
}

class Offer implements SuccessionOffer {
  readonly #options: SuccessionOptions;
  #listener: ChannelListener | null = null;
  #state: State = { state: "open" };

  static open(options: SuccessionOptions): Offer | null {
    const offer = new Offer(options);
    offer.#listener = offer.#listen();
    return offer.#listener === null ? null : offer;
  }

  private constructor(options: SuccessionOptions) {
    this.#options = options;
  }

  withdraw(): void {
    if (this.#state.state === "succeeded") return;
    if (this.#state.state === "offered") {
      this.#state.cancel();
      this.#state.channel.close();
    }
    this.#state = { state: "withdrawn" };
  }

  close(): void {
    this.withdraw();
    if (this.#state.state === "withdrawn") this.#listener?.close();
  }

  #listen(): ChannelListener | null {
    const { identity, key, log } = this.#options;
    const name = `${namePrefix(key)}${identity.pid}`;
    const strange = ({ pid, uid }: { pid: number; uid: number }): void =>
      log.warn("another user's process wants to take over and is not heard", { pid, uid });
    for (let i = 0;; i++) {
      try {
        return listenForChannels(i === 0 ? name : `${name}.${i}`, (channel) => this.#hear(channel), strange);
      } catch (error) {
        if (i === NAMES) throw error;
      }
    }
  }

  #hear(channel: FdChannel) {
    const cancel = this.#options.timers.after(SILENT_MS, () => this.#lose(channel, "it says nothing"));
    return {
      onMessage: (message: unknown, descriptors: readonly number[]): void => {
        descriptors.forEach(closeDescriptor);
        const parsed = fromSuccessor.safeParse(message);
        if (parsed.success) this.#receive(channel, parsed.data, cancel);
      },
      onClose: (error: Error | null): void => {
        cancel();
        this.#lose(channel, error?.message ?? "it has closed");
      },
    };
  }

  #receive(channel: FdChannel, message: FromSuccessor, cancel: CancelTimer): void {
    switch (message.type) {
      case "hello":
        cancel();
        return this.#answer(channel, message);
      case "ready":
        return this.#succeed(channel);
    }
  }

  #answer(
    channel: FdChannel,
    { protocol, identity: told, memory: wanted = false }: Extract<FromSuccessor, { type: "hello" }>,
  ): void {
    const { identity, listeners, log } = this.#options;
    const successor = { ...told, pid: channel.peer.pid || told.pid };
    const descriptors = listeners();
    const reason = this.#refusal(descriptors);
    if (reason !== null || descriptors === null) {
      const by = this.#state.state === "offered" ? this.#state.successor.pid : 0;
      say(channel, { type: "refused", reason: reason ?? "starting", by, identity });
      return this.#lose(channel, "it has said hello twice");
    }
    const cancel = this.#options.timers.after(this.#options.readyWithinMs, () => this.#lose(channel, "it was not ready in time"));
    this.#state = { state: "offered", channel, successor, cancel };
    log.debug("offered the listening sockets", {
      to: successor.pid,
      version: successor.version,
      protocol,
      sockets: descriptors.length,
    });
    const memory = wanted ? this.#options.memory?.() ?? null : null;
    const offer = { type: "offer", protocol: PROTOCOL, identity, memory: memory !== null } as const;
    say(channel, offer, memory === null ? descriptors : [...descriptors, memory]);
  }

  #refusal(descriptors: readonly number[] | null): Refusal | null {
    switch (this.#state.state) {
      case "open":
        return descriptors === null ? "starting" : null;
      case "offered":
        return "succeeding";
      case "succeeded":
      case "withdrawn":
        return "draining";
    }
  }

  #succeed(channel: FdChannel): void {
    if (this.#state.state !== "offered" || this.#state.channel !== channel) return;
    const { cancel, successor: { pid, version } } = this.#state;
    cancel();
    this.#state = { state: "succeeded" };
    this.#options.onSucceeded({
      pid,
      version,
      draining: (left, remainingMs) => say(channel, { type: "draining", left, remainingMs }),
      close: () => {
        channel.close();
        this.#listener?.close();
      },
    });
  }

  #lose(channel: FdChannel, reason: string): void {
    channel.close();
    if (this.#state.state !== "offered" || this.#state.channel !== channel) return;
    this.#state.cancel();
    this.#options.log.debug("a successor went before it was ready, serving on", { pid: this.#state.successor.pid, reason });
    this.#state = { state: "open" };
  }
}

function say(channel: FdChannel, message: FromPredecessor, descriptors: readonly number[] = []): void {
  channel.send(message, descriptors);
}
