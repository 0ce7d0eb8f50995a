/** How the admin API says no. */
import type { Context } from "hono";

/** A JSON answer with a stable code and a sentence for people. */
export function problem(c: Context, status: 400 | 401 | 403 | 404 | 405 | 500, error: string, message: string): Response {
  return c.json({ error, message }, status);
}
