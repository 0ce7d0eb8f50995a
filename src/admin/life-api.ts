/** Whether this process is alive, for whoever watches over it. */
import { z } from "zod";
import { adminPath } from "./path.ts";

export const SHOW_LIFE = adminPath({
  method: "GET",
  path: "/healthz",
  open: true,
  tag: "process",
  summary: "The process is alive",
  answers: { 200: { meaning: "It is", schema: z.object({ status: z.literal("alive"), version: z.string() }) } },
  answer: (c, deps) => c.json({ status: "alive", version: deps.version }),
});
