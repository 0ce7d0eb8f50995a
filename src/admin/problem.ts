/** How the admin API says no. */
import type { Context } from "hono";
import type { z } from "zod";

/** A JSON answer with a stable code and a sentence for people. */
export function problem(c: Context, status: 400 | 401 | 403 | 404 | 405 | 409 | 500, error: string, message: string): Response {
  return c.json({ error, message }, status);
}

/** Parameters that are not as they must be. */
export function badQuery(c: Context, error: z.ZodError): Response {
  return problem(c, 400, "bad_query", error.issues.map(issueText).join("; "));
}

function issueText({ path, message, code }: z.core.$ZodIssue): string {
  return code === "unrecognized_keys" ? message : `${path.join(".")}: ${message}`;
}
