/** What `edgeproxy check` has found: one line each. */
import { print } from "./output.ts";

export type Mark = "ok" | "warn" | "FAIL";

export function report(mark: Mark, subject: string, text: string): void {
  print(`${mark.padEnd(4)}  ${subject}: ${text}`);
}
