/** How long the loop on Linux under Bun sleeps, with the kernel's answers played. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { EpollLoop, type Polled } from "../../src/runtime/epoll-loop.ts";
import { bindLibc } from "../../src/runtime/libc.ts";

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
