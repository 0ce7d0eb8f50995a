/** The answer to a Prometheus scrape. */
import { EXPOSITION_CONTENT_TYPE, renderMetrics } from "../observation/exposition.ts";
import { adminPath } from "./path.ts";

export const SHOW_METRICS = adminPath({
  method: "GET",
  path: "/metrics",
  tag: "process",
  summary: "Metrics in the Prometheus text format",
  answers: { 200: { meaning: "As of now", contentType: EXPOSITION_CONTENT_TYPE } },
  answer: async (c, deps) => c.body(await renderMetrics(await deps.figures()), 200, { "Content-Type": EXPOSITION_CONTENT_TYPE }),
});
