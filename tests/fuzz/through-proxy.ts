/** Bytes of one side through the whole data plane, on sockets in memory; the other side behaves plainly. */
import { Policies } from "../../src/table/policies.ts";
import { World } from "../fixtures/world.ts";
import type { ClosingStyle, MemorySocket } from "../fixtures/memory-socket.ts";
import { AnsweringVm, type Manner } from "./answering-vm.ts";
import type { Ending } from "./fuzz-case.ts";

/** What one party of a run got, and how its connection ended. */
export interface Received {
  readonly bytes: Buffer;
  readonly state: MemorySocket["state"];
  /** Where what it got is a tunnel's, not HTTP; null when nothing is. */
  readonly tunnelAt: number | null;
}

export interface Transcript {
  readonly client: Received;
  /** In the order of their use; those that got nothing are left out. */
  readonly vms: readonly Received[];
  /** `forwarded 200`, `refused 400`, ... in the order of the requests. */
  readonly outcomes: readonly string[];
  /** Connections that wait for another request at the end. */
  readonly idle: number;
}

/** Connections to the VM that a run may use. */
const VM_CONNECTIONS = 2;
const MORE_CONNECTIONS = 50;
const NO_BYTES = Buffer.alloc(0);

/** The client sends, the VM answers in its manner. */
export function fromClient(
  parts: readonly Buffer[],
  ending: Ending,
  style: ClosingStyle,
  manner: Manner,
  policies: Policies = Policies.none,
): Transcript {
  const stage = new Stage(style, manner, policies);
  for (const part of parts) {
    if (manner === "stalling") stage.stall();
    stage.world.client.send(part);
    stage.settle();
    if (manner === "stalling") stage.drain();
    if (manner !== "late") stage.answerAll();
  }
  end(stage.world.client, ending);
  stage.answerAll();
  return stage.leave();
}

/** The client asks once; then the VM sends. */
export function fromVm(
  request: string,
  parts: readonly Buffer[],
  ending: Ending,
  style: ClosingStyle,
  policies: Policies = Policies.none,
): Transcript {
  const stage = new Stage(style, "prompt", policies);
  stage.world.client.send(Buffer.from(request, "latin1"));
  stage.settle();
  const vm = stage.busy();
  for (const part of parts) {
    vm.send(part);
    stage.settle();
  }
  end(vm, ending);
  stage.settle();
  return stage.leave();
}

function end(socket: MemorySocket, ending: Ending): void {
  if (ending === "ends") socket.finish();
  if (ending === "resets") socket.abort();
}

class Stage {
  readonly world: World;
  readonly #vm: AnsweringVm;
  readonly #received: Map<MemorySocket, Buffer> = new Map();

  constructor(style: ClosingStyle, manner: Manner, policies: Policies) {
    this.#vm = new AnsweringVm(manner);
    this.world = new World(style, VM_CONNECTIONS);
    this.world.enforce(policies);
    this.world.dials.push(...Array.from({ length: MORE_CONNECTIONS }, () => "open" as const));
  }

  /** Nobody reads any more. */
  stall(): void {
    for (const socket of [this.world.client, ...this.world.vm]) socket.stall();
  }

  /** Everybody reads what has come meanwhile. */
  drain(): void {
    for (const socket of [this.world.client, ...this.world.vm]) {
      socket.drain();
      this.settle();
    }
  }

  settle(): void {
    this.world.network.settle();
    for (const socket of [this.world.client, ...this.world.vm]) this.#take(socket);
  }

  /** The VM's connection that has got something; the first, if none has. */
  busy(): MemorySocket {
    return this.world.vm.find((socket) => this.#received.has(socket)) ?? this.world.vm[0]!;
  }

  /** Until nothing happens any more. */
  answerAll(): void {
    this.settle();
    for (let again = true; again;) {
      again = false;
      for (const socket of this.world.vm) {
        const reacted = this.#vm.react(socket, this.#received.get(socket) ?? NO_BYTES);
        if (reacted) this.settle();
        again ||= reacted;
      }
    }
  }

  /** Both sides go away; nothing may be left of them. */
  leave(): Transcript {
    const { world } = this;
    const received = (socket: MemorySocket): Received => ({
      bytes: this.#received.get(socket) ?? NO_BYTES,
      state: socket.state,
      tunnelAt: this.#vm.tunnelAt(socket),
    });
    const vms = world.vm.filter((socket) => this.#received.has(socket)).map(received);
    const client = received(world.client), idle = world.endpoint.idle.length;
    try {
      world.leave();
    } finally {
      world.sweep.close();
    }
    return { client, vms, idle, outcomes: [...world.outcomes] };
  }

  #take(socket: MemorySocket): void {
    const taken = socket.take();
    if (taken.length > 0) this.#received.set(socket, Buffer.concat([this.#received.get(socket) ?? NO_BYTES, taken]));
  }
}
