/*  The fault matrix: what the VM does (silence, FIN, RST, garbage) × when × on a fresh or a pooled connection × which request.
 *
 *  The table states what an answer becomes; which cells may be sent again follows from one rule (contract, section 7): the pooled
 *  connection turned out dead, no byte of an answer has come, the method is idempotent and no body has left.
 *  All cells run while the first tests wait for them: each has a VM of its own, at most WIDTH at a time.
 */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import type { Edgeproxy } from "../fixtures/edgeproxy.ts";
import {
  type Fault,
  FAULT_REQUESTS,
  type FaultCell,
  type FaultOutcome,
  type FaultRequest,
  runFaultCell,
  type Strike,
  UPLOADS,
} from "../fixtures/fault-cell.ts";
import { DataPlane, type RoutedVm, settled, stoodIn } from "../fixtures/served-vms.ts";

/** Cells in which nothing happens until a timeout do not count while they wait. */
const WIDTH = 32;

const BOTH = ["fresh", "pooled"] as const;

/** One phase: what has been sent by then, and what each fault makes of the client's answer. */
interface Phase {
  readonly when: string;
  readonly at: Strike["at"];
  readonly sends?: string;
  readonly arrives?: string;
  readonly garbage?: string;
  readonly becomes: Partial<Record<Fault, string>>;
  readonly connections?: readonly FaultCell["connection"][];
  readonly requests?: readonly FaultRequest[];
}

const LENGTH = "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n";
const CHUNKED = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
const UNTIL_CLOSE = "HTTP/1.1 200 OK\r\n\r\n";
const HINTS = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n";
const EARLY = "HTTP/1.1 413 Content Too Large\r\nContent-Length: 5\r\n\r\nearly";
const HEAD_END = "\r\n\r\n";
/** Who owes the rest of its body is to blame, whatever the VM has not said yet. */
const OWES_BODY = { silence: "408 body_timeout" };
const NO_ANSWER = { FIN: "502 upstream_reset", RST: "502 upstream_reset", garbage: "502 upstream_protocol" };
const BROKEN = { silence: "aborted", FIN: "aborted", RST: "aborted" };
const COMPLETE = { FIN: "200", RST: "200", garbage: "200" };

