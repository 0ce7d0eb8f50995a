/** The last events of some types, newest first, as they happen. */
import { useEffect, useRef, useState } from "hono/jsx/dom";
import type { ApiFailure } from "./api-client.ts";
import { EventStream, type StreamState } from "./event-stream.ts";

export interface LiveEvents<Event> {
  readonly events: readonly Event[];
  readonly state: StreamState;
  readonly failure: ApiFailure | null;
  /** There were more than the connection could take; some are not shown. */
  readonly gap: boolean;
  /** Arrived since the reader paused. */
  readonly waiting: number;
}

interface Wish {
  /** `table,error` */
  readonly types: string;
  /** `0`: also those that are kept; empty: only what happens from now on. */
  readonly after: string;
  readonly paused: boolean;
}

const MOST = 300;
/** A storm of events is drawn in pieces that a reader, and a browser, can follow. */
const DRAW_MS = 400;

export function useLiveEvents<Event>({ types, after, paused }: Wish): LiveEvents<Event> {
  const [events, setEvents] = useState<readonly Event[]>([]);
  const [contact, setContact] = useState<{ state: StreamState; failure: ApiFailure | null }>({
    state: "connecting",
    failure: null,
  });
  const [waiting, setWaiting] = useState(0);
  const [gap, setGap] = useState(false);
  const queue = useRef<Event[]>([]);
  useEffect(() => {
    queue.current = [];
    setEvents([]);
    setGap(false);
    const stream = new EventStream(`/api/events?types=${types}`, after, {
      onEvent: (name, event) => {
        if (name === "lost") return setGap(true);
        queue.current?.unshift(event as Event);
        if (queue.current !== null && queue.current.length > MOST) queue.current.length = MOST;
      },
      onState: (state, failure) => setContact({ state, failure }),
    });
    return () => stream.close();
  }, [types, after]);
  useEffect(() => {
    const timer = setInterval(() => {
      const arrived = queue.current ?? [];
      if (paused) return setWaiting(arrived.length);
      setWaiting(0);
      if (arrived.length === 0) return;
      queue.current = [];
      setEvents((before) => [...arrived, ...before].slice(0, MOST));
    }, DRAW_MS);
    return () => clearInterval(timer);
  }, [paused]);
  return { events, ...contact, gap, waiting };
}
