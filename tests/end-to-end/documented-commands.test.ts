/** Every command that the documents show as typed prints what they say. With `RECORD=1` it writes what was printed where that differs. */
import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before } from "node:test";
import { Collector } from "../fixtures/collector.ts";
import { temporaryFolder } from "../fixtures/edgeproxy.ts";
import { fieldValue } from "../fixtures/http1.ts";
import { get, Platform } from "../fixtures/platform.ts";
import { freePort, loopbackAddress } from "../fixtures/ports.ts";
import { startPostgres, type TestDatabase } from "../fixtures/postgres.ts";
import { documented, hidden, missing } from "../fixtures/replayed-document.ts";
import { respond, startVm } from "../fixtures/vm.ts";

/** What is in use is remembered for four intervals, also on a machine that is slow. */
const PATIENT = { EDGEPROXY_HEALTH_INTERVAL: "30s" };

let server: TestDatabase;
if (missing.length === 0) {
  before(async () => server = await startPostgres());
  after(() => server[Symbol.asyncDispose]());
}

documented("docs/getting-started.md", async (replay) => {
  await using platform = await Platform.start(server);
  await using vm = await startVm({ host: loopbackAddress(), script: respond(200, "Hello from the VM\n") });
  await using folder = await temporaryFolder();
  const settings = join(folder.path, "edgeproxy.env");
  const user = new URL(platform.database.url);
  user.username = "edgeproxy";
  user.password = "secret";
  const adminPort = await freePort();
  await using edges = new AsyncDisposableStack();
  await replay({
    private: settings,
    names: [
      ["postgres://owner:secret@db.internal:5432/platform", platform.database.url],
      ["postgres://edgeproxy:secret@db.internal:5432/platform", user.href],
      ["db.internal:5432", user.host],
      ["database platform", `database ${user.pathname.slice(1)}`],
      ["6f1e9f0e-3c3c-4d68-9a51-6a6a8c5d2b11", platform.region.id],
      ["203.0.113.10", platform.region.address],
      ["10.0.0.5', 8080", `${vm.host}', ${vm.port}`],
      ["10.0.0.5:8080", `${vm.host}:${vm.port}`],
      ["/etc/edgeproxy/edgeproxy.env", settings],
      ["127.0.0.1:9090", `127.0.0.1:${adminPort}`],
      ["http://127.0.0.1/", `http://${platform.region.address}:${platform.edgePort}/`],
    ],
    actions: {
      "settings are edited": () =>
        writeFile(
          settings,
          `# as in the document\nEDGEPROXY_HTTP_ADDR=${platform.region.address}:${platform.edgePort}\n` +
            `EDGEPROXY_DATABASE_URL=${user.href}\nEDGEPROXY_REGION_ID=${platform.region.id}\nEDGEPROXY_ADMIN_ADDR=127.0.0.1:${adminPort}\n`,
        ),
      "systemd starts it": async () => {
        edges.use(await platform.edge({}, { adminPort, database: user.href }));
      },
    },
  });
});

documented("docs/admin-api.md", async (replay) => {
  await using platform = await Platform.start(server);
  const vm = await platform.vm("app.example.com", { script: respond(200, "Hello from the VM\n") });
  await platform.vm("broken.example.com", { healthStatus: 500 });
  await platform.vm("*.preview.example.com");
  await using folder = await temporaryFolder();
  const adminPort = await freePort();
  const token = "correct-horse-battery-staple";
  const edge = await platform.edge({ ...PATIENT, EDGEPROXY_ADMIN_TOKEN: token, EDGEPROXY_WORKERS: "2" }, { adminPort });
  const socket = join(folder.path, "admin.sock");
  const path = { EDGEPROXY_ADMIN_ADDR: `unix:${socket}` };
  const beside = await platform.edge(path, { ready: false, region: await platform.addRegion() });
  await beside.waitForLog(({ msg }) => msg === "ready");
  await replay({
    names: [
      ["/run/edgeproxy/admin.sock", socket],
      ["10.0.0.5:8080", `${vm.host}:${vm.port}`],
      ["10.0.0.5", vm.host],
      ['"port":8080', `"port":${vm.port}`],
      ["6f1e9f0e-3c3c-4d68-9a51-6a6a8c5d2b11", platform.region.id],
      ["127.0.0.1:9090", `127.0.0.1:${adminPort}`],
      ["a-long-random-text", token],
    ],
    actions: {
      "requests come in": async () => {
        for (const host of ["app", "broken"]) await get(edge, `${host}.example.com`);
        await edge.waitFor(async () => {
          const { total } = await (await edge.admin("/api/errors")).json() as { total: number };
          return total === 1;
        }, "reports");
      },
    },
  });
  assert.equal(await edge.exited, 0); // the document ends with a drain
});

