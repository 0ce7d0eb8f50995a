/** What workers say of their policies, as if they were one. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { policedNow, type Trouble } from "../../src/observation/policed-figures.ts";

const trouble = (name: string, kind: Trouble["kind"]): Trouble => ({ name, service: "users", kind });

test("policedNow() tells each trouble once, at its worst, and adds up who waits", () => {
  const { troubles, queues } = policedNow([
    { troubles: [trouble("a", "breaker_half_open"), trouble("a", "trial")], queues: [{ service: "users", waiting: 2, places: 9 }] },
    null,
    { troubles: [trouble("a", "breaker_open"), trouble("b", "ejected")], queues: [{ service: "users", waiting: 3, places: 9 }] },
  ]);
  assert.deepEqual(troubles, [trouble("a", "breaker_open"), trouble("a", "trial"), trouble("b", "ejected")]);
  assert.deepEqual(queues, [{ service: "users", waiting: 5, places: 9 }]);
  assert.deepEqual(policedNow([]), { troubles: [], queues: [] });
});
