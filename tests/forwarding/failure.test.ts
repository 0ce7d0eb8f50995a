/** What a failed attempt leads to: every row of the table in failure.ts. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { consequence, type Failed, speaksOfHealth } from "../../src/forwarding/failure.ts";
import { ProxyError, type RetryRight } from "../../src/observation/proxy-error.ts";

const failed = (retry: RetryRight, other: Partial<Failed> = {}): Failed => ({
  error: new ProxyError("upstream_reset", "gone", retry),
  probed: true,
  answered: false,
  method: "GET",
  bodySent: false,
  fallBack: false,
  probedAgain: false,
  ...other,
});

test("consequence() breaks off once an answer has begun, whatever else holds", () => {
  for (const retry of ["never", "if-reused", "safe"] as const) {
    assert.equal(consequence(failed(retry, { answered: true })), "break-off");
    assert.equal(consequence(failed(retry, { answered: true, probed: false })), "break-off");
  }
});

test("consequence() of a stale connection is a new one, for idempotent methods without body", () => {
  for (const method of ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"]) {
    assert.equal(consequence(failed("if-reused", { method })), "new-connection");
    assert.equal(consequence(failed("if-reused", { method, bodySent: true })), "refuse");
  }
  for (const method of ["POST", "PATCH", "PURGE", "get"]) assert.equal(consequence(failed("if-reused", { method })), "refuse");
});

test("consequence() of a refused connection is one fresh probe, then to decide anew", () => {
  assert.equal(consequence(failed("safe")), "probe-again");
  assert.equal(consequence(failed("safe", { method: "POST" })), "probe-again", "no byte has left");
  assert.equal(consequence(failed("safe", { probedAgain: true })), "decide-anew");
});

test("consequence() of an unreachable region is to decide anew", () => {
  assert.equal(consequence(failed("safe", { probed: false })), "decide-anew");
  assert.equal(consequence(failed("never", { probed: false })), "refuse");
});

test("consequence() of a fall-back that refuses is to decide anew, without a probe", () => {
  assert.equal(consequence(failed("safe", { fallBack: true })), "decide-anew");
  assert.equal(consequence(failed("never", { fallBack: true })), "refuse", "some of the request has left");
  assert.equal(consequence(failed("if-reused", { fallBack: true })), "new-connection");
});

test("consequence() of everything else is the code's answer", () => {
  assert.equal(consequence(failed("never")), "refuse");
});

test("speaksOfHealth() means refused and broken connections, not slow or odd answers", () => {
  const speaks = (code: ConstructorParameters<typeof ProxyError>[0], retry: RetryRight): boolean => {
    return speaksOfHealth(new ProxyError(code, "x", retry));
  };
  assert.equal(speaks("connect_failed", "safe"), true);
  assert.equal(speaks("connect_timeout", "safe"), true);
  assert.equal(speaks("upstream_reset", "never"), true);
  assert.equal(speaks("upstream_reset", "if-reused"), false, "servers close idle connections");
  assert.equal(speaks("response_timeout", "never"), false);
  assert.equal(speaks("upstream_protocol", "never"), false);
});
