/** The decision table, replayed through `explain` of the binary: with a database, a routes file and a policy in the database. */
import assert from "node:assert/strict";
import { copyFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import * as golden from "../fixtures/decision-table.ts";
import { type Edgeproxy, runEdgeproxy, temporaryFolder } from "../fixtures/edgeproxy.ts";
import { Platform } from "../fixtures/platform.ts";
import { insertRegion, startPostgres, type TestDatabase } from "../fixtures/postgres.ts";

/** Of the API's answer. */
interface Explained {
  readonly policy: string | null;
  readonly service: string | null;
  readonly candidates: readonly { readonly key: string }[];
  readonly conclusion: {
    readonly kind: string;
    readonly endpoint: string | null;
    readonly status: number | null;
    readonly code: string | null;
  };
}

let server: TestDatabase;
let platform: Platform;
let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let edge: Edgeproxy;
let environment: Readonly<Record<string, string>>;

before(async () => {
  server = await startPostgres();
  platform = await Platform.start(server);
  const { id, address } = golden.FAR_REGION;
  await insertRegion(platform.database, { id, publicIpv4: address });
  for (const [host, where] of golden.DOMAINS) {
    await platform.route(
      host,
      where === null ? { address: "127.77.9.8", port: 8080, region: { id, address } } : { address: where, port: 8080 },
    );
  }
  const { url, sql } = platform.database;
  const migrated = await runEdgeproxy(["migrate"], {
    env: { EDGEPROXY_DATABASE_URL: url, EDGEPROXY_REGION_ID: platform.region.id },
  });
  assert.equal(migrated.exitCode, 0, migrated.stderr);
  await sql(`insert into route_policies values ('own.test', '${JSON.stringify(golden.OWN_POLICY)}')`);
  folder = await temporaryFolder();
  const file = join(folder.path, "routes.yaml");
  await copyFile(golden.ROUTES_FILE, file);
  environment = { EDGEPROXY_CONFIG_FILE: file, EDGEPROXY_SECRET: golden.SECRET, EDGEPROXY_TRUSTED_PROXIES: golden.TRUSTED };
  edge = await platform.edge(environment);
});
after(async () => {
  await platform[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
  await folder[Symbol.asyncDispose]();
});

async function explained(asked: golden.AskedRequest, suppose: Record<string, string>): Promise<Explained> {
  const { method, host, target, fields, client } = asked;
  const body = JSON.stringify({ url: `http://${host}${target}`, method, headers: fields, client, suppose });
  const response = await edge.admin("/api/explain", { method: "POST", headers: { "Content-Type": "application/json" }, body });
  assert.equal(response.status, 200);
  return await response.json() as Explained;
}

/** Of VMs that nobody has probed: those that are not down are supposed to be healthy. */
async function outcomeOf(asked: golden.AskedRequest): Promise<golden.Outcome> {
  const first = await explained(asked, {});
  const verdict = (key: string) => asked.down.some((address) => key.includes(`/${address}:`)) ? "unhealthy" : "healthy";
  const suppose = Object.fromEntries(first.candidates.map(({ key }) => [key, verdict(key)]));
  const { policy, service, conclusion: { kind, endpoint, status, code } } = await explained(asked, suppose);
  const far = `region/${golden.FAR_REGION.address}:`; // its port is the platform's, elsewhere 80
  return {
    policy,
    service,
    endpoint: endpoint?.startsWith(far) ? `${far}80` : endpoint,
    reason: kind === "refuse" ? code! : kind === "respond" ? `respond ${status}` : kind,
  };
}

test("explain of the binary says what the decision table says", async () => {
  const lines = await golden.goldenLines();
  for (const { text, asked, outcome } of lines) {
    if (asked !== null) assert.equal(golden.outcomeText(await outcomeOf(asked)), outcome, text);
  }
});

test("explain without a running proxy reads the routes file, and probes what the route leads to", async () => {
  const env = { ...environment, EDGEPROXY_REGION_ID: platform.region.id, EDGEPROXY_ADMIN_ADDR: "off" };
  const { stdout, stderr } = await runEdgeproxy(["explain", "http://split.test/x", "-H", "X-User: user-5"], { env });
  assert.equal(stderr, "");
  assert.match(stdout, /routes from the routes file, probes from here/);
  assert.match(stdout, /policy split \(routes\[\d+\]\) leads to service users-v2/);
  assert.match(stdout, /probe vm\/127\.77\.1\.2:8080@users-v2: unhealthy/);
  assert.match(stdout, /=> 503 .*vm_unhealthy/);
});
