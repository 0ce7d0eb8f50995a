/** Monitoring with a real Prometheus: what it scrapes, the alert rules, and that every query of the dashboard has data. */
import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import { METRICS } from "../../src/observation/exposition.ts";
import { type Edgeproxy, temporaryFolder } from "../fixtures/edgeproxy.ts";
import { get, Platform } from "../fixtures/platform.ts";
import { startPostgres, type TestDatabase } from "../fixtures/postgres.ts";
import { hasPrometheus, Prometheus, promtool } from "../fixtures/prometheus.ts";
import { getRequest, openRaw } from "../fixtures/raw-client.ts";
import { endpointsOf } from "../fixtures/routed-edge.ts";
import { metric } from "../fixtures/served-vms.ts";
import { respond, startVm, type Vm } from "../fixtures/vm.ts";

const TOKEN = "correct-horse-battery-staple";
/** Of what this edge does not use: the change feed, a state folder, traces. */
const ABSENT = [
  "edgeproxy_last_comparison_timestamp_seconds",
  "edgeproxy_state_last_write_timestamp_seconds",
  "edgeproxy_spans_total",
];
const POLICED = ["again", "breaking", "ejecting", "weary", "limited", "split"].map((name) => `${name}.test`);
const installed = await hasPrometheus();
const options = installed ? {} : { skip: "prometheus or promtool is missing" };

let server: TestDatabase;
let platform: Platform;
let file: string;
let written: Awaited<ReturnType<typeof policies>>;
let edge: Edgeproxy;
const stack = new AsyncDisposableStack();
const traffic = new AbortController();
let running: Promise<void> = Promise.resolve();

before(async () => {
  if (!installed) return;
  server = await startPostgres();
  platform = await Platform.start(server);
  await platform.vm("app.example.com", { script: respond(200, "hello") });
  await platform.vm("*.wild.example.com", { script: respond(200, "wild") });
  await platform.vm("sick.example.com", { healthStatus: 500 });
  await platform.vm("excluded.example.com");
  await platform.database.sql("create table route_policies (domain text primary key, policy jsonb not null)");
  await platform.database.sql(`insert into route_policies values
    ('app.example.com', '{"headers": {"preset": "security"}}'), ('excluded.example.com', '{"rewrit": {}}')`);
  file = join(stack.use(await temporaryFolder()).path, "routes.yaml");
  await writeFile(file, JSON.stringify(written = await policies()));
  edge = await platform.edge({
    EDGEPROXY_ADMIN_TOKEN: TOKEN,
    EDGEPROXY_WORKERS: "2",
    EDGEPROXY_UPDATE_INTERVAL: "1s",
    EDGEPROXY_CONFIG_FILE: file,
  });
  for (const order of ["routes/split/drain", "routes/limited-too/maintenance"]) {
    const answer = await edge.admin(`/api/policies/${order}`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ reason: "to be told of" }),
    });
    assert.equal(answer.status, 200, await answer.text());
  }
  // One has the place, and the others wait; two of them leave, at least one of which has waited
  const clients = await Promise.all(Array.from({ length: 4 }, async () => stack.use(await openRaw(edge.port, edge.host))));
  for (const client of clients) client.send(getRequest("narrow.test"));
  await edge.waitFor(async () => await metric(edge, "edgeproxy_exchanges_queued") === 3);
  for (const client of clients.slice(2)) client.reset();
  running = aLittleTraffic();
});

after(async () => {
  traffic.abort();
  await running;
  await stack.disposeAsync();
  await platform?.[Symbol.asyncDispose]();
  await server?.[Symbol.asyncDispose]();
});

/** Services and routes, each of which makes a metric of policies say something; the host `NAME.test` leads to each. */
async function policies(): Promise<{ services: Record<string, unknown>; routes: unknown[] }> {
  const vm = async (status: number): Promise<Vm> => stack.use(await startVm({ script: respond(status, "as ever") }));
  const [good, bad] = [await vm(200), await vm(503)];
  const silent = stack.use(await startVm({ script: () => {} }));
  const usual = { health: { type: "none" }, balance: "round-robin" };
  const services = {
    again: { ...usual, endpoints: endpointsOf(good, bad), retry: { attempts: 2, on: [503] } },
    breaking: { ...usual, endpoints: endpointsOf(bad), breaker: { failures: 1, openFor: "1s" } },
    ejecting: { ...usual, endpoints: endpointsOf(good, bad), ejection: { errors: 1, time: "100ms" } },
    narrow: { ...usual, endpoints: endpointsOf(silent), limits: { hard: 1, queue: 3, queueTimeout: "10m" } },
    named: { ...usual, endpoints: [{ url: `http://localhost:${good.port}` }, { url: "http://nobody.invalid" }] },
    spare: { ...usual, endpoints: [{ url: "http://127.0.0.1:9", weight: 0 }] },
    weary: { ...usual, endpoints: endpointsOf(bad), retry: { attempts: 2, on: [503] } },
  };
  const led = Object.keys(services).map((service) => ({ hosts: [`${service}.test`], service }));
  const limited = { hosts: ["limited.test"], respond: {}, rateLimit: { requests: 1, window: "1h" } };
  const split = { id: "split", hosts: ["split.test"], split: [{ service: "again" }, { service: "named" }] };
  const hidden = { hosts: ["app.example.com"], service: "again" };
  return { services, routes: [limited, { ...limited, id: "limited-too", path: "/too" }, split, hidden, ...led] };
}

