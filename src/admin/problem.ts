/** How the admin API says no. */
import type { Context } from "hono";
import { z } from "zod";

export const PROBLEM = z.object({
  error: z.string().describe("Stable, for programs"),
  message: z.string().describe("For people"),
});

/** A JSON answer with a stable code and a sentence for people. */
export function problem(
  c: Context,
  status: 400 | 401 | 403 | 404 | 405 | 409 | 429 | 500 | 502 | 503,
  error: string,
  message: string,
): Response {
  return c.json({ error, message }, status);
}

/** Parts of a request that are not as they must be. */
export function refusal(c: Context, code: "bad_path" | "bad_query" | "bad_body", error: z.ZodError): Response {
  return problem(c, 400, code, error.issues.map(issueText).join("; "));
}

/** An `after` that no page of this list has given. */
export function badAfter(c: Context): Response {
  return problem(c, 400, "bad_query", "after: is not the next of a page");
}

function issueText({ path, message, code }: z.core.$ZodIssue): string {
  return code === "unrecognized_keys" || path.length === 0 ? message : `${path.join(".")}: ${message}`;
}
