/*  The successor's side of a hand-over: see hand-over.ts for what is said. Of each predecessor:
 *
 *              offer              ready()
 *    asked -----------> offered ---------> told -------- closes ------> gone       final
 *      |                   '------------- closes, is killed -------------^
 *      '--- refused, foreign, or no answer in 2 s ---> passed over                 final: not a predecessor, but it may hold an address
 *
 *  There may be several: the workers of a supervisor that was killed. It is all of them or none: while one is being succeeded by somebody
 *  else, or is itself only starting, the offers of the others are given back and all are asked again a moment later, so that two
 *  successors never wait for each other. Of two that start at the same time the younger one waits.
 */
import type { WorkLeft } from "../observation/drain-status.ts";
import type { Log } from "../observation/log.ts";
import { channelNames, connectChannel, type FdChannel } from "../runtime/fd-channel.ts";
import { adoptListeningSockets, closeDescriptor, type ListeningSocket } from "../runtime/listening-sockets.ts";
import type { Timers } from "../runtime/timers.ts";
import {
  type FromPredecessor,
  fromPredecessor,
  type FromSuccessor,
  type Identity,
  namePrefix,
  PROTOCOL,
  type Refusal,
} from "./hand-over.ts";

export interface TakeOverOptions {
  readonly key: string;
  readonly identity: Identity;
  /** How long to wait for predecessors that are being succeeded by others, or are only starting. */
  readonly waitMs: number;
  /** Only those; default: all. */
  readonly role?: Identity["role"];
  readonly log: Log;
  readonly timers: Timers;
}

/** A generation that serves the same address, and will drain when it is told that its successor is ready. */
export interface Predecessor {
  readonly identity: Identity;
  /** As it last reported; null: it has not. */
  readonly left: WorkLeft | null;
  /** How long it may take yet, as it last reported. */
  readonly remainingMs: number;
  /** Its process has ended, or it is through with draining. */
  readonly gone: boolean;
}

/** Serves this address, or did, and hands nothing over: it drains, or does not answer. */
export interface PassedOver {
  readonly pid: number;
  /** As in `Identity`; undefined: it has not said. */
  readonly adminAddress: string | null | undefined;
}

export interface Succession {
  readonly predecessors: readonly Predecessor[];
  readonly passedOver: readonly PassedOver[];
  /** Listening sockets of all of them, each once. */
  readonly sockets: readonly ListeningSocket[];
  /** What their workers share (`CellFile`), a descriptor of each that has sent one. Whoever takes over closes them. */
  readonly memory: readonly number[];
  /** Connections are accepted: the predecessors may drain. */
  ready(): void;
  /** Called whenever a predecessor reports or is gone. */
  onChange: (predecessor: Predecessor) => void;
  /** Gives up: predecessors that have not been told `ready` serve on. The sockets stay open, whoever has them closes them. */
  close(): void;
}

type Answer =
  | {
    readonly kind: "offer";
    readonly predecessor: Offered;
    readonly descriptors: readonly number[];
    /** Whether the last of them is no socket but memory. */
    readonly memory: boolean;
  }
  | { readonly kind: "refused"; readonly reason: Refusal; readonly by: number; readonly identity: Identity }
  | { readonly kind: "silent"; readonly pid: number }
  | { readonly kind: "none" };

/** A process that does not answer within this time is stopped, or stuck. */
const ANSWER_MS = 2000;
/** Asked again after this, and up to twice: two that wait for each other must not go on in step. */
const AGAIN_MS = 100;

/**
 * The generations that serve this address, and their sockets; none of either if there are none. Rejects if one is of another region, or
 * is still being succeeded by somebody else after `waitMs`.
 */
export async function takeOver(options: TakeOverOptions): Promise<Succession> {
  const { timers, waitMs } = options;
  const endAtMs = timers.nowMs() + waitMs;
  while (true) {
    const all = await Promise.all(channelNames(namePrefix(options.key)).map((name) => ask(name, options)));
    const answers = all.filter((answer) => hasRole(answer, options));
    giveBack(all.filter((answer) => !hasRole(answer, options)));
    const busy = answers.find((answer) => isBusy(answer, options.identity));
    if (busy === undefined) return succession(answers, options);
    giveBack(answers);
    if (timers.nowMs() >= endAtMs) throw new Error(cannotWait(busy));
    await new Promise((resolve) => setTimeout(resolve, AGAIN_MS * (1 + Math.random()))); // nothing else may keep the process alive yet
  }
}

/** What one listener says to our hello. */
function ask(name: string, { identity, log, timers }: TakeOverOptions): Promise<Answer> {
  let channel: FdChannel;
  try {
    channel = connectChannel(name);
  } catch (error) {
    log.warn("not taking over from a process that cannot be asked", { error: (error as Error).message });
    return Promise.resolve({ kind: "none" });
  }
  if (channel.peer.pid === identity.pid) {
    channel.close();
    return Promise.resolve({ kind: "none" });
  }
  const answered = Promise.withResolvers<Answer>();
  const passOver = (reason: string): void => {
    log.warn("not taking over from a process that does not answer", { pid: channel.peer.pid, reason });
    channel.close();
    answered.resolve({ kind: "silent", pid: channel.peer.pid });
  };
  const cancel = timers.after(ANSWER_MS, () => passOver(`nothing within ${ANSWER_MS} ms`));
  channel.handler = {
    onMessage(message, descriptors) {
      const answer = readAnswer(channel, message, descriptors);
      if (answer === null) return;
      cancel();
      answered.resolve(answer);
    },
    onClose(error) {
      cancel();
      passOver(error?.message ?? "it has closed");
    },
  };
  say(channel, { type: "hello", protocol: PROTOCOL, identity, memory: true });
  return answered.promise;
}

