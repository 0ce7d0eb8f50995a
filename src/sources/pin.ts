/*  Whether an operator wants an old revision served.
 *
 *              pin                                 unpin, its time is over
 *   free -------------> pinned(revision, until) ------------------------------> free
 *                         |  ^
 *                         '--'  pin: another revision, or another end
 *
 *  Every pin has an end: one that is forgotten must not keep the edge from following the platform for ever. There is no final state; a pin
 *  does not outlive its process.
 */

export type Pin =
  | { readonly state: "free" }
  | {
    readonly state: "pinned";
    /** The one that is served again. */
    readonly revision: number;
    readonly sinceAtMs: number;
    readonly untilAtMs: number;
  };

export type PinEvent =
  | { readonly type: "pin"; readonly revision: number; readonly nowMs: number; readonly untilAtMs: number }
  | { readonly type: "unpin" }
  | { readonly type: "tick"; readonly nowMs: number };

export const FREE: Pin = { state: "free" };

export function stepPin(pin: Pin, event: PinEvent): Pin {
  switch (event.type) {
    case "pin": {
      const { revision, nowMs, untilAtMs } = event;
      const sinceAtMs = pin.state === "pinned" && pin.revision === revision ? pin.sinceAtMs : nowMs;
      return { state: "pinned", revision, sinceAtMs, untilAtMs };
    }
    case "unpin":
      return FREE;
    case "tick":
      return pin.state === "pinned" && event.nowMs >= pin.untilAtMs ? FREE : pin;
  }
}
