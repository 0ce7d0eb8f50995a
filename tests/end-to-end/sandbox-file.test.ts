/** The sandbox router's own file, as it is: edgeproxy does with it what that router did. */
import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { type Edgeproxy, startEdgeproxy, temporaryFolder } from "../fixtures/edgeproxy.ts";
import { get } from "../fixtures/platform.ts";
import { loopbackAddress } from "../fixtures/ports.ts";
import { startVm, type Vm } from "../fixtures/vm.ts";

let stack: AsyncDisposableStack;
let edge: Edgeproxy;

/** Tells who it is, and which environment and key it was told. As many interfaces, it has nothing at `/`. */
async function startTelling(name: string): Promise<Vm> {
  return stack.use(
    await startVm({
      host: loopbackAddress(),
      healthStatus: 404,
      script: (request, connection) => {
        const told = request.fields.filter(([field]) => /^x-(environment|route-key|trace-id)$/i.test(field)).map(([, value]) =>
          value
        );
        const body = [name, ...told].join(" ");
        connection.write(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
      },
    }),
  );
}

before(async () => {
  stack = new AsyncDisposableStack();
  const folder = stack.use(await temporaryFolder());
  const [standard, first, second] = [await startTelling("default"), await startTelling("first"), await startTelling("second")];
  const file = join(folder.path, "routing.yaml");
  const url = (vm: Vm) => `"http://${vm.host}:${vm.port}"`;
  await writeFile(
    file,
    `server:
  httpPort: 8080
  grpcPort: 9090
  metricsPort: 9091
routing:
  routeKeyHeader: X-Route-Key
  defaultTarget: ${url(standard)}
  rules:
    - routeKey: sandbox-123
      targetService: ${url(first)}
      pathPrefixes: [/api/v1, /login]
      additionalHeaders: { X-Environment: sandbox }
    - routeKey: sandbox-123
      targetService: ${url(second)}
      pathPrefixes: [/api]
      headerMatchers: { Content-Type: application/json }
`,
  );
  edge = stack.use(
    await startEdgeproxy({
      database: "",
      region: "11111111-1111-4111-8111-111111111111",
      env: { EDGEPROXY_CONFIG_FILE: file, EDGEPROXY_WORKERS: "1", EDGEPROXY_TRUSTED_PROXIES: "127.0.0.0/8" },
    }),
  );
});
after(() => stack.disposeAsync());

async function answered(path: string, ...fields: string[]): Promise<string> {
  const { status, body } = await get(edge, "app.example.com", path, ...fields);
  return `${status} ${body}`;
}

const KEY = "X-Route-Key: sandbox-123";

test("a request with a key goes to the first rule that fits, with its headers; key and trace travel on", async () => {
  assert.equal(await answered("/api/v1/users", KEY, "X-Trace-ID: t1"), "200 first sandbox-123 t1 sandbox");
  assert.equal(await answered("/login", KEY), "200 first sandbox-123 sandbox");
  assert.equal(await answered("/api/v2", KEY, "Content-Type: application/json"), "200 second sandbox-123");
  // The first that fits, though the second would know the request better.
  assert.equal(await answered("/api/v1", KEY, "Content-Type: application/json"), "200 first sandbox-123 sandbox");
});

test("everything else goes to the default target", async () => {
  assert.equal(await answered("/api/v1"), "200 default");
  assert.equal(await answered("/api/v1", "X-Route-Key: other"), "200 default other");
  assert.equal(await answered("/api/v10", KEY), "200 default sandbox-123");
  assert.equal(await answered("/api/v2", KEY, "Content-Type: text/plain"), "200 default sandbox-123");
});
