/** Host names of endpoints: asked for at once, again and again, and never lost by a resolver that fails. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { EndpointNames, namesOf } from "../../src/lifecycle/endpoint-names.ts";
import { CollectingLog } from "../fixtures/collecting-log.ts";
import { FakeTimers, settle } from "../fixtures/fake-timers.ts";
import { service } from "../fixtures/policies.ts";

type Answers = Record<string, readonly string[] | "fails" | "hangs">;

function names(answers: Answers) {
  const timers = new FakeTimers(), log = new CollectingLog();
  let changes = 0;
  const resolver = new EndpointNames({
    lookup: (name) => {
      const answer = answers[name] ?? "fails";
      if (answer === "hangs") return new Promise(() => {});
      return answer === "fails" ? Promise.reject(new Error("ENOTFOUND")) : Promise.resolve(answer);
    },
    log,
    timers,
    ownPorts: [8080],
    changed: () => changes++,
  });
  const users = service("users", ["users.internal:8080", "10.0.0.9:80"]);
  return {
    answers,
    timers,
    log,
    resolver,
    users,
    keys: () => resolver.resolved(users).endpoints?.map(({ key }) => key),
    changes: () => changes,
  };
}

test("EndpointNames makes an endpoint of each address of a name, known before it resolves", async () => {
  const { resolver, keys, users } = names({ "users.internal": ["10.0.0.6", "10.0.0.5", "10.0.0.5", "fd00::1"] });
  assert.deepEqual(namesOf([users]), new Set(["users.internal"]));
  await resolver.learn(namesOf([users]));
  assert.deepEqual(keys(), [
    "vm/10.0.0.5:8080@users",
    "vm/10.0.0.6:8080@users",
    "vm/[fd00::1]:8080@users",
    "vm/10.0.0.9:80@users",
  ]);
  const plain = service("plain", ["10.0.0.1:80"]);
  assert.equal(resolver.resolved(plain), plain);
});

test("EndpointNames lets the DNS of a domain lead it to no reserved address, now or later", async () => {
  const { resolver, answers, timers } = names({ "rebound.test": ["10.0.0.5", "127.0.0.1", "::ffff:a9fe:a9fe"] });
  const own = service("a.test/own", ["rebound.test:8080"]), file = service("own", ["rebound.test:8080"]);
  const keys = () => resolver.resolved(own).endpoints?.map(({ key }) => key);
  await resolver.learn(namesOf([own]));
  assert.deepEqual(keys(), ["vm/10.0.0.5:8080@a.test/own"]);
  answers["rebound.test"] = ["169.254.169.254"];
  await timers.advance(30_000);
  assert.deepEqual(keys(), []);
  assert.deepEqual(resolver.resolved(file).endpoints?.map(({ address }) => address), ["169.254.169.254"]);
});

test("EndpointNames asks again every 30 s, tells of other addresses, and keeps those of before when it fails", async () => {
  const { resolver, keys, users, timers, answers, changes, log } = names({ "users.internal": ["10.0.0.5"] });
  await resolver.learn(namesOf([users]));
  await timers.advance(30_000);
  assert.equal(changes(), 0);
  answers["users.internal"] = ["10.0.0.7"];
  await timers.advance(30_000);
  assert.deepEqual([changes(), keys()?.[0]], [1, "vm/10.0.0.7:8080@users"]);
  answers["users.internal"] = "fails";
  await timers.advance(60_000);
  assert.deepEqual([changes(), keys()?.[0]], [1, "vm/10.0.0.7:8080@users"]);
  assert.deepEqual(log.take(), ["warn cannot resolve the name of an endpoint"]); // once
  assert.deepEqual(resolver.list(), [{ name: "users.internal", addresses: ["10.0.0.7"], error: "ENOTFOUND" }]);
  answers["users.internal"] = ["10.0.0.7"];
  await timers.advance(30_000);
  assert.deepEqual(log.take(), ["info the name of an endpoint is resolved again"]);
});

test("EndpointNames waits two seconds for a resolver that hangs, then goes on without the name", async () => {
  const { resolver, keys, users, timers } = names({ "users.internal": "hangs" });
  let learned = false;
  void resolver.learn(namesOf([users])).then(() => learned = true);
  await timers.advance(1999);
  assert.equal(learned, false);
  await timers.advance(1);
  await settle();
  assert.equal(learned, true);
  assert.deepEqual(keys(), ["vm/10.0.0.9:80@users"]);
  assert.deepEqual(resolver.list(), [{ name: "users.internal", addresses: [], error: "not resolved yet" }]);
});

test("EndpointNames forgets names that nobody names any more", async () => {
  const { resolver, users, timers } = names({ "users.internal": ["10.0.0.5"] });
  await resolver.learn(namesOf([users]));
  await resolver.learn(new Set());
  assert.deepEqual(resolver.list(), []);
  await timers.advance(30_000);
  assert.deepEqual(timers.delays, []);
});

test("EndpointNames asks again every 30 s, also where new names come all the time", async () => {
  const { resolver, keys, timers, answers } = names({ "users.internal": ["10.0.0.5"] });
  const known = new Set(["users.internal"]);
  await resolver.learn(known);
  answers["users.internal"] = ["10.0.0.7"];
  for (let name = 0; name < 4; name++) {
    await timers.advance(10_000);
    answers[`new-${name}.internal`] = ["10.0.1.1"];
    await resolver.learn(new Set([...known.add(`new-${name}.internal`)]));
  }
  assert.equal(keys()?.[0], "vm/10.0.0.7:8080@users");
});

test("EndpointNames keeps asking, though the resolver never answers for one name", async () => {
  const { resolver, keys, timers, answers, changes } = names({ "users.internal": ["10.0.0.5"], "lost.internal": ["10.0.0.6"] });
  await resolver.learn(new Set(["users.internal", "lost.internal"]));
  answers["lost.internal"] = "hangs";
  for (const address of ["10.0.0.7", "10.0.0.8"]) {
    answers["users.internal"] = [address];
    await timers.advance(45_000);
    assert.equal(keys()?.[0], `vm/${address}:8080@users`);
  }
  assert.equal(changes(), 2);
  assert.match(resolver.list()[0]?.error ?? "", /does not answer within 10 s/);
  assert.deepEqual(resolver.list()[0]?.addresses, ["10.0.0.6"]);
});
