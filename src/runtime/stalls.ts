/*  How long this process did not look at its sockets: the longest time between two looks, for whoever asks once in a while.
 *
 *  Our own loop tells when it looks (epoll-loop): that counts everything that kept it, callbacks, garbage collection, work of the
 *  runtime's loop. With other doors a timer that comes late tells of most of it.
 */

/** When the last look was over; Infinity while nobody looks. */
let lookedAtMs = Infinity;
let longestMs = 0;

/** About to look, and to sleep until there is something. */
export function beforeLook(nowMs: number): void {
  const stalledMs = nowMs - lookedAtMs;
  if (stalledMs > longestMs) longestMs = stalledMs;
}

export function afterLook(nowMs: number): void {
  lookedAtMs = nowMs;
}

/** There is no socket any more. */
export function stopLooking(): void {
  lookedAtMs = Infinity;
}

/** Since the last call, up to now. */
export function takeLongestStallMs(): number {
  beforeLook(performance.now());
  const taken = longestMs;
  longestMs = 0;
  return taken;
}

const TIMER_MS = 100;

/** For doors that do not tell. The answer ends it. */
export function watchStallsByTimer(): () => void {
  afterLook(performance.now() + TIMER_MS);
  const timer = setInterval(() => {
    const nowMs = performance.now();
    beforeLook(nowMs);
    afterLook(nowMs + TIMER_MS);
  }, TIMER_MS);
  timer.unref();
  return () => {
    clearInterval(timer);
    stopLooking();
  };
}
