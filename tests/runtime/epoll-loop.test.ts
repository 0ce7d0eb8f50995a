/** The loop on Linux under Bun, with the kernel's answers played: how long it sleeps, and where it cannot be. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { EpollLoop, type Polled } from "../../src/runtime/epoll-loop.ts";
import { openEpollDoor, openSystem } from "../../src/runtime/epoll-door.ts";
import { bindLibc, EPOLL, type Libc } from "../../src/runtime/libc.ts";
import { findDoors } from "../../src/runtime/sockets.ts";
import { openFiles } from "../fixtures/told-sockets.ts";

const LIBC = bindLibc();
const OWNER: Polled = { serial: 0, onEvents() {}, onFault() {} };

/** The sleeps that the loop asks for when its waits end with these counts; the last is the one after them. */
async function sleepsAfter(counts: readonly number[]): Promise<number[]> {
  const sleeps: number[] = [];
  const done = Promise.withResolvers<void>();
  let watched = -1;
  const loop = new EpollLoop({
    ...LIBC!,
    epollWait(epoll, events, max, timeoutMs) {
      if (watched < 0) return LIBC!.epollWait(epoll, events, max, timeoutMs); // it tries itself out
      if (sleeps.push(timeoutMs) <= counts.length) return counts[sleeps.length - 1]!;
      loop.forget(watched);
      done.resolve();
      return 0;
    },
  });
  watched = LIBC!.socket(2, 1, 0);
  loop.add(watched, 0, OWNER);
  await done.promise;
  LIBC!.close(watched);
  return sleeps;
}

test("epoll: the longer nothing happens, the longer is a sleep, up to a bound", { skip: LIBC === null }, async () => {
  assert.deepEqual(await sleepsAfter([0, 0, 0, 0, 0, 0, 0]), [1, 2, 4, 8, 16, 32, 50, 50]);
});

test("epoll: a sleep that a signal has interrupted is followed by a short one: its handlers have work to do", {
  skip: LIBC === null,
}, async () => {
  assert.deepEqual(await sleepsAfter([0, 0, 0, -1]), [1, 2, 4, 8, 1]);
});

/** What a sandbox may refuse. */
const REFUSALS: Readonly<Record<string, Partial<Libc>>> = {
  "make an epoll set": { epollCreate: () => -1 },
  "add the runtime's epoll sets": {
    epollControl: (epoll, operation, fd, event) => {
      const ofRuntime = ((event as Int32Array)[0]! & EPOLL.ET) !== 0;
      return ofRuntime ? -1 : LIBC!.epollControl(epoll, operation, fd, event);
    },
  },
  "add a socket": { epollControl: () => -1 },
  "wait": { epollWait: () => -1 },
};

for (const [act, refusal] of Object.entries(REFUSALS)) {
  test(`epoll: where the loop cannot ${act}, Bun's own sockets are used`, { skip: LIBC === null }, () => {
    const before = openFiles();
    const door = openEpollDoor(openSystem({ ...LIBC!, ...refusal }));
    assert.equal(door, null);
    assert.deepEqual(findDoors(door).map(({ name }) => name), ["bun", "node"]);
    assert.equal(openFiles(), before);
  });
}

test("epoll: where the C library cannot be bound, the door stays shut", () => {
  assert.equal(openEpollDoor(openSystem(null)), null);
});
