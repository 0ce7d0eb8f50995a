import assert from "node:assert/strict";
import { test } from "node:test";
import { type BreakerView, mergedBreakers } from "../../src/upstream/breaker-view.ts";

test("what workers say of one breaker is what the worst of them says", () => {
  const view = (state: BreakerView["state"], name = "users"): BreakerView => (
    { name, service: "users", state, openForMs: 0, opened: 1, failures: 0, trials: 0 }
  );
  const merged = mergedBreakers([[view("closed"), view("half-open", "b")], [view("open"), view("closed", "b")], [
    view("half-open"),
  ]]);
  assert.deepEqual([...merged.values()].map(({ name, state }) => `${name} ${state}`), ["users open", "b half-open"]);
});
