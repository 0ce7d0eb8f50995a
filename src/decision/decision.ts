/** The value that says what happens to a request. */
import type { EndpointRecord } from "../table/record.ts";

export type Decision =
  | { readonly kind: "forward"; readonly endpoint: EndpointRecord }
  /** No verdict yet on these VMs: probe them, wait for any, decide again. */
  | { readonly kind: "probe-first"; readonly endpoints: readonly EndpointRecord[] }
  | { readonly kind: "refuse"; readonly code: "no_route" | "no_table" | "vm_unhealthy" | "loop" };