documented("docs/operations.md", async (replay) => {
  await using platform = await Platform.start(server);
  const vm = await platform.vm("app.example.com", { script: respond(200, "Hello from the VM\n") });
  const broken = await platform.vm("broken.example.com", { healthStatus: 500 });
  const faraway = await platform.addRegion();
  await platform.route("faraway.example.com", { address: "10.1.0.7", port: 8080, region: faraway });
  await platform.route("nowhere.example.com", { address: null, port: 8080 });
  const adminPort = await freePort();
  await using folder = await temporaryFolder();
  const settings = join(folder.path, "edgeproxy.env");
  await writeFile(
    hidden(settings),
    `EDGEPROXY_DATABASE_URL=${platform.database.url}\nEDGEPROXY_REGION_ID=${platform.region.id}\nEDGEPROXY_ADMIN_ADDR=127.0.0.1:${adminPort}\n`,
  );
  const edge = await platform.edge(PATIENT, { adminPort });
  const database = new URL(platform.database.url);
  const total = async (path: string): Promise<unknown> => (await (await edge.admin(path)).json() as { total?: unknown }).total;
  await replay({
    private: settings,
    names: [
      ["edgeproxy:***@db.internal:5432/platform", `${database.username}:***@${database.host}${database.pathname}`],
      ["db.internal:5432", database.host],
      ["203.0.113.20:80", `${faraway.address}:${platform.edgePort}`],
      ["10.0.0.5:8080", `${vm.host}:${vm.port}`],
      ["10.0.0.6:8080", `${broken.host}:${broken.port}`],
      ["10.0.0.5", vm.host],
      ["10.0.0.6", broken.host],
      ['"port":8080', `"port":${vm.port}`],
      ["/etc/edgeproxy/edgeproxy.env", settings],
      ["6f1e9f0e-3c3c-4d68-9a51-6a6a8c5d2b11", platform.region.id],
      ["127.0.0.1:9090", `127.0.0.1:${adminPort}`],
      ["http://127.0.0.1/", `http://${platform.region.address}:${platform.edgePort}/`],
    ],
    actions: {
      "requests come in": async () => {
        for (const host of ["app", "app", "app", "broken", "faraway"]) await get(edge, `${host}.example.com`);
        // Workers report errors four times a second, and counts once
        await edge.waitFor(async () => await total("/api/errors") === 3 && await total("/api/hosts") === 3, "reports");
      },
      "a moment passes": () => edge.waitFor(async () => await total("/api/errors?blame=edge") === 1, "reports"),
    },
  });
});

documented("docs/tracing.md", async (replay) => {
  await using platform = await Platform.start(server);
  await using collector = await Collector.start();
  await platform.vm("app.example.com", {
    script: (request, connection) => respond(200, `${fieldValue(request, "traceparent")}\n`)(request, connection),
  });
  const adminPort = await freePort();
  const edge = await platform.edge();
  const recording = await platform.edge({
    OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
    OTEL_TRACES_SAMPLER: "parentbased_always_on",
  }, { adminPort, region: await platform.addRegion(), port: await freePort() });
  await replay({
    names: [
      ["http://127.0.0.1/", `http://${edge.host}:${edge.port}/`],
      ["http://127.0.0.2/", `http://${recording.host}:${recording.port}/`],
      ["127.0.0.1:9090", `127.0.0.1:${adminPort}`],
    ],
    actions: {
      "spans arrive": async () => void await collector.until(2),
    },
  });
});

documented("docs/error-pages.md", async (replay) => {
  await using folder = await temporaryFolder();
  await using platform = await Platform.start(server);
  await platform.vm("broken.example.com", { healthStatus: 500 });
  await replay({
    folder: folder.path,
    env: {
      EDGEPROXY_DATABASE_URL: platform.database.url,
      EDGEPROXY_REGION_ID: platform.region.id,
      EDGEPROXY_ERROR_PAGES: "pages",
    },
    names: [["http://127.0.0.1/", `http://${platform.region.address}:${platform.edgePort}/`]],
    actions: {
      "it starts": async () => void await platform.edge({ EDGEPROXY_ERROR_PAGES: join(folder.path, "pages") }),
    },
  });
});
