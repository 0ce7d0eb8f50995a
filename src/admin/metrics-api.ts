/** The answer to a Prometheus scrape. */
import type { Context } from "hono";
import { EXPOSITION_CONTENT_TYPE, renderMetrics } from "../observation/exposition.ts";
import type { AdminDeps } from "./deps.ts";

export async function answerMetrics(c: Context, deps: AdminDeps): Promise<Response> {
  return c.body(await renderMetrics(await deps.figures()), 200, { "Content-Type": EXPOSITION_CONTENT_TYPE });
}
