import { test } from "node:test";
import assert from "node:assert/strict";
import { ADMIN_PATHS } from "../../src/admin/app.ts";
import { adminOf, POLICIES } from "../fixtures/admin.ts";

/** A request for each path that it answers well; `adminOf` compares the answer with the path's schema. */
const EXAMPLES: Readonly<Record<string, readonly [path: string, init?: RequestInit]>> = {
  "GET /healthz": ["/healthz"],
  "GET /readyz": ["/readyz"],
  "GET /metrics": ["/metrics"],
  "GET /api/openapi.json": ["/api/openapi.json"],
  "GET /api/overview": ["/api/overview"],
  "GET /api/traffic": ["/api/traffic?minutes=5"],
  "GET /api/hosts": ["/api/hosts?sort=-errors&q=example"],
  "GET /api/routes": ["/api/routes?limit=1&q=example"],
  "GET /api/routes/:host": ["/api/routes/shop.example.com"],
  "GET /api/excluded": ["/api/excluded?code=conflict"],
  "GET /api/policies": ["/api/policies"],
  "GET /api/policies/routes": ["/api/policies/routes?q=x"],
  "GET /api/policies/traffic": ["/api/policies/traffic?sort=-waits"],
  "GET /api/policies/services": ["/api/policies/services?limit=1"],
  "GET /api/policies/orders": ["/api/policies/orders"],
  "GET /api/services": ["/api/services?q=users"],
  "GET /api/services/:name": ["/api/services/users"],
  "POST /api/services/:name/maintenance": ["/api/services/users/maintenance", { method: "POST", body: '{"body":"back soon"}' }],
  "DELETE /api/services/:name/maintenance": ["/api/services/users/maintenance", { method: "DELETE" }],
  "POST /api/services/:name/drain": ["/api/services/users/drain", { method: "POST", body: '{"over":"10m","expires":"2h"}' }],
  "DELETE /api/services/:name/drain": ["/api/services/users/drain", { method: "DELETE" }],
  "POST /api/policies/routes/:name/maintenance": ["/api/policies/routes/users-api/maintenance", { method: "POST" }],
  "DELETE /api/policies/routes/:name/maintenance": ["/api/policies/routes/users-api/maintenance", { method: "DELETE" }],
  "POST /api/policies/routes/:name/drain": ["/api/policies/routes/users-api/drain", { method: "POST" }],
  "DELETE /api/policies/routes/:name/drain": ["/api/policies/routes/users-api/drain", { method: "DELETE" }],
  "POST /api/explain": ["/api/explain", { method: "POST", body: '{"url":"http://a.test/x"}' }],
  "GET /api/regions": ["/api/regions"],
  "POST /api/refresh": ["/api/refresh", { method: "POST" }],
  "GET /api/revisions": ["/api/revisions?limit=2"],
  "GET /api/revisions/:revision": ["/api/revisions/3?limit=1"],
  "POST /api/revisions/:revision/pin": ["/api/revisions/2/pin", { method: "POST", body: '{"expires":"30m"}' }],
  "DELETE /api/revisions/pin": ["/api/revisions/pin", { method: "DELETE" }],
  "GET /api/events": ["/api/events?types=table,error"],
  "GET /api/errors": ["/api/errors?blame=vm&sort=host"],
  "GET /api/audit": ["/api/audit?action=refresh"],
  "GET /api/health": ["/api/health"],
  "GET /api/endpoints": ["/api/endpoints?limit=1"],
  "GET /api/endpoints/:key": ["/api/endpoints/vm%2F10.0.0.5:8080"],
  "POST /api/endpoints/:key/cordon": ["/api/endpoints/vm%2F10.0.0.5:8080/cordon", { method: "POST", body: '{"expires":"30m"}' }],
  "DELETE /api/endpoints/:key/cordon": ["/api/endpoints/vm%2F10.0.0.5:8080/cordon", { method: "DELETE" }],
  "GET /api/connections": ["/api/connections?sort=-requests"],
  "GET /api/cordons": ["/api/cordons"],
  "GET /api/breakers": ["/api/breakers?state=open"],
  "POST /api/breakers/:name/reset": ["/api/breakers/vm%2F10.0.0.5:8080@users/reset", { method: "POST" }],
  "GET /api/workers": ["/api/workers"],
  "GET /api/drain": ["/api/drain"],
  "POST /api/drain": ["/api/drain", { method: "POST", body: '{"reason":"upgrade"}' }],
  "GET /api/settings": ["/api/settings"],
  "GET /api/log-level": ["/api/log-level"],
  "PUT /api/log-level": ["/api/log-level", { method: "PUT", body: '{"level":"debug","expires":"10m"}' }],
  "DELETE /api/log-level": ["/api/log-level", { method: "DELETE" }],
};

test("every path has an example that it answers as it says", async () => {
  assert.deepEqual(Object.keys(EXAMPLES).sort(), ADMIN_PATHS.map(({ method, path }) => `${method} ${path}`).sort());
  for (const [name, [path, init]] of Object.entries(EXAMPLES)) {
    const response = await adminOf({ policies: () => POLICIES }).ask(path, init);
    await response.body?.cancel();
    assert.ok(response.ok, `${name}: ${response.status}`);
  }
});

test("GET /api/openapi.json describes every path, method, parameter and answer", async () => {
  const { body } = await adminOf().json("/api/openapi.json");
  assert.deepEqual([body.openapi, body.info.version], ["3.1.0", "1.2.3"]);
  const operations = Object.entries(body.paths as Record<string, Record<string, Operation>>).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ path, method, operation }))
  );
  assert.deepEqual(
    operations.map(({ path, method }) => `${method.toUpperCase()} ${path}`).sort(),
    ADMIN_PATHS.map(({ path, method }) => `${method} ${path.replaceAll(/:(\w+)/g, "{$1}")}`).sort(),
  );
  const ids = operations.map(({ operation }) => operation.operationId);
  assert.equal(new Set(ids).size, ids.length, "operation ids are unique");
  for (const { path, operation } of operations) {
    const inPath = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name);
    const described = operation.parameters.filter((parameter) => parameter.in === "path");
    assert.deepEqual(described.map(({ name }) => name), inPath, path);
    assert.ok(described.every(({ required }) => required), path);
    for (const parameter of operation.parameters) {
      assert.ok(parameter.schema.type ?? parameter.schema.enum, `${path} ${parameter.name}`);
    }
    for (const [status, { description, content }] of Object.entries(operation.responses)) {
      assert.match(status, /^[2-5]\d\d$/);
      assert.ok(description.length > 0 && Object.keys(content).length === 1, `${path} ${status}`);
    }
    assert.equal("401" in operation.responses, operation.security === undefined, path);
    assert.ok(operation.tags.length === 1 && /^[A-Z].*[^.]$/.test(operation.summary), path);
  }
  for (const reference of JSON.stringify(body).matchAll(/"\$ref":"([^"]*)"/g)) {
    assert.ok(reference[1]!.slice(2).split("/").reduce((at, name) => at?.[name], body) !== undefined, reference[1]);
  }
});

interface Operation {
  readonly operationId: string;
  readonly summary: string;
  readonly tags: readonly string[];
  readonly security?: readonly unknown[];
  readonly parameters: readonly {
    readonly name: string;
    readonly in: string;
    readonly required: boolean;
    readonly schema: Readonly<Record<string, unknown>>;
  }[];
  readonly responses: Readonly<Record<string, { readonly description: string; readonly content: object }>>;
}