const PHASES: readonly Phase[] = [
  {
    when: "before anything else",
    at: "connection",
    garbage: "SSH-2.0-OpenSSH_9.6\r\n",
    becomes: { garbage: "502 upstream_protocol" },
    connections: ["fresh"],
  },
  {
    when: "before its answer",
    at: "request",
    garbage: "hello\r\n\r\n",
    becomes: { silence: "504 response_timeout", ...NO_ANSWER },
  },
  {
    when: "behind an interim answer",
    at: "request",
    sends: HINTS,
    arrives: "103",
    garbage: "\r\nhello\r\n\r\n",
    becomes: { silence: "504 response_timeout", ...NO_ANSWER },
  },
  // The interim answer shows that the part behind it has arrived too
  {
    when: "within the head of its answer",
    at: "request",
    sends: `${HINTS}HTTP/1.1 200 OK\r\nContent-Le`,
    arrives: "103",
    garbage: "\0\r\n\r\n",
    becomes: { silence: "504 response_timeout", ...NO_ANSWER },
  },
  { when: "behind a head with a length", at: "request", sends: LENGTH, arrives: HEAD_END, becomes: BROKEN },
  {
    when: "behind a head of chunks",
    at: "request",
    sends: CHUNKED,
    arrives: HEAD_END,
    garbage: "-1\r\n",
    becomes: { ...BROKEN, garbage: "aborted" },
  },
  {
    when: "behind a head without framing",
    at: "request",
    sends: UNTIL_CLOSE,
    arrives: HEAD_END,
    becomes: { ...BROKEN, FIN: "200" },
  },
  { when: "within a body by length", at: "request", sends: `${LENGTH}half`, arrives: "half", becomes: BROKEN },
  {
    when: "within a chunk",
    at: "request",
    sends: `${CHUNKED}8\r\nhalf`,
    arrives: "half",
    garbage: "rest0\r\n\r\n",
    becomes: { ...BROKEN, garbage: "aborted" },
  },
  {
    when: "between two chunks",
    at: "request",
    sends: `${CHUNKED}4\r\nhalf\r\n`,
    arrives: "half",
    garbage: "hello",
    becomes: { ...BROKEN, garbage: "aborted" },
  },
  {
    when: "within the trailers",
    at: "request",
    sends: `${CHUNKED}4\r\nhalf\r\n0\r\nX-A: b\r\n`,
    arrives: "half",
    garbage: "X b\r\n\r\n",
    becomes: { ...BROKEN, garbage: "aborted" },
  },
  {
    when: "within a body without framing",
    at: "request",
    sends: `${UNTIL_CLOSE}half`,
    arrives: "half",
    becomes: { ...BROKEN, FIN: "200" },
  },
  {
    when: "behind a whole answer by length",
    at: "request",
    sends: `${LENGTH}complete`,
    arrives: "complete",
    garbage: LENGTH,
    becomes: COMPLETE,
  },
  {
    when: "behind a whole answer in chunks",
    at: "request",
    sends: `${CHUNKED}8\r\ncomplete\r\n0\r\n\r\n`,
    arrives: "\r\n0\r\n\r\n",
    garbage: "\r\n",
    becomes: COMPLETE,
  },
  // The surplus comes with the answer, and the VM keeps the connection open
  {
    when: "with more than its answer by length",
    at: "request",
    sends: `${LENGTH}complete${LENGTH}`,
    arrives: "complete",
    becomes: { silence: "200" },
  },
  {
    when: "with more than its answer in chunks",
    at: "request",
    sends: `${CHUNKED}8\r\ncomplete\r\n0\r\n\r\n${LENGTH}`,
    arrives: "complete",
    becomes: { silence: "200" },
  },
  {
    when: "while its connection rests",
    at: "rest",
    garbage: "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n",
    becomes: COMPLETE,
    connections: ["pooled"],
  },
  // In the middle of an upload; silence behind the whole of one: before its answer, above
  {
    when: "before its answer, mid-upload",
    at: "head",
    garbage: "hello\r\n\r\n",
    becomes: { ...OWES_BODY, ...NO_ANSWER },
    requests: UPLOADS,
  },
  {
    when: "behind an interim answer, mid-upload",
    at: "head",
    sends: HINTS,
    arrives: "103",
    garbage: "\0",
    becomes: { ...OWES_BODY, ...NO_ANSWER },
    requests: UPLOADS,
  },
  {
    when: "within the head of its answer, mid-upload",
    at: "head",
    sends: `${HINTS}HTTP/1.1 200 OK\r\nContent-Le`,
    arrives: "103",
    garbage: "\r\n\r\n",
    becomes: { ...OWES_BODY, ...NO_ANSWER },
    requests: UPLOADS,
  },
  {
    when: "within its answer, mid-upload",
    at: "head",
    sends: `${LENGTH}half`,
    arrives: "half",
    becomes: BROKEN,
    requests: UPLOADS,
  },
  {
    when: "behind an early answer",
    at: "head",
    sends: EARLY,
    arrives: "early",
    garbage: LENGTH,
    becomes: { silence: "413", FIN: "413", RST: "413", garbage: "413" },
    requests: UPLOADS,
  },
];

interface Row extends FaultCell {
  readonly name: string;
  readonly expected: FaultOutcome;
}

function rowsOf(phase: Phase): Row[] {
  const { at, sends = "", arrives = "", garbage = "", connections = BOTH, requests = FAULT_REQUESTS } = phase;
  const rows: Row[] = [];
  for (const [then, becomes] of Object.entries(phase.becomes) as [Fault, string][]) {
    const strike = { at, sends, arrives, then, garbage };
    for (const connection of connections) {
      for (const each of requests) {
        const cell = { request: each, connection, strike };
        const expected = outcome(cell, becomes);
        const times = expected.seen === 1 ? "sent once" : "sent again";
        rows.push({
          ...cell,
          expected,
          name: `${then}, ${connection} connection, ${each.name}: ${expected.answer}, ${times}`,
        });
      }
    }
  }
  return rows;
}

