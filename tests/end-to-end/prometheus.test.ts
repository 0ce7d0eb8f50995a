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
import { respond } from "../fixtures/vm.ts";

const TOKEN = "correct-horse-battery-staple";
/** Of what this edge does not use: the change feed, a state folder, traces. */
const ABSENT = [
  "edgeproxy_last_comparison_timestamp_seconds",
  "edgeproxy_state_last_write_timestamp_seconds",
  "edgeproxy_spans_total",
];
const installed = await hasPrometheus();
const options = installed ? {} : { skip: "prometheus or promtool is missing" };

let server: TestDatabase;
let platform: Platform;
let folder: AsyncDisposable;
let edge: Edgeproxy;
const traffic = new AbortController();
let running: Promise<void> = Promise.resolve();

before(async () => {
  if (!installed) return;
  server = await startPostgres();
  platform = await Platform.start(server);
  await platform.vm("app.example.com", { script: respond(200, "hello") });
  await platform.vm("*.wild.example.com", { script: respond(200, "wild") });
  await platform.vm("sick.example.com", { healthStatus: 500 });
  const file = join((folder = await temporaryFolder()).path, "routes.yaml");
  await writeFile(file, "routes: []\n");
  edge = await platform.edge({
    EDGEPROXY_ADMIN_TOKEN: TOKEN,
    EDGEPROXY_WORKERS: "2",
    EDGEPROXY_UPDATE_INTERVAL: "1s",
    EDGEPROXY_CONFIG_FILE: file,
  });
  running = aLittleTraffic();
});

after(async () => {
  traffic.abort();
  await running;
  await platform?.[Symbol.asyncDispose]();
  await server?.[Symbol.asyncDispose]();
  await folder?.[Symbol.asyncDispose]();
});

async function aLittleTraffic(): Promise<void> {
  for (let i = 0; !traffic.signal.aborted; i++) {
    for (const host of ["app.example.com", `x${i}.wild.example.com`, "sick.example.com", `no${i}.example.org`]) {
      await get(edge, host);
    }
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
  assert.deepEqual((await prometheus.query("up")).map(({ value }) => value[1]), ["1"]);

  const names = new Set(
    (await prometheus.query("count by (__name__) ({job='edgeproxy'})")).map(({ metric }) => metric["__name__"]!),
  );
  const known = new Set([...names].map((name) => name.replace(/_(bucket|sum|count)$/, "")));
  const absent = METRICS.map(({ name }) => name).filter((name) => !known.has(name));
  assert.deepEqual(absent, ABSENT);

  for (const expression of await dashboardQueries()) {
    const samples = await prometheus.query(expression);
    assert.ok(samples.length > 0, expression);
  }
  const rules = await prometheus.rules();
  assert.ok(rules.length > 10);
  for (const { name, query, health, lastError } of rules) {
    assert.equal(health, "ok", `${name}: ${lastError}`);
    for (const [metric] of query.matchAll(/\b(edgeproxy_\w+)/g)) assert.ok(names.has(metric), `${name}: ${metric}`);
  }
});

/** As Grafana would send them. */
async function dashboardQueries(): Promise<readonly string[]> {
  const text = await readFile(new URL("../../packaging/grafana/edgeproxy.json", import.meta.url), "utf8");
  const { panels } = JSON.parse(text) as { panels: { type: string; targets?: { expr: string }[] }[] };
  const expressions = panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr));
  assert.ok(expressions.length > 30);
  return expressions.map((expression) =>
    expression.replaceAll("$__rate_interval", "30s").replaceAll("$job", "edgeproxy").replaceAll("$instance", ".*")
  );
}
