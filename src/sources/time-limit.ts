/** A signal that gives up after a while, or when another one does; disposing of it stops the clock. */

export interface TimeLimit extends Disposable {
  readonly signal: AbortSignal;
}

export function timeLimit(ms: number, message: string, ...others: readonly AbortSignal[]): TimeLimit {
  const timeout = new AbortController();
  const timer = setTimeout(() => timeout.abort(new Error(message)), ms);
  return {
    signal: AbortSignal.any([...others, timeout.signal]),
    [Symbol.dispose]: () => clearTimeout(timer),
  };
}
