/** One value that several components show. */
import { useLayoutEffect, useState } from "hono/jsx/dom";

export class Store<Value> {
  readonly #listeners: Set<() => void> = new Set();
  #value: Value;

  constructor(value: Value) {
    this.#value = value;
  }

  get value(): Value {
    return this.#value;
  }

  set(value: Value): void {
    if (Object.is(value, this.#value)) return;
    this.#value = value;
    for (const listener of [...this.#listeners]) listener();
  }

  /** Answers how to stop listening. */
  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }
}

/** Draws the component again whenever the value changes. */
export function useStore<Value>(store: Store<Value>): Value {
  const [, draw] = useState(0);
  // An effect would begin to listen a frame later, and miss what happens in between.
  useLayoutEffect(() => store.subscribe(() => draw((count) => count + 1)), [store]);
  return store.value;
}
