import { test } from "node:test";
import assert from "node:assert/strict";
import { ACCESS_FIELDS } from "../../src/observation/access-fields.ts";
import { accessLine, AccessLog, type AccessSampling } from "../../src/observation/access-log.ts";
import { LineWriter } from "../../src/observation/line-writer.ts";
import { accessLineProblems } from "../fixtures/access-line.ts";
import { goodExchange } from "../fixtures/good-exchange.ts";

const ON: AccessSampling = { share: 1, errors: true };

test("accessLine() writes every field of the contract and of the table", () => {
  assert.deepEqual(JSON.parse(accessLine(goodExchange(), 0.25)), {
    time: "2023-11-14T22:13:20.123Z",
    level: "info",
    msg: "access",
    schema: 1,
    method: "GET",
    host: "app.example.com",
    path: "/a",
    status: 200,
    bytes_in: 120,
    bytes_out: 4096,
    duration_ms: 1.235,
    upstream: "10.0.0.5:8080",
    region: "0b8f8a5e-9c38-4d2e-8b53-0d6a1d9f1c11",
    request_id: "r-1",
    error: "",
    trace_id: "0af7651916cd43dd8448eb211c80319c",
    client: "192.0.2.7",
    protocol: "HTTP/1.1",
    target: "/a?b=c",
    route: "*.example.com",
    outcome: "forwarded",
    blame: "",
    problem: "",
    ended_by: "vm",
    head_wait_ms: 0,
    probe_wait_ms: 0,
    connect_ms: 0,
    first_byte_ms: 1,
    attempts: 1,
    policy: "",
    service: "",
    decided_by: "",
    retry: "",
    "queue_wait_ms": 0,
    reused: true,
    worker: 2,
    sample: 0.25,
  });
});

test("accessLine() has the fields of the table, in its order and of its types, however an exchange ended", () => {
  const refused = goodExchange({
    code: "no_route",
    blame: "client",
    firstByteMs: null,
    reused: false,
    outcome: "refused",
    problem: "x",
  });
  const long = goodExchange({ totalMs: 86_400_000.0014, connectMs: 1e-9, headWaitMs: 12.5, probeWaitMs: -1e-9 });
  for (const report of [goodExchange(), refused, long]) {
    const line = accessLine(report, 1);
    assert.deepEqual(accessLineProblems(line), []);
    assert.deepEqual(Object.keys(JSON.parse(line)), ACCESS_FIELDS.map(({ name }) => name));
  }
  const { duration_ms: whole, connect_ms: connect, head_wait_ms: head } = JSON.parse(accessLine(long, 1));
  assert.deepEqual([whole, connect, head], [86_400_000.001, 0, 12.5]);
});

test("accessLine() is one valid line whatever bytes a client sent", () => {
  const everyByte = String.fromCharCode(...Array.from({ length: 256 }, (_, i) => i));
  const sent = { target: everyByte, host: '","admin":"yes', method: "\ud800\u2028", problem: '\\"', route: "\u0085" };
  const line = accessLine(goodExchange(sent), 1);
  assert.doesNotMatch(line, /[\p{Cc}\u2028]/u);
  const { target, path, host, method, problem, route, admin } = JSON.parse(line);
  assert.deepEqual({ target, host, method, problem, route }, sent);
  assert.equal(path, everyByte.slice(0, everyByte.indexOf("?")));
  assert.equal(admin, undefined);
});

/** Which of these are written, and for how many each stands. */
function written(sampling: AccessSampling, lots: number[]): number[] {
  const log = new AccessLog({ sampling, random: () => lots.shift() ?? assert.fail("must not be asked") });
  return ([[200, false], [404, true], [500, false], [0, true], [200, false]] as const).map(([status, badly]) =>
    log.shareFor(status, badly)
  );
}

test("AccessLog.shareFor() is all, none, errors only, or a share besides all errors", () => {
  assert.deepEqual(written({ share: 0, errors: false }, []), [0, 0, 0, 0, 0]);
  assert.deepEqual(written(ON, []), [1, 1, 1, 1, 1]);
  assert.deepEqual(written({ share: 0, errors: true }, []), [0, 1, 1, 1, 0]);
  assert.deepEqual(written({ share: 0.01, errors: true }, [0.009, 0.01]), [0.01, 1, 1, 1, 0]);
});

test("AccessLog.record() gives the line to its writer", () => {
  let text = "";
  const writer = new LineWriter({ write: (bytes) => (text += new TextDecoder().decode(bytes), bytes.length) });
  const log = new AccessLog({ sampling: ON, writer });
  log.record(goodExchange({ requestId: "a" }), 1);
  log.record(goodExchange({ requestId: "b" }), 0.5);
  log.close();
  const lines = text.split("\n").slice(0, -1).map((line) => JSON.parse(line) as Record<string, unknown>);
  assert.deepEqual(lines.map((line) => [line["request_id"], line["sample"]]), [["a", 1], ["b", 0.5]]);
});