function outcome({ request, connection, strike }: FaultCell, becomes: string): FaultOutcome {
  const broke = strike.then === "FIN" || strike.then === "RST";
  const stale = broke && connection === "pooled" && strike.at !== "rest" && strike.sends === "";
  const again = stale && request.safe && strike.at === "request";
  const answer = again ? "200" : becomes;
  // A length says how much of the upload is left to be dropped; what is left of chunks, nobody knows
  const unread = strike.at === "head" && request.body === "chunks" && answer.startsWith("502");
  return {
    answer,
    seen: again ? 2 : 1,
    client: answer === "aborted" || answer.startsWith("408") || unread ? "closed" : "usable",
    // A stale connection says nothing about the VM's health, a broken exchange does (contract, section 6)
    probed: broke && !stale && (answer === "aborted" || answer === "502 upstream_reset"),
  };
}

const MATRIX = PHASES.map((phase) => ({ phase, rows: rowsOf(phase) }));
const ROWS = MATRIX.flatMap(({ rows }) => rows);

/** Cells by the limit that ends them; the proxy of each has that one, so that no busy moment is taken for another silence. */
const UNANSWERED = ROWS.filter(({ expected }) => expected.answer.includes("response_timeout"));
const STALLED = ROWS.filter(({ expected, strike }) => {
  return strike.then === "silence" && (expected.answer === "aborted" || expected.answer.includes("body_timeout"));
});
const UNLIMITED = ROWS.filter((row) => !UNANSWERED.includes(row) && !STALLED.includes(row));

const outcomes: Map<Row, Promise<FaultOutcome>> = new Map();
let plane: DataPlane;
/** With a time for the head of an answer; with one for any byte. `plane.proxy` has the defaults. */
let hasty: Edgeproxy, impatient: Edgeproxy;

before(async () => {
  // Probes come when a fault asks for them, and not otherwise.
  const health = { EDGEPROXY_HEALTH_INTERVAL: "1h", EDGEPROXY_HEALTH_TIMEOUT: "20s", EDGEPROXY_LOG_LEVEL: "debug" };
  plane = await DataPlane.start(health);
  hasty = await plane.another({ ...health, EDGEPROXY_RESPONSE_TIMEOUT: "4s" });
  impatient = await plane.another({ ...health, EDGEPROXY_STREAM_TIMEOUT: "5s" });
  // Those that wait come first
  runAll([...UNANSWERED, ...STALLED, ...UNLIMITED], await plane.vms(ROWS.map(() => ({}))));
});
after(() => plane[Symbol.asyncDispose]());

function proxyOf(row: Row): Edgeproxy {
  if (UNANSWERED.includes(row)) return hasty;
  return STALLED.includes(row) ? impatient : plane.proxy;
}

/** Starts all cells, WIDTH at a time, and keeps their outcomes for the tests. */
function runAll(rows: readonly Row[], vms: readonly RoutedVm[]): void {
  const starts: (() => void)[] = [];
  rows.forEach((row, index) => {
    const started = new Promise<void>((resolve) => starts.push(resolve));
    let isBusy = true;
    const next = (): void => {
      if (isBusy) starts.shift()?.();
      isBusy = false;
    };
    const outcome = started.then(() => runFaultCell(row, proxyOf(row), vms[index]!, next)).finally(next);
    outcome.catch(() => {}); // its test tells
    outcomes.set(row, outcome);
  });
  for (const start of starts.splice(0, WIDTH)) start();
}

for (const { phase, rows } of MATRIX) {
  describe(`a VM that fails ${phase.when}`, () => {
    for (const row of rows) {
      test(row.name, async () => {
        const { probed, ...seen } = (await outcomes.get(row))!;
        const { probed: doubted, ...expected } = row.expected;
        assert.deepEqual(seen, expected);
        if (!stoodIn(proxyOf(row))) assert.equal(probed, doubted);
      });
    }
  });
}

test("every VM that was doubted is healthy again, and nothing is left in use", async () => {
  await Promise.allSettled(outcomes.values());
  for (const proxy of [plane.proxy, hasty, impatient]) {
    await proxy.waitFor(async () => {
      const { endpoints } = await (await proxy.admin("/api/health")).json() as { endpoints: { verdict: string }[] };
      return endpoints.length > 0 && endpoints.every(({ verdict }) => verdict === "healthy");
    }, "still doubts a VM");
    await settled(proxy);
  }
});
