/** What the process was started with, and what of it can be changed while it runs. */
import { z } from "zod";
import { LEVELS } from "../observation/log.ts";
import type { AdminDeps } from "./deps.ts";
import { EXPIRY, TIME } from "./fields.ts";
import { adminPath } from "./path.ts";
import { timeText } from "./time-text.ts";

const SETTING = z.object({
  variable: z.string(),
  value: z.string().describe("As one would write it; secrets are masked"),
  default: z.string().describe("Empty: there is none"),
  meaning: z.string(),
  masked: z.boolean(),
});
const LEVEL = z.enum(LEVELS);
const LOG_LEVEL = z.object({
  level: LEVEL.describe("In force, in every process"),
  configured: LEVEL,
  until: TIME.nullable().describe("When it is as configured again; null while it is"),
});
const IN_FORCE = { 200: { meaning: "What is in force", schema: LOG_LEVEL } };

export const LIST_SETTINGS = adminPath({
  method: "GET",
  path: "/api/settings",
  tag: "process",
  summary: "The settings in force, with defaults and meanings",
  query: z.strictObject({}),
  answers: { 200: { meaning: "All of them", schema: z.object({ settings: z.array(SETTING) }) } },
  answer: (c, deps) => c.json({ settings: deps.settings() }),
});

export const SHOW_LOG_LEVEL = adminPath({
  method: "GET",
  path: "/api/log-level",
  tag: "process",
  summary: "The log level in force and the configured one",
  answers: IN_FORCE,
  answer: (c, deps) => c.json(logLevelView(deps)),
});

export const SET_LOG_LEVEL = adminPath({
  method: "PUT",
  path: "/api/log-level",
  action: "log-level",
  tag: "process",
  summary: "Log more or less for a while, in every process; SIGHUP, a restart and the next generation log as configured again",
  body: z.strictObject({ level: LEVEL, expires: EXPIRY.prefault("1h") }),
  answers: IN_FORCE,
  answer: (c, deps, { body: { level, expires } }) => {
    deps.setLogLevel(level, expires);
    return c.json(logLevelView(deps));
  },
});

export const RESET_LOG_LEVEL = adminPath({
  method: "DELETE",
  path: "/api/log-level",
  action: "log-level",
  tag: "process",
  summary: "Log as configured again",
  answers: IN_FORCE,
  answer: (c, deps) => {
    deps.resetLogLevel();
    return c.json(logLevelView(deps));
  },
});

function logLevelView(deps: AdminDeps): z.output<typeof LOG_LEVEL> {
  const { level, configured, untilAtMs } = deps.logLevel();
  return { level, configured, until: timeText(untilAtMs) };
}
