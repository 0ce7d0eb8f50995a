/*  The application log: JSON lines on standard output through LogTape (contract, section 11).
 *
 *  LogTape's configuration is one per process, while a test (or the demo) may hold several logs. So it is configured once with
 *  one sink, and each log is a category of its own, which the sink maps to that log's writer. Levels are ours: a line
 *  below the level costs one comparison.
 */
import { configureSync, getLogger, type LogRecord } from "@logtape/logtape";
import { jsonString, jsonValue } from "./json-text.ts";
import { standardOutput } from "./line-writer.ts";

/** From the most to the least that is said. */
export const LEVELS = ["debug", "info", "warn", "error"] as const;
export type LogLevel = (typeof LEVELS)[number];
export type LogFields = Readonly<Record<string, unknown>>;

/** What the rest of the program logs to. `msg` is a fixed sentence; what varies goes into `fields`. */
export interface Log {
  debug(msg: string, fields?: LogFields): void;
  info(msg: string, fields?: LogFields): void;
  warn(msg: string, fields?: LogFields): void;
  error(msg: string, fields?: LogFields): void;
  /** Whether lines of this level are written: guards costly fields. */
  enabled(level: LogLevel): boolean;
}

/** A log whose level can change while it is used. */
export interface AdjustableLog extends Log {
  level: LogLevel;
}

/** Takes one line without its newline. */
export type WriteLine = (line: string) => void;

const ROOT = "edgeproxy";
const RANK: Readonly<Record<LogLevel, number>> = {
  debug: 0,
  info: 1,
  warn: 2,
  error: 3,
};
const LEVEL_NAMES: Readonly<Record<LogRecord["level"], LogLevel>> = {
  trace: "debug",
  debug: "debug",
  info: "info",
  warning: "warn",
  error: "error",
  fatal: "error",
};
/** What a line says about itself; a field of that name would make a second key. */
const RESERVED: ReadonlySet<string> = new Set(["time", "level", "msg"]);

const writers = new Map<string, WriteLine>();

/**
 * A log of this level and above, with `fixed` fields in each line. Each line reaches standard output at once; `standardOutput.close()`
 * waits for a slow reader.
 */
export function createLog(
  level: LogLevel,
  write: WriteLine = (line) => standardOutput.writeNow(line),
  fixed: LogFields = {},
): AdjustableLog {
  if (writers.size === 0) configureLogTape();
  const category = String(writers.size);
  writers.set(category, write);
  const logger = getLogger([ROOT, category]);
  let lowest = RANK[level];
  return {
    get level() {
      return LEVELS[lowest]!;
    },
    set level(next) {
      lowest = RANK[next];
    },
    debug: (msg, fields) => lowest <= RANK.debug && logger.debug(msg, { ...fixed, ...fields, ...fixed }),
    info: (msg, fields) => lowest <= RANK.info && logger.info(msg, { ...fixed, ...fields, ...fixed }),
    warn: (msg, fields) => lowest <= RANK.warn && logger.warn(msg, { ...fixed, ...fields, ...fixed }),
    error: (msg, fields) => logger.error(msg, { ...fixed, ...fields, ...fixed }),
    enabled: (asked) => RANK[asked] >= lowest,
  };
}

function configureLogTape(): void {
  configureSync({
    sinks: { lines: writeRecord },
    loggers: [
      { category: ROOT, sinks: ["lines"], lowestLevel: "trace" },
      // LogTape's log about itself: a sink that throws must not end up on the console.
      { category: ["logtape", "meta"], sinks: [], lowestLevel: "fatal" },
    ],
  });
}

function writeRecord(record: LogRecord): void {
  writers.get(record.category[1] ?? "")?.(formatRecord(record));
}

function formatRecord(record: LogRecord): string {
  // The raw message: a `{` in it is text, not a place for a field.
  const msg = typeof record.rawMessage === "string" ? record.rawMessage : record.rawMessage.join("");
  const fields: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(record.properties)) {
    fields[RESERVED.has(name) ? `${name}_` : name] = value;
  }
  const rest = jsonValue(fields);
  const head = `{"time":"${new Date(record.timestamp).toISOString()}","level":"${LEVEL_NAMES[record.level]}","msg":${
    jsonString(msg)
  }`;
  return rest.length > 2 ? `${head},${rest.slice(1)}` : `${head}}`;
}
