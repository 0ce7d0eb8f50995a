import { test } from "node:test";
import assert from "node:assert/strict";
import { createLog, type LogLevel } from "../../src/observation/log.ts";

function recordedLog(level: LogLevel) {
  const lines: string[] = [];
  return { log: createLog(level, (line) => lines.push(line)), parsed: () => lines.map((line) => JSON.parse(line)), lines };
}

test("createLog() writes one JSON line with time, level, msg and fields", () => {
  const { log, lines, parsed } = recordedLog("info");
  log.warn("bad row", { domain: "app.example.com", rows: 2 });
  assert.equal(lines.length, 1);
  assert.match(parsed()[0].time, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  assert.deepEqual(Object.keys(parsed()[0]), ["time", "level", "msg", "domain", "rows"]);
  assert.equal(parsed()[0].level, "warn");
  assert.equal(parsed()[0].msg, "bad row");
});

test("createLog() adds its fixed fields to each line, before the others and whatever those say", () => {
  const lines: string[] = [];
  const log = createLog("debug", (line) => lines.push(line), { worker: 2 });
  log.debug("a");
  log.info("b", { port: 80 });
  log.warn("c", { worker: 9 });
  log.error("d", { error: "e" });
  assert.deepEqual(lines.map((line) => line.slice(line.indexOf(',"msg"'))), [
    ',"msg":"a","worker":2}',
    ',"msg":"b","worker":2,"port":80}',
    ',"msg":"c","worker":2}',
    ',"msg":"d","worker":2,"error":"e"}',
  ]);
});

test("createLog() leaves out lines below its level", () => {
  const { log, parsed } = recordedLog("warn");
  log.debug("a");
  log.info("b");
  log.warn("c");
  log.error("d");
  assert.deepEqual(parsed().map((line) => [line.level, line.msg]), [["warn", "c"], ["error", "d"]]);
  assert.equal(log.enabled("info"), false);
  assert.equal(log.enabled("error"), true);
});

test("createLog() gives a log whose level can change", () => {
  const { log, parsed } = recordedLog("warn");
  log.info("a");
  log.level = "debug";
  log.debug("b");
  assert.deepEqual([log.level, log.enabled("debug")], ["debug", true]);
  log.level = "error";
  log.warn("c");
  assert.deepEqual(parsed().map((line) => line.msg), ["b"]);
});

test("createLog() keeps two logs apart", () => {
  const one = recordedLog("debug");
  const two = recordedLog("error");
  one.log.debug("for one");
  two.log.error("for two");
  assert.deepEqual(one.parsed().map((line) => line.msg), ["for one"]);
  assert.deepEqual(two.parsed().map((line) => line.msg), ["for two"]);
});

test("createLog() writes an error as message, code, cause and stack", () => {
  const { log, parsed } = recordedLog("error");
  const cause = new Error("no route to host");
  log.error("database", { error: Object.assign(new Error("connection lost", { cause }), { code: "ECONNRESET" }) });
  const { error } = parsed()[0];
  assert.equal(error.message, "connection lost");
  assert.equal(error.code, "ECONNRESET");
  assert.equal(error.cause.message, "no route to host");
  assert.match(error.stack, /log\.test/);
});

test("createLog() never throws on hostile values", () => {
  const { log, parsed, lines } = recordedLog("info");
  const cyclic: Record<string, unknown> = { name: "loop" };
  cyclic["self"] = cyclic;
  const trap = {
    get broken(): string {
      throw new Error("trapped");
    },
  };
  log.info("values", {
    cyclic,
    trap,
    big: 10n,
    nan: Number.NaN,
    none: undefined,
    nothing: null,
    call: () => 1,
    date: new Date(0),
    map: new Map([["a", 1]]),
    set: new Set([1, 2]),
  });
  const line = parsed()[0];
  assert.deepEqual(line.cyclic, { name: "loop", self: "[circular]" });
  assert.match(line.trap, /trapped/);
  assert.equal(line.big, "10");
  assert.equal(line.nan, "NaN");
  assert.equal("none" in line || "call" in line, false);
  assert.equal(line.nothing, null);
  assert.equal(line.date, "1970-01-01T00:00:00.000Z");
  assert.deepEqual([line.map, line.set], [{ a: 1 }, [1, 2]]);
  assert.equal(lines.length, 1);
});

test("createLog() writes the same object twice when it is no cycle", () => {
  const { log, parsed } = recordedLog("info");
  const twin = { a: 1 };
  log.info("twins", { one: twin, two: twin });
  assert.deepEqual([parsed()[0].one, parsed()[0].two], [{ a: 1 }, { a: 1 }]);
});

test("createLog() keeps line breaks, terminal escapes and lone surrogates out of the line", () => {
  const { log, parsed, lines } = recordedLog("info");
  const text = 'a"b\\c\r\n\x1b[31m\x7f\x9b\ud800é';
  log.info("text", { text });
  assert.doesNotMatch(lines[0]!, /\p{Cc}/u);
  assert.equal(parsed()[0].text, text);
});

test("createLog() does not let a field replace time, level or msg, nor braces in msg pull fields in", () => {
  const { log, parsed } = recordedLog("info");
  log.info("user {name}", { msg: "other", level: "error", name: "x" });
  assert.equal(parsed()[0].msg, "user {name}");
  assert.equal(parsed()[0].level, "info");
  assert.deepEqual([parsed()[0].msg_, parsed()[0].level_], ["other", "error"]);
});
