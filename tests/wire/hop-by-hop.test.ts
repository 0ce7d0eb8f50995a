/** Fields for one connection, and what `Connection` may not name. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { isNominated } from "../../src/wire/hop-by-hop.ts";
import { fieldList } from "../fixtures/heads.ts";

test("isNominated() drops what Connection names, whatever its spelling", () => {
  const fields = fieldList("X-Secret: 1", "Accept: x", "Cookie: y");
  assert.deepEqual([0, 1, 2].map((index) => isNominated(fields, index, ["x-secret", "accept"])), [true, true, false]);
});

test("isNominated() protects framing, routing and forwarding fields", () => {
  const names = [
    "Host",
    "Content-Length",
    "Transfer-Encoding",
    "Expect",
    "Via",
    "Forwarded",
    "X-Forwarded-For",
    "X-Forwarded-Proto",
    "X-Forwarded-Host",
    "X-Forwarded-Port",
    "X-Real-IP",
    "X-Request-Id",
    "traceparent",
  ];
  const fields = fieldList(...names.map((name) => `${name}: 1`));
  for (const [index, name] of names.entries()) assert.equal(isNominated(fields, index, [name.toLowerCase()]), false, name);
});
