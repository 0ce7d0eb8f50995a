/** An answer of the API that is kept fresh while it is looked at. */
import { useEffect, useRef, useState } from "hono/jsx/dom";
import { ApiFailure, ask } from "./api-client.ts";

export interface Polled<Answer> {
  /** The last good one, also while a newer one is awaited or cannot be had; null: none yet. */
  readonly answer: Answer | null;
  /** Why the last try came to nothing. */
  readonly failure: ApiFailure | null;
  /** What is shown was the answer to another question. */
  readonly busy: boolean;
  /** Asks now. */
  readonly again: () => void;
}

interface State<Answer> {
  readonly path: string | null;
  readonly answer: Answer | null;
  readonly failure: ApiFailure | null;
}

/** Asks at once, then every `everyMs` (0: never again) while the page is visible; null asks nothing. */
export function usePolled<Answer>(path: string | null, everyMs: number): Polled<Answer> {
  const [state, setState] = useState<State<Answer>>({ path: null, answer: null, failure: null });
  const asking = useRef<() => void>(() => {});
  useEffect(() => {
    if (path === null) return;
    const poll = new Poll<Answer>(
      path,
      everyMs,
      (result) => setState((before) => ({ path, answer: before.answer, failure: null, ...result })),
    );
    asking.current = () => poll.now();
    poll.now();
    return () => poll.stop();
  }, [path, everyMs]);
  return {
    answer: state.answer,
    failure: state.failure,
    busy: path !== null && state.path !== path,
    again: () => asking.current?.(),
  };
}

type Result<Answer> = { readonly answer: Answer } | { readonly failure: ApiFailure };

class Poll<Answer> {
  readonly #path: string;
  readonly #everyMs: number;
  readonly #told: (result: Result<Answer>) => void;
  readonly #whenVisible = (): void => {
    if (!document.hidden && this.#due) this.now();
  };
  #running: AbortController | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #due = false;

  constructor(path: string, everyMs: number, told: (result: Result<Answer>) => void) {
    this.#path = path;
    this.#everyMs = everyMs;
    this.#told = told;
    document.addEventListener("visibilitychange", this.#whenVisible);
  }

  now(): void {
    clearTimeout(this.#timer);
    this.#running?.abort();
    this.#due = false;
    const running = this.#running = new AbortController();
    void this.#ask(running.signal).then((result) => {
      if (running.signal.aborted) return;
      this.#told(result);
      if (this.#everyMs > 0) this.#timer = setTimeout(() => this.#next(), this.#everyMs);
    });
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#running?.abort();
    document.removeEventListener("visibilitychange", this.#whenVisible);
  }

  /** A page that nobody sees asks again when somebody does. */
  #next(): void {
    if (document.hidden) this.#due = true;
    else this.now();
  }

  async #ask(signal: AbortSignal): Promise<Result<Answer>> {
    try {
      return { answer: await ask<Answer>(this.#path, signal) };
    } catch (error) {
      return { failure: error instanceof ApiFailure ? error : new ApiFailure(0, "unreadable", String(error)) };
    }
  }
}
