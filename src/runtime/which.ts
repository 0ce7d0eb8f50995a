/** Which runtime this is. Only `runtime/` may ask. */

/** The part of Bun's API that we use; undefined on Deno and Node. */
export interface BunApi {
  readonly version: string;
  listen(options: unknown): unknown;
  connect(options: unknown): Promise<unknown>;
  serve(options: unknown): unknown;
}

export const BUN: BunApi | undefined = (globalThis as { Bun?: BunApi }).Bun;
export const DENO: unknown = (globalThis as { Deno?: unknown }).Deno;