function hasRole(answer: Answer, { role }: TakeOverOptions): boolean {
  if (role === undefined || answer.kind === "none" || answer.kind === "silent") return true;
  return (answer.kind === "offer" ? answer.predecessor : answer).identity.role === role;
}

/** Null for what is no answer; its descriptors are closed then. */
function readAnswer(channel: FdChannel, message: unknown, descriptors: readonly number[]): Answer | null {
  const parsed = fromPredecessor.safeParse(message);
  if (parsed.success && parsed.data.type === "offer") {
    const { identity, memory } = parsed.data;
    return { kind: "offer", predecessor: new Offered(channel, identity), descriptors, memory };
  }
  descriptors.forEach(closeDescriptor);
  if (!parsed.success || parsed.data.type !== "refused") return null;
  channel.close();
  return { kind: "refused", ...parsed.data, identity: { ...parsed.data.identity, pid: seen(channel, parsed.data.identity) } };
}

/** Its pid as we see it, unless it lives in another container. */
function seen(channel: FdChannel, { pid }: Identity): number {
  return channel.peer.pid || pid;
}

/** Whether to ask all of them again. A generation that began after us, and has nothing yet, waits for us. */
function isBusy(answer: Answer, ours: Identity): answer is Extract<Answer, { kind: "refused" }> {
  if (answer.kind !== "refused") return false;
  const { identity, reason } = answer;
  const older = identity.startedAtMs - ours.startedAtMs || identity.pid - ours.pid;
  return reason === "succeeding" || (reason === "starting" && older < 0);
}

function cannotWait({ by, identity, reason }: Extract<Answer, { kind: "refused" }>): string {
  const why = reason === "succeeding" ? `process ${by}, which is not ready yet, is taking over from it` : "it is not ready itself";
  return `Cannot take over from process ${identity.pid} (edgeproxy ${identity.version}): ${why}`;
}

function giveBack(answers: readonly Answer[]): void {
  for (const answer of answers) {
    if (answer.kind !== "offer") continue;
    answer.predecessor.close();
    answer.descriptors.forEach(closeDescriptor);
  }
}

function succession(answers: readonly Answer[], { identity, log }: TakeOverOptions): Succession {
  const offers = answers.filter((answer) => answer.kind === "offer");
  const stranger = offers.find(({ predecessor }) => predecessor.identity.region !== identity.region);
  if (stranger !== undefined) {
    giveBack(answers);
    const { pid, region, version } = stranger.predecessor.identity;
    const whose = `process ${pid} (edgeproxy ${version}) serves this address for region ${region}`;
    throw new Error(`Cannot take over: ${whose}, not for ${identity.region}`);
  }
  const descriptors = offers.flatMap(({ descriptors, memory }) => memory ? descriptors.slice(0, -1) : descriptors);
  const memory = offers.flatMap(({ descriptors, memory }) => memory ? descriptors.slice(-1) : []);
  const sockets = adoptListeningSockets(descriptors, (problem) => log.warn("a predecessor's socket is of no use", { problem }));
  return new Taken(offers.map(({ predecessor }) => predecessor), answers.flatMap(passedOver), sockets, memory);
}

function passedOver(answer: Answer): PassedOver[] {
  if (answer.kind === "silent") return [{ pid: answer.pid, adminAddress: undefined }];
  if (answer.kind !== "refused" || answer.reason !== "draining") return [];
  const { pid, adminAddress } = answer.identity;
  return [{ pid, adminAddress }];
}

class Taken implements Succession {
  onChange: (predecessor: Predecessor) => void = () => {};
  readonly predecessors: readonly Offered[];
  readonly passedOver: readonly PassedOver[];
  readonly sockets: readonly ListeningSocket[];
  readonly memory: readonly number[];

  constructor(
    predecessors: readonly Offered[],
    passedOver: readonly PassedOver[],
    sockets: readonly ListeningSocket[],
    memory: readonly number[],
  ) {
    this.predecessors = predecessors;
    this.passedOver = passedOver;
    this.sockets = sockets;
    this.memory = memory;
    for (const predecessor of predecessors) predecessor.onChange = () => this.onChange(predecessor);
  }

  ready(): void {
    for (const predecessor of this.predecessors) predecessor.ready();
  }

  close(): void {
    for (const predecessor of this.predecessors) predecessor.close();
  }
}

/** A predecessor that has offered its sockets. */
class Offered implements Predecessor {
  readonly identity: Identity;
  left: WorkLeft | null = null;
  remainingMs = 0;
  gone = false;
  onChange: () => void = () => {};
  readonly #channel: FdChannel;

  constructor(channel: FdChannel, identity: Identity) {
    this.identity = { ...identity, pid: seen(channel, identity) };
    this.#channel = channel;
    channel.handler = {
      onMessage: (message, descriptors) => {
        descriptors.forEach(closeDescriptor);
        const parsed = fromPredecessor.safeParse(message);
        if (parsed.success) this.#receive(parsed.data);
      },
      onClose: () => {
        this.gone = true;
        this.onChange();
      },
    };
  }

  ready(): void {
    say(this.#channel, { type: "ready" });
  }

  close(): void {
    this.#channel.close();
  }

  #receive(message: FromPredecessor): void {
    if (message.type !== "draining") return;
    ({ left: this.left, remainingMs: this.remainingMs } = message);
    this.onChange();
  }
}

function say(channel: FdChannel, message: FromSuccessor): void {
  channel.send(message);
}
