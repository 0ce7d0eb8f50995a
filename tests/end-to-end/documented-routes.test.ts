/** Every example of docs/routes.md does what it says: each block of YAML becomes the routes file of a running edge, and what follows is typed. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { once } from "node:events";
import { rename, writeFile } from "node:fs/promises";
import type { Server } from "node:http";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import { sampleVm } from "../../docs/examples/vm.mjs";
import { BINARY, type Edgeproxy, temporaryFolder } from "../fixtures/edgeproxy.ts";
import { Platform } from "../fixtures/platform.ts";
import { freePort, loopbackAddress } from "../fixtures/ports.ts";
import { startPostgres, type TestDatabase } from "../fixtures/postgres.ts";
import { readDocument } from "../rules/document-tables.ts";
import { documented, missing, type Names } from "../fixtures/replayed-document.ts";

const VMS = [["blue", "127.0.0.5:8080"], ["green", "127.0.0.6:8080"], ["red", "127.0.0.7:8080"], [
  "gold",
  "127.0.0.8:8080",
]] as const;

let server: TestDatabase;
if (missing.length === 0) {
  before(async () => server = await startPostgres());
  after(() => server[Symbol.asyncDispose]());
}

documented("docs/routes.md", async (replay) => {
  await using folder = await temporaryFolder();
  await using platform = await Platform.start(server);
  await using vms = new AsyncDisposableStack();
  const names = await Promise.all(VMS.map(async ([name, address]) => [address, await listen(name, vms)] as const));
  const file = join(folder.path, "edgeproxy.yaml");
  await writeFile(file, "routes: []\n");
  const adminPort = await freePort();
  await promisify(execFile)(BINARY, ["migrate"], { env: { EDGEPROXY_DATABASE_URL: platform.database.url } });
  const edge = await platform.edge({ EDGEPROXY_CONFIG_FILE: file, EDGEPROXY_SECRET: SECRET }, { adminPort });
  const { host } = new URL(`http://${names[0]![1]}`);
  const [address = "", port = ""] = host.split(":");
  await platform.route("app.example.com", { address, port: Number(port) });
  await edge.refresh();
  await replay({
    folder: folder.path,
    env: {
      EDGEPROXY_DATABASE_URL: platform.database.url,
      EDGEPROXY_REGION_ID: platform.region.id,
      EDGEPROXY_SECRET: SECRET,
      EDGEPROXY_ADMIN_ADDR: `127.0.0.1:${adminPort}`,
    },
    names: [...names, ["127.0.0.1:8080", `${edge.host}:${edge.port}`], [
      "127.0.0.1:9090",
      `127.0.0.1:${adminPort}`,
    ]] satisfies Names,
    actions: {},
    yaml: (text) => putInForce(edge, file, text),
  });
});

const SECRET = "a-secret-of-32-characters-or-more";

/** Address and port of a sample VM. */
async function listen(name: string, vms: AsyncDisposableStack): Promise<string> {
  const vm: Server = sampleVm(name);
  const [host, port] = [loopbackAddress(), await freePort()];
  vm.listen(port, host);
  await once(vm, "listening");
  vms.defer(() => {
    vm.closeAllConnections();
    return new Promise<void>((resolve) => vm.close(() => resolve()));
  });
  return `${host}:${port}`;
}

/** As an editor saves it: beside, and then in its place. */
async function putInForce(edge: Edgeproxy, file: string, text: string): Promise<void> {
  await writeFile(`${file}.part`, text);
  await rename(`${file}.part`, file);
  await edge.refresh();
  const { file: { problems } } = await (await edge.admin("/api/policies")).json() as { file: { problems: readonly string[] } };
  assert.deepEqual(problems, [], text);
}

test("the examples of README.md and of the package are right", async () => {
  await using folder = await temporaryFolder();
  const [written = ""] = /(?<=```yaml\n)[\s\S]*?(?=```)/.exec(await readDocument("README.md")) ?? [];
  const examples = { "readme.yaml": written, "package.yaml": await readDocument("packaging/routes.yaml.example") };
  for (const [name, text] of Object.entries(examples)) {
    const file = join(folder.path, name);
    await writeFile(file, text);
    const { stdout } = await promisify(execFile)(BINARY, ["check", "--config", file], { env: {} });
    assert.match(stdout, /^ok {4}routes file/, name);
    assert.doesNotMatch(stdout, /^(warn|fail)/im, name);
  }
});