async function aLittleTraffic(): Promise<void> {
  for (let i = 0; !traffic.signal.aborted; i++) {
    for (
      const host of ["app.example.com", `x${i}.wild.example.com`, "sick.example.com", `no${i}.example.org`, ...POLICED]
    ) await get(edge, host);
    await using impatient = await openRaw(edge.port, edge.host);
    impatient.send(getRequest("narrow.test"));
    await wait(10);
    impatient.reset();
    await wait(50);
  }
}

test("promtool finds nothing to complain of in rules and their tests", options, async () => {
  for (const words of [["check", "rules", "edgeproxy.rules.yaml"], ["test", "rules", "edgeproxy.rules.test.yaml"]]) {
    const { code, output } = await promtool(words);
    assert.equal(code, 0, output);
  }
});

test(
  "promtool finds nothing to complain of in the metrics",
  options,
  async () => {
    const exposition = await (await edge.admin("/metrics")).text();
    const { output } = await promtool(["check", "metrics"], exposition);
    assert.equal(output, "");
  },
);

test("a Prometheus reads everything, and every query of dashboard and rules has data", options, async () => {
  await using prometheus = await Prometheus.start(edge.adminPort, TOKEN);
  const checked = await promtool(["check", "config", prometheus.configuration]);
  assert.equal(checked.code, 0, checked.output);
  await prometheus.waitFor('count_over_time(up{job="edgeproxy"}[1m]) > 4');
  await prometheus.waitFor("up == 1");
  assert.equal((await prometheus.query("up")).length, 1);

  let names = new Set<string>();
  let absent: readonly string[] = [];
  await edge.waitFor(async () => {
    const series = await prometheus.query("count by (__name__) (last_over_time({job='edgeproxy'}[1m]))");
    names = new Set(series.map(({ metric }) => metric["__name__"]!));
    const known = new Set([...names].map((name) => name.replace(/_(bucket|sum|count)$/, "")));
    absent = METRICS.map(({ name }) => name).filter((name) => !known.has(name));
    return absent.length <= ABSENT.length; // some come with the first traffic of their kind
  }).catch(() => {});
  assert.deepEqual(absent, ABSENT);

  await edge.admin("/api/refresh", { method: "POST" });
  await writeFile(file, JSON.stringify({ ...written, routes: [...written.routes, { hosts: ["more.test"], respond: {} }] }));
  await prometheus.waitFor('edgeproxy_config_file_reloads_total{result="changed"} > 0');
  await writeFile(file, "routes: nonsense");
  for (const { row, expression } of await dashboardQueries()) {
    await prometheus.waitFor(expression); // a scrape may have been late
    // What policies did is there to be seen, not only that it may be
    if (row === "Routes and services") await prometheus.waitFor(`${expression} > 0`);
  }
  const rules = await prometheus.rules();
  assert.ok(rules.length > 10);
  for (const { name, query, health, lastError } of rules) {
    assert.equal(health, "ok", `${name}: ${lastError}`);
    for (const [metric] of query.matchAll(/\b(edgeproxy_\w+)/g)) assert.ok(names.has(metric), `${name}: ${metric}`);
  }
});

interface Query {
  /** Of panels. */
  readonly row: string;
  readonly expression: string;
}

/** As Grafana would send them. */
async function dashboardQueries(): Promise<readonly Query[]> {
  const text = await readFile(new URL("../../packaging/grafana/edgeproxy.json", import.meta.url), "utf8");
  const { panels } = JSON.parse(text) as { panels: { type: string; title: string; targets?: { expr: string }[] }[] };
  const queries: Query[] = [];
  let row = "";
  for (const { type, title, targets = [] } of panels) {
    if (type === "row") row = title;
    for (const { expr } of targets) {
      const expression = expr.replaceAll("$__rate_interval", "30s").replaceAll("$job", "edgeproxy").replaceAll("$instance", ".*");
      queries.push({ row, expression });
    }
  }
  assert.ok(queries.filter((query) => query.row === "Routes and services").length > 20);
  assert.ok(queries.length > 40);
  return queries;
}
