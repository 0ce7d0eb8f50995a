/** A system error of a socket as a value. */
import type { SocketError } from "./sockets.ts";

export function socketError(error: unknown): SocketError {
  const { code, message } = error as { code?: unknown; message?: unknown };
  return { code: typeof code === "string" ? code : "", message: typeof message === "string" ? message : String(error) };
}
