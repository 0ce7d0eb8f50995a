/*  What a line of the access log costs, from the report to the buffer that a system call takes.
 *
 *      bun tests/bench/access-log.bench.ts
 *
 *  Prints one JSON line: nanoseconds per line (the fastest of several rounds), and bytes of a line.
 */
import assert from "node:assert/strict";
import process from "node:process";
import { accessLine, AccessLog } from "../../src/observation/access-log.ts";
import { LineWriter } from "../../src/observation/line-writer.ts";
import { accessLineProblems } from "../fixtures/access-line.ts";
import { goodExchange } from "../fixtures/good-exchange.ts";

const ROUNDS = 8;
const LINES = 200_000;

const reports = Array.from({ length: 1000 }, (_, i) =>
  goodExchange({
    atMs: 1_700_000_000_000 + Math.floor(i / 50),
    host: `app${i % 100}.example.com`,
    route: `app${i % 100}.example.com`,
    target: `/items/${i}?page=2`,
    requestId: `0123456789abcdef0123456789${100_000 + i}`,
    firstByteMs: 0.3 + i / 1700,
    totalMs: 0.4 + i / 1600,
  }));
assert.deepEqual(reports.flatMap((report) => accessLineProblems(accessLine(report, 1))), []);

const log = new AccessLog({
  sampling: { share: 1, errors: true },
  writer: new LineWriter({ write: (bytes, offset) => bytes.length - offset }),
});
let best = Infinity;
for (let round = 0; round < ROUNDS; round++) {
  const startedAtMs = performance.now();
  for (let i = 0; i < LINES; i++) log.record(reports[i % reports.length]!, 1);
  best = Math.min(best, (performance.now() - startedAtMs) * 1e6 / LINES);
}
log.close();
process.stdout.write(
  `${JSON.stringify({ bench: "access-log", ns: Math.round(best), bytes: accessLine(reports[0]!, 1).length })}\n`,
);
