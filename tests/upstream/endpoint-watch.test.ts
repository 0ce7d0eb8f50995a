import assert from "node:assert/strict";
import { test } from "node:test";
import { endpointsFault, EndpointWatch, type Guard, type Hindrance, speaksOfTrouble } from "../../src/upstream/endpoint-watch.ts";
import { Endpoints, EndpointState } from "../../src/upstream/endpoint-state.ts";
import { vm } from "../fixtures/records.ts";
import { serviceVm } from "../fixtures/services.ts";

const SILENT = { wanted() {}, failed() {} };

/** A guard that writes down what it is told. */
function guard(name: string, told: string[], found: Hindrance | null = null, lets = true): Guard {
  return {
    look: () => found,
    enter() {
      told.push(`${name} ${lets ? "lets in" : "shuts out"}`);
      if (!lets) return null;
      return {
        answered: (status) => void told.push(`${name} ${status}`),
        ended: (failure) => void told.push(`${name} ended ${failure}`),
      };
    },
  };
}

test("a watch finds the worst of what its guards find", () => {
  const watch = (...found: (Hindrance | null)[]) => new EndpointWatch(found.map((each) => guard("g", [], each))).look();
  assert.equal(watch(null, null), null);
  assert.equal(watch("busy", null), "busy");
  assert.equal(watch("busy", "full", "open"), "open");
  assert.equal(watch("open", "ejected"), "ejected");
});

test("a request is let in by all guards or by none, and each is told how it ends", () => {
  const told: string[] = [];
  const visit = new EndpointWatch([guard("a", told), guard("b", told)]).enter();
  visit?.answered(503);
  visit?.ended("upstream_reset");
  assert.deepEqual(told, ["a lets in", "b lets in", "a 503", "b 503", "a ended upstream_reset", "b ended upstream_reset"]);

  const shut: string[] = [];
  assert.equal(new EndpointWatch([guard("a", shut), guard("b", shut, null, false)]).enter(), null);
  assert.deepEqual(shut, ["a lets in", "b shuts out", "a ended null"], "what the first had taken is given back");
});

test("an endpoint is what its health says, and where that is good what its watch says", () => {
  const state = new EndpointState(vm("10.0.0.5"), SILENT);
  state.watch = new EndpointWatch([guard("g", [], "open")]);
  state.judge("unhealthy");
  assert.equal(state.look(0), "unhealthy");
  state.judge("healthy");
  assert.equal(state.look(0), "open");
  state.cordoned = true;
  assert.equal(state.look(0), "draining");
});

test("endpoints get their watch when they are first asked for, and anew when policies change", () => {
  const endpoints = new Endpoints(SILENT);
  const state = endpoints.of(serviceVm("10.0.0.5")), plain = endpoints.of(vm("10.0.0.5"));
  assert.equal(state.watch, null);
  const watch = new EndpointWatch([]);
  endpoints.watchOf = () => watch;
  assert.equal(endpoints.of(vm("10.0.0.6")).watch, watch);
  endpoints.watchAnew();
  assert.deepEqual([state.watch, plain.watch], [watch, null], "one under no policy is not looked at");
  assert.deepEqual(endpoints.policed(), [state.record.key]);
  endpoints.forget([state.record.key]);
  assert.deepEqual(endpoints.policed(), []);
});

test("trouble is an endpoint's 5xx but what it has not built, and failures that are its own", () => {
  assert.deepEqual([499, 500, 501, 503, 505, 599].filter(speaksOfTrouble), [500, 503, 599]);
  assert.deepEqual((["connect_failed", "response_timeout", "overloaded", "body_too_large"] as const).filter(endpointsFault), [
    "connect_failed",
    "response_timeout",
  ]);
});
