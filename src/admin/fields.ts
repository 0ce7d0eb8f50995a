/** Fields that many answers and parameters of the admin API have. */
import { z } from "zod";
import { durationMs } from "./time-text.ts";

const HOUR_MS = 3_600_000;
/** What an operator decides for now ends by itself. */
export const MOST_EXPIRY_MS = 7 * 24 * HOUR_MS;

/** A moment in an answer. */
export const TIME = z.string().meta({ format: "date-time" });

/** `{"expires":"30m"}`, in milliseconds; with a default: `EXPIRY.prefault("1h")`. */
export const EXPIRY = z.string().describe("A duration such as 30m or 1h30m; at most 7d").transform((text, context) => {
  const ms = durationMs(text);
  if (ms !== null && ms > 0 && ms <= MOST_EXPIRY_MS) return ms;
  context.addIssue("must be a duration such as 30m, at most 7d");
  return z.NEVER;
});

/** `?x=true`. */
export function flag(): z.ZodOptional<z.ZodType<boolean, "true" | "false">> {
  return z.enum(["true", "false"]).transform((text) => text === "true").optional() as z.ZodOptional<
    z.ZodType<boolean, "true" | "false">
  >;
}
