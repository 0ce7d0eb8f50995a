/** Signals of the operating system. SIGUSR1 is left alone: on Deno it opens an inspector port. */

export type SignalName = "SIGTERM" | "SIGINT" | "SIGHUP" | "SIGUSR2";
export type SignalActions = Readonly<Partial<Record<SignalName, () => void>>>;

const NAMES: readonly SignalName[] = ["SIGTERM", "SIGINT", "SIGHUP", "SIGUSR2"];

/** Calls a handler at each arrival of its signal; a signal with a handler no longer ends the process. Returns the undo. */
export function onSignals(handlers: SignalActions): () => void {
  const undo: (() => void)[] = [];
  for (const name of NAMES) {
    const handler = handlers[name];
    if (handler === undefined) continue;
    const listener = () => handler();
    process.on(name, listener);
    undo.push(() => process.off(name, listener));
  }
  return () => {
    for (const step of undo.splice(0)) step();
  };
}
