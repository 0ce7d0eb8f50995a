/** Which exchanges are recorded. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { SAMPLERS, spanCount, Tracing } from "../../src/observation/tracing.ts";

const LOW = `${"f".repeat(16)}00000000ffffffff`, HIGH = `${"0".repeat(16)}f000000000000000`;

test("Tracing samples as the samplers of OpenTelemetry do", () => {
  const cases: readonly (readonly [string, number | null])[] = [[LOW, null], [HIGH, null], [LOW, 0], [LOW, 1], [HIGH, 0], [
    HIGH,
    3,
  ]];
  const answers = SAMPLERS.map((name) => {
    const tracing = new Tracing(name, 0.5, true);
    return [name, cases.map(([traceId, flags]) => tracing.samples(traceId, flags) ? "yes" : "no").join(" ")];
  });
  assert.deepEqual(Object.fromEntries(answers), {
    "always_on": "yes yes yes yes yes yes",
    "always_off": "no no no no no no",
    "traceidratio": "yes no yes yes no no",
    "parentbased_always_on": "yes yes no yes no yes",
    "parentbased_always_off": "no no no yes no yes",
    "parentbased_traceidratio": "yes no no yes no yes",
  });
});

test("Tracing takes the share that it is told", () => {
  const sampled = (ratio: number, traceId: string): boolean => new Tracing("traceidratio", ratio, true).samples(traceId, null);
  const at = (digits: string): string => `${"0".repeat(16)}${digits.padEnd(16, "0")}`;
  assert.deepEqual([sampled(0, at("0")), sampled(1, at("ffffffff"))], [false, true]);
  assert.deepEqual([sampled(0.25, at("3fffffff")), sampled(0.25, at("40000000"))], [true, false]);
});

test("spanCount() counts what was sent to an endpoint, too", () => {
  assert.deepEqual([spanCount({ upstream: "" }), spanCount({ upstream: "10.0.0.5:80" })], [1, 2]);
});
