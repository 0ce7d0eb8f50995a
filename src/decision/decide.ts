/*  The decision, a pure function: request + table + availability + chance give one value. `edgeproxy explain` tells what
 *  this same function says, and the steps of its `trace`.
 *
 *      loop? -> table loaded? -> route? -> VMs here: available -> one of them (two at random, the less busy)
 *                                                    unprobed  -> probe first
 *                                          else regions not passed yet -> one of them
 *                                          else refuse
 *
 *  A route that has just moved has a fall-back: what the host led to in the last seconds (`previous`). It is looked at only where the
 *  endpoints of now cannot take the request, and those that are in both count as endpoints of now:
 *
 *      VMs of now                regions of now            before                  the request goes
 *      ------------------------  ------------------------  ----------------------  -------------------------------------------
 *      unprobed                  any                       VM here, available      to a VM of now if its probe passes within a
 *                                                                                  moment, else to that VM
 *      unprobed                  any                       else                    nowhere before the probe
 *      none, unhealthy or tried  some                      any                     to one of these regions
 *      none, unhealthy or tried  none, tried or passed     VM here, available      to that VM
 *      none, unhealthy or tried  none, tried or passed     VM here, unprobed       to that VM if its probe passes
 *      none, unhealthy or tried  none, tried or passed     region, not passed yet  to that region
 *      none                      all passed                else                    nowhere before our table has had time to change,
 *                                                                                  then it is a loop
 *      unhealthy or tried        none, tried or passed     else                    nowhere: unhealthy
 *
 *  All passed: the request comes from where our table says that the VM is, so theirs says that it is here. While a VM moves between
 *  the regions, one of the two tables is behind, mostly by milliseconds. If theirs is, our VM of before takes the request; if ours is,
 *  it knows better soon.
 *
 *  Before: where the host led last, if there is a VM that is available; if not, where it led before that, and so on.
 *
 *  A region is no fall-back for a VM here that is unprobed: whatever it answers is the answer, while the probe mostly passes.
 *
 *  An endpoint that is cordoned (draining) counts as one that is not there; where it would have been the last hope, the request is refused
 *  for that reason.
 */
import { decideByHost } from "./by-host.ts";
import { decideByPolicy } from "./by-policy.ts";
import type { Decision } from "./decision.ts";
import { edgesPassed, isLoop } from "./loop.ts";
import type { Asked, Surroundings } from "./surroundings.ts";
import type { Trace } from "./trace.ts";

const NO_TABLE: Decision = { kind: "refuse", code: "no_table" };
const LOOP: Decision = { kind: "refuse", code: "loop" };
const NO_EDGES: readonly string[] = [];

export function decide(asked: Asked, around: Surroundings, trace?: Trace): Decision {
  const edges = asked.via === null ? NO_EDGES : edgesPassed(asked.via);
  if (edges.length > 0) {
    const loop = isLoop(edges, around.pseudonym);
    trace?.({ kind: "edges-passed", edges, loop });
    if (loop) return LOOP;
  }
  if (!around.table.loaded) {
    trace?.({ kind: "no-table" });
    return NO_TABLE;
  }
  if (asked.matched !== null) return decideByPolicy(asked.matched, asked, edges, around, trace);
  return decideByHost(asked, edges, around, trace);
}
