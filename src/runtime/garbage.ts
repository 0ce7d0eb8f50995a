/** The collector waits until the heap has grown by as much as is in use; after a large piece of work it is better told. */

/** Frees what is not needed any more. Holds everything up: some 10 ms with a million domains. Does nothing where the runtime has no way. */
export function collectGarbage(): void {
  (globalThis as { Bun?: { gc(synchronously: boolean): void } }).Bun?.gc(true);
}
