import { test } from "node:test";
import assert from "node:assert/strict";
import { type AccessEntry, AccessLog, type AccessLogOptions } from "../../src/observation/access-log.ts";
import { LineWriter } from "../../src/observation/line-writer.ts";

const ENTRY: AccessEntry = {
  method: "GET",
  host: "app.example.com",
  path: "/a?b=c",
  status: 200,
  bytesIn: 120,
  bytesOut: 4096,
  durationMs: 1.23456,
  upstream: "10.0.0.5:8080",
  region: "0b8f8a5e-9c38-4d2e-8b53-0d6a1d9f1c11",
  requestId: "r-1",
  error: "",
};

function recordedAccessLog(options: Partial<AccessLogOptions> = {}) {
  let text = "";
  const writer = new LineWriter({ write: (bytes) => (text += new TextDecoder().decode(bytes), bytes.length) });
  const log = new AccessLog({ share: 1, writer, nowMs: () => 1_700_000_000_123, ...options });
  return {
    log,
    lines: () => {
      log.close();
      return text.split("\n").slice(0, -1);
    },
  };
}

test("AccessLog.record() writes the fields of the contract", () => {
  const { log, lines } = recordedAccessLog();
  log.record(ENTRY);
  assert.deepEqual(lines().map((line) => JSON.parse(line)), [{
    time: "2023-11-14T22:13:20.123Z",
    level: "info",
    msg: "access",
    method: "GET",
    host: "app.example.com",
    path: "/a?b=c",
    status: 200,
    bytes_in: 120,
    bytes_out: 4096,
    duration_ms: 1.235,
    upstream: "10.0.0.5:8080",
    region: "0b8f8a5e-9c38-4d2e-8b53-0d6a1d9f1c11",
    request_id: "r-1",
    error: "",
  }]);
});

test("AccessLog.record() says which worker it was, where there are several", () => {
  const { log, lines } = recordedAccessLog({ worker: 2 });
  log.record(ENTRY);
  assert.deepEqual(lines().map((line) => (JSON.parse(line) as Record<string, unknown>)["worker"]), [2]);
});

test("AccessLog.record() writes one valid line whatever bytes a client sent", () => {
  const everyByte = String.fromCharCode(...Array.from({ length: 256 }, (_, i) => i));
  const { log, lines } = recordedAccessLog();
  log.record({ ...ENTRY, path: everyByte, host: '","admin":"yes', method: "\ud800\u2028" });
  const written = lines();
  assert.equal(written.length, 1);
  assert.doesNotMatch(written[0]!, /[\p{Cc}\u2028]/u);
  const parsed = JSON.parse(written[0]!);
  assert.equal(parsed.path, everyByte);
  assert.equal(parsed.host, '","admin":"yes');
  assert.equal(parsed.method, "\ud800\u2028");
  assert.equal("admin" in parsed, false);
});

test("AccessLog.record() writes nothing and draws no lot when it is off", () => {
  const { log, lines } = recordedAccessLog({ share: 0, random: () => assert.fail("must not be asked") });
  assert.equal(log.enabled, false);
  log.record(ENTRY);
  assert.deepEqual(lines(), []);
});

test("AccessLog.record() writes the share it was told", () => {
  const lots = [0.009, 0.01, 0.5, 0];
  const { log, lines } = recordedAccessLog({ share: 0.01, random: () => lots.shift()! });
  for (const requestId of ["a", "b", "c", "d"]) log.record({ ...ENTRY, requestId });
  assert.deepEqual(lines().map((line) => JSON.parse(line).request_id), ["a", "d"]);
});
