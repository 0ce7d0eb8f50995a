/** Policies as the page of a service writes them: with the keys and units of the routes file. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { policyWords } from "../../src/dashboard/policy-words.ts";
import { parseRoutesFile } from "../../src/sources/routes-file.ts";
import type { ServicePolicy } from "../../src/table/policy.ts";
import { HERE } from "../fixtures/records.ts";

function policyOf(text: string): ServicePolicy {
  const whole = `services: { users: { endpoints: [{ url: "http://10.0.0.5:8080" }], ${text} } }`;
  const read = parseRoutesFile(whole, { file: "routes.yaml", regionId: HERE, readFile: () => "" });
  assert.ok("policies" in read, JSON.stringify(read));
  return read.policies.services[0]!.policy;
}

test("policyWords() says of a policy what the file says, with the file's keys and units", () => {
  const policy = policyOf(`
    balance: consistent-hash, hashKey: header:X-User,
    sticky: { cookie: cart, ttl: 90m },
    health: { path: /ready, status: "200-299,304", headers: { Host: users.test }, interval: 1500ms, timeout: 2s },
    retry: { attempts: 3, on: [connect, 503], maxBodySize: 64KiB },
    timeouts: { response: 10s },
    drain: { start: 2027-01-31T18:00:00Z, over: 10m }`);
  const words = new Map(policyWords({ ...policy }));
  assert.deepEqual([...words.keys()], ["balance", "hashKey", "sticky", "health", "retry", "timeouts", "drain"]);
  assert.deepEqual(words.get("hashKey"), ["header:x-user"]);
  assert.deepEqual(words.get("sticky"), ["cookie cart", "ttl 90m"]);
  const health = words.get("health")!;
  for (
    const each of [
      "path /ready",
      "status 200-299, 304",
      "headers Host: users.test",
      "interval 1500ms",
      "timeout 2s",
      "slowStart 0s",
    ]
  ) {
    assert.ok(health.includes(each), `${each}: ${health.join("; ")}`);
  }
  assert.deepEqual(words.get("retry"), [
    "attempts 3",
    "on connect, 503",
    "budget 0.2",
    "backoff 25ms",
    "maxBodySize 64KiB",
    "total 0s",
  ]);
  assert.deepEqual(words.get("timeouts"), ["response 10s"]);
  assert.deepEqual(words.get("drain"), ["start 2027-01-31T18:00:00.000Z", "over 10m"]);
});

test("policyWords() leaves out what is not said, and the text of certificates", () => {
  const words = policyWords({ ...policyOf(""), tls: { verify: true, serverName: null, ca: "-----BEGIN CERTIFICATE-----" } });
  assert.deepEqual(words, [["balance", ["p2c"]], ["tls", ["verify true", "caFile given"]]]);
});
