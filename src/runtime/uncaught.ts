/** Where an exception of ours goes when the caller must go on with the others. */

/** The process learns of it as uncaught, in a turn of its own; nothing here unwinds. */
export function uncaught(error: unknown): void {
  queueMicrotask(() => {
    throw error;
  });
}
