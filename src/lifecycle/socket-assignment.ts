/*  Which worker accepts from which listening socket.
 *
 *  Every worker has a socket of its own, so that the kernel spreads connections over the workers. A socket whose owner does not
 *  serve just now is accepted from by all that do, or else what the kernel assigns to it would wait for the replacement; so is one
 *  beyond the number of workers: inherited from a predecessor with more of them, or the only one, from the service manager.
 */

/**
 * `serving`: the workers that serve, from 0. The answer has the sockets of each of them, in the same order. With fewer sockets than
 * workers all accept from all.
 */
export function assignSockets(sockets: number, workers: number, serving: readonly number[]): readonly (readonly number[])[] {
  const all = Array.from({ length: sockets }, (_, socket) => socket);
  if (sockets < workers) return serving.map(() => all);
  const unowned = all.filter((socket) => !serving.includes(socket));
  return serving.map((worker) => [worker, ...unowned]);
}
