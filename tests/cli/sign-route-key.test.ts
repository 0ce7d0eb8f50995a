/** `edgeproxy sign-route-key`. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { runSignRouteKey } from "../../src/cli/sign-route-key.ts";
import { previewHost, routeKeyOf } from "../../src/decision/route-key.ts";
import { DEFAULT_SANDBOX } from "../../src/table/policy.ts";
import { capture } from "../fixtures/captured-output.ts";
import { requestView } from "../fixtures/requests-under-policies.ts";

const SECRET = "a-secret-of-some-length";
const ENV = { EDGEPROXY_SECRET: SECRET };
const STRANGER = { all: false, key: null };

test("sign-route-key prints what an edge with the same secret believes", async () => {
  const header = await capture(() => runSignRouteKey(["sandbox-123"], ENV));
  assert.deepEqual([header.exitCode, header.err], [0, ""]);
  const view = requestView("a.test", { fields: { "X-Route-Key": header.out.trim() } });
  assert.equal(routeKeyOf(view, DEFAULT_SANDBOX, SECRET, STRANGER), "sandbox-123");
  const host = await capture(() => runSignRouteKey(["sandbox-123", "--host", "App.Example.com."], ENV));
  const preview = previewHost(requestView(host.out.trim()), DEFAULT_SANDBOX, SECRET, STRANGER);
  assert.deepEqual(preview, { host: "app.example.com", key: "sandbox-123" });
});

test("sign-route-key says what is wrong", async () => {
  const cases: readonly [argv: string[], env: Record<string, string>, err: RegExp][] = [
    [[], ENV, /give one key/],
    [["a", "b"], ENV, /give one key/],
    [["no spaces"], ENV, /give one key/],
    [["a", "--what"], ENV, /what/],
    [["a"], {}, /EDGEPROXY_SECRET: is not set/],
    [["A", "--host", "app.example.com"], ENV, /make no host name/],
    [["a", "--host", "*.example.com"], ENV, /make no host name/],
  ];
  for (const [argv, env, err] of cases) {
    const said = await capture(() => runSignRouteKey(argv, env));
    assert.equal(said.exitCode, 2, argv.join(" "));
    assert.match(said.err, err);
    assert.equal(said.out, "");
  }
});
