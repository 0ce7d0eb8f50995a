import assert from "node:assert/strict";
import { test } from "node:test";
import { backoffMs, type Failure, mayRepeat, type Progress, retryVerdict } from "../../src/forwarding/retrying.ts";
import type { RetryPolicy } from "../../src/table/policy.ts";

const POLICY: RetryPolicy = {
  attempts: 3,
  on: ["connect", "reset", "timeout"],
  statuses: [{ from: 502, to: 503 }],
  budget: 0.2,
  backoffMs: 25,
  maxBodyBytes: 65_536,
  totalMs: 0,
};
const FIRST: Progress = {
  attempts: 1,
  answered: false,
  method: "GET",
  idempotencyKey: false,
  bodySent: false,
  bodyKept: false,
  elapsedMs: 10,
  backoffMs: 25,
  budgetLeft: () => true,
};
const REFUSED: Failure = { code: "connect_failed", retry: "safe" };
const NO_CONNECTION: Failure = { code: "connect_timeout", retry: "safe" };
const RESET: Failure = { code: "upstream_reset", retry: "never" };
const STALE: Failure = { code: "upstream_reset", retry: "if-reused" };
const SLOW: Failure = { code: "response_timeout", retry: "never" };
const ANSWERED_503: Failure = { status: 503 };

const KEPT = { bodySent: true, bodyKept: true };
const LOST = { bodySent: true, bodyKept: false };

type Row = readonly [what: string, failure: Failure, progress: Partial<Progress>, verdict: string, policy?: Partial<RetryPolicy>];

const CASES: readonly Row[] = [
  // Nothing was sent: any method
  ["refused GET", REFUSED, {}, "yes: connect"],
  ["refused POST", REFUSED, { method: "POST" }, "yes: connect"],
  ["POST without a connection in time", NO_CONNECTION, { method: "POST" }, "yes: connect"],
  ["the same, where only timeouts are retried", NO_CONNECTION, { method: "POST" }, "yes: timeout", { on: ["timeout"] }],
  ["refused, where connect is not named", REFUSED, {}, "no: cause", { on: ["reset"] }],
  ["our own want of connections", { code: "overloaded", retry: "never" }, {}, "no: cause"],

  // Something was sent: only what is harmless to repeat
  ["reset GET", RESET, {}, "yes: reset"],
  ["reset POST", RESET, { method: "POST" }, "no: unsafe"],
  ["reset PATCH", RESET, { method: "PATCH" }, "no: unsafe"],
  ["a method that nobody knows", RESET, { method: "PURGE" }, "no: unsafe"],
  ["reset POST on a pooled connection", STALE, { method: "POST" }, "no: unsafe"],
  ["reset POST whose body has not begun to leave", RESET, { method: "POST", bodySent: false }, "no: unsafe"],
  ["reset POST with a key", RESET, { method: "POST", idempotencyKey: true, ...KEPT }, "yes: reset"],
  ["slow POST", SLOW, { method: "POST" }, "no: unsafe"],
  ["slow PUT", SLOW, { method: "PUT", ...KEPT }, "yes: timeout"],
  ["503 to a POST", ANSWERED_503, { method: "POST", ...KEPT }, "no: unsafe"],
  ["503 to a POST with a key", ANSWERED_503, { method: "POST", idempotencyKey: true, ...KEPT }, "yes: status"],
  ["503 to a DELETE", ANSWERED_503, { method: "DELETE" }, "yes: status"],
  ["500, which is not named", { status: 500 }, {}, "no: cause"],
  ["a malformed answer", { code: "upstream_protocol", retry: "never" }, {}, "no: cause"],

  // Bodies
  ["PUT whose body was too large to keep", RESET, { method: "PUT", ...LOST }, "no: body"],
  [
    "refused, after an attempt that had taken a body that was not kept",
    REFUSED,
    { method: "PUT", attempts: 2, ...LOST },
    "no: body",
  ],

  // Bounds
  ["the last attempt", RESET, { attempts: 3 }, "no: attempts"],
  ["one attempt is none more", REFUSED, {}, "no: attempts", { attempts: 1 }],
  ["time is over", RESET, { elapsedMs: 980 }, "no: time", { totalMs: 1000 }],
  ["time is not over", RESET, { elapsedMs: 970 }, "yes: reset", { totalMs: 1000 }],
  ["no budget", REFUSED, { budgetLeft: () => false }, "no: budget"],
  ["the answer has begun", RESET, { answered: true }, "no: answered"],
];

test("retryVerdict() says of each case whether, and why", () => {
  for (const [what, failure, progress, verdict, policy] of CASES) {
    const { again, why } = retryVerdict(failure, { ...POLICY, ...policy }, { ...FIRST, ...progress });
    assert.equal(`${again ? "yes" : "no"}: ${why}`, verdict, what);
  }
});

test("no status, no cause and no policy sends an unsafe request again once something of it was sent", () => {
  const everything: RetryPolicy = { ...POLICY, attempts: 10, statuses: [{ from: 100, to: 999 }], budget: 1 };
  const failures: readonly Failure[] = [RESET, STALE, SLOW, ANSWERED_503, { status: 200 }];
  for (const method of ["POST", "PATCH", "CONNECT", "LOCK", "get"]) {
    for (const failure of failures) {
      for (const body of [{}, KEPT, LOST]) {
        assert.equal(
          retryVerdict(failure, everything, { ...FIRST, method, ...body }).again,
          false,
          `${method} ${JSON.stringify(failure)}`,
        );
      }
    }
  }
});

test("the budget is asked last, since asking may take from it", () => {
  let asked = 0;
  const budgetLeft = () => ++asked > 0;
  retryVerdict(RESET, POLICY, { ...FIRST, method: "POST", budgetLeft });
  retryVerdict(RESET, POLICY, { ...FIRST, attempts: 3, budgetLeft });
  assert.equal(asked, 0);
  retryVerdict(RESET, POLICY, { ...FIRST, budgetLeft });
  assert.equal(asked, 1);
});

test("a body is worth keeping only where it could be sent again", () => {
  assert.equal(mayRepeat(POLICY, "PUT", false), true);
  assert.equal(mayRepeat(POLICY, "POST", false), false);
  assert.equal(mayRepeat(POLICY, "POST", true), true);
  assert.equal(mayRepeat({ ...POLICY, attempts: 1 }, "PUT", false), false);
  assert.equal(mayRepeat({ ...POLICY, on: ["connect"], statuses: [] }, "PUT", false), false);
});

test("the back-off doubles, with jitter, and is bounded", () => {
  assert.deepEqual([1, 2, 3].map((attempts) => backoffMs(POLICY, attempts, 0.5)), [25, 50, 100]);
  assert.deepEqual([0, 0.999].map((random) => Math.round(backoffMs(POLICY, 1, random))), [13, 37]);
  assert.equal(backoffMs(POLICY, 100, 0.5), 5000);
});
