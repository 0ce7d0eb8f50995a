/*  Policies change at random: rows that come, go, change, are wrong, or are about hosts of others; the routes file; addresses of names; a table
 *  that cannot be read. After each change what is in force, here and in two workers, one of which is lost now and then, is what a control
 *  plane that reads it all anew puts into force.
 */
import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { PolicyEndpoints } from "../../src/lifecycle/policy-endpoints.ts";
import { PolicyPlane } from "../../src/lifecycle/policy-plane.ts";
import { PolicyReceiver } from "../../src/lifecycle/policy-receiver.ts";
import type { DownMessage } from "../../src/lifecycle/worker-channel.ts";
import { WorkerLink } from "../../src/lifecycle/worker-link.ts";
import { EventLog } from "../../src/observation/event-log.ts";
import { readConfigFile } from "../../src/sources/file-reading.ts";
import { type PolicyNews, type PolicyRow, PolicyTable } from "../../src/sources/policy-table.ts";
import { Policies } from "../../src/table/policies.ts";
import { Routes } from "../../src/table/routes.ts";
import { chance } from "../fixtures/chance.ts";
import { CollectingLog } from "../fixtures/collecting-log.ts";
import { FakeTimers } from "../fixtures/fake-timers.ts";
import { HERE } from "../fixtures/records.ts";

const ROUNDS = 70;
const HOSTS = [
  "a.test",
  "b.test",
  "c.test",
  "*.w.test",
  "x.w.test",
  "*.b.test",
  ...Array.from({ length: 150 }, (_, n) => `h${n}.test`),
];
const SPELLINGS = (host: string) => [host, host.toUpperCase(), `${host}.`];
const NAMES = ["one.internal", "two.internal"];
const AROUND = { regionId: HERE };

type Random = () => number;

function oneOf<T>(random: Random, values: readonly T[]): T {
  return values[Math.floor(random() * values.length)]!;
}

function somePolicy(random: Random): string {
  const size = 1 + Math.floor(random() * 5);
  return oneOf(random, [
    () => `{"maxBodySize": ${size}}`,
    () => `{"balance": "round-robin", "maxBodySize": ${size}}`,
    () => `{"services": {"s": {"endpoints": [{"url": "http://10.0.0.${size}"}]}}, "service": "s"}`,
    () =>
      `{"services": {"s": {"endpoints": [{"url": "http://${oneOf(random, NAMES)}"}]}}, "routes": [{"path": "/p", "service": "s"}]}`,
    () => `{"routes": [{"path": "/r${size}", "match": {"routeKey": "k"}, "service": "shared"}]}`,
    () => `{"maxBodysize": ${size}}`,
    () => "{}",
    () => "nonsense",
  ])();
}

function someFile(random: Random): string {
  const routes = Array.from({ length: Math.floor(random() * 4) }, (_, n) => ({
    id: `file-${n}`,
    hosts: [oneOf(random, HOSTS)],
    path: `/f${Math.floor(random() * 3)}-${n}`,
    service: oneOf(random, ["shared", "vms"]),
  }));
  return JSON.stringify({
    services: { shared: { endpoints: [{ url: `http://${oneOf(random, [...NAMES, "10.0.1.1"])}` }] } },
    routes,
  });
}

/** A worker's end, and the way there. */
class Worker {
  readonly table: { policies: Policies } = { policies: Policies.none };
  readonly #sent: DownMessage[] = [];
  readonly link: WorkerLink;
  /** Nothing tells of that before the next revision. */
  lostAt: number | null = null;
  #receiver: PolicyReceiver;

  constructor(plane: PolicyPlane) {
    this.link = new WorkerLink({
      send: (message) => this.#sent.push(structuredClone(message)),
      snapshot: () => ({ revision: 1, routes: Routes.none }),
      policies: () => plane.snapshot,
    });
    this.#receiver = this.#newReceiver();
    this.link.start();
  }

  #newReceiver(): PolicyReceiver {
    return new PolicyReceiver({ table: this.table, committed: () => {}, send: (message) => this.link.receive(message) });
  }

  /** Some of what is on the way arrives, or all of it. */
  deliver(most: number): void {
    for (let left = most; left > 0 && this.#sent.length > 0; left--) {
      const message = this.#sent.shift()!;
      if (message.type === "policies") this.#receiver.receive(message);
    }
  }

  /** It has lost what it had, and does not know. */
  forget(revision: number): void {
    this.lostAt = revision;
    this.table.policies = Policies.none;
    this.#receiver = this.#newReceiver();
  }
}

/** The same text for the same policies, in whatever order they are. */
function essence({ file, domains }: Policies): unknown {
  return { file, domains: [...domains].sort(([a], [b]) => a < b ? -1 : 1) };
}

class Stage {
  readonly random: Random;
  readonly rows: Map<string, string> = new Map();
  readonly timers: FakeTimers = new FakeTimers();
  readonly #addresses: Map<string, string> = new Map(NAMES.map((name, n) => [name, `10.1.0.${n}`]));
  readonly #path: string;
  table: PolicyTable = new PolicyTable(AROUND);
  plane: PolicyPlane;
  readonly endpoints: PolicyEndpoints = new PolicyEndpoints();
  readonly workers: Worker[];

  private constructor(random: Random, path: string, plane: (stage: Stage) => PolicyPlane) {
    this.random = random;
    this.#path = path;
    this.plane = plane(this);
    this.workers = [new Worker(this.plane), new Worker(this.plane)];
  }

  static async made(seed: number, folder: string): Promise<Stage> {
    const random = chance(seed), path = join(folder, "routes.json");
    await writeFile(path, someFile(random));
    const file = await first(path);
    const stage = new Stage(random, path, (stage) => stage.#newPlane(file, stage.table, (after) => stage.#changed(after)));
    await stage.plane.start();
    return stage;
  }

  /** What another control plane makes of the same rows, file and addresses. */
  async anew(): Promise<{ readonly plane: PolicyPlane; readonly table: PolicyTable }> {
    const table = new PolicyTable(AROUND);
    const plane = this.#newPlane(await first(this.#path), table, () => {});
    await plane.start();
    await table.take({ kind: "all", digest: "", rows: this.#allRows() });
    await this.#tell(plane, table);
    await plane.close();
    return { plane, table };
  }

  async changeRows(): Promise<void> {
    const { random } = this;
    const names = new Set<string>();
    for (let left = 1 + Math.floor(random() ** 4 * 200); left > 0; left--) {
      const domain = oneOf(
        random,
        random() < 0.9 ? SPELLINGS(oneOf(random, HOSTS)).slice(0, 1) : [...SPELLINGS(oneOf(random, HOSTS)), "no name"],
      );
      names.add(domain);
      if (random() < 0.3) this.rows.delete(domain);
      else this.rows.set(domain, somePolicy(random));
    }
    const some = [...names].flatMap((domain) => this.#rowOf(domain));
    const news: PolicyNews = random() < 0.7
      ? { kind: "some", names: [...names], rows: some }
      : { kind: "all", digest: "", rows: this.#allRows() };
    if (random() < 0.1) await this.table.take({ kind: "none", why: "forbidden" }); // and nothing is to change by that
    await this.table.take(news);
    await this.#tell(this.plane, this.table);
  }

  async letGo(): Promise<void> {
    this.rows.clear();
    await this.table.take({ kind: "none", why: "absent" });
    this.table.letGo();
    await this.table.take({ kind: "none", why: "absent" });
    await this.#tell(this.plane, this.table);
  }

  async changeFile(): Promise<void> {
    await writeFile(this.#path, someFile(this.random));
    await this.plane.reload("test");
  }

  async changeAddress(): Promise<void> {
    this.#addresses.set(oneOf(this.random, NAMES), `10.1.1.${Math.floor(this.random() * 100)}`);
    await this.timers.advance(31_000);
  }

  #newPlane(file: Awaited<ReturnType<typeof first>>, table: PolicyTable, changed: (after: Policies) => void): PolicyPlane {
    return new PolicyPlane({
      settings: { configFile: this.#path, databaseUrl: "", regionId: HERE, httpAddr: { host: "", port: 1 }, adminAddr: null },
      file,
      lastGood: null,
      table,
      log: new CollectingLog(),
      events: new EventLog(() => 0),
      timers: this.timers,
      lookup: (name) => Promise.resolve([this.#addresses.get(name)!]),
      changed,
      applied: () => Promise.resolve(),
    });
  }

  #changed(after: Policies): void {
    this.endpoints.take(after, 0);
    for (const { link } of this.workers ?? []) link.routesChanged();
  }

  /** As a refresher does: first what is new, then what has gone. */
  async #tell(plane: PolicyPlane, { policies, rows }: PolicyTable): Promise<void> {
    for (const whole of [false, true]) await plane.takeDomains({ policies, policyRows: rows }, whole, "test");
  }

  #rowOf(domain: string): PolicyRow[] {
    const text = this.rows.get(domain);
    return text === undefined ? [] : [{ domain, text }];
  }

  #allRows(): PolicyRow[] {
    return [...this.rows.keys()].flatMap((domain) => this.#rowOf(domain));
  }
}

async function first(path: string) {
  const good = await readConfigFile(path, { regionId: HERE });
  if ("problems" in good) throw new Error(good.problems.join("\n"));
  return { good, problems: [] };
}

test("what changes of policies makes the same as reading all of them anew, here and in every worker", async () => {
  const folder = await mkdtemp(join(tmpdir(), "edgeproxy-policies-"));
  try {
    for (const seed of [1, 2, 3]) {
      const stage = await Stage.made(seed, folder);
      const { random, workers, plane } = stage;
      for (let round = 0; round < ROUNDS; round++) {
        const change = random();
        if (change < 0.75) await stage.changeRows();
        else if (change < 0.88) await stage.changeFile();
        else if (change < 0.98) await stage.changeAddress();
        else await stage.letGo();
        for (const worker of workers) worker.deliver(random() < 0.5 ? Infinity : Math.floor(random() * 3));
        if (random() < 0.05) oneOf(random, workers).forget(plane.snapshot.revision);
        if (random() < 0.03) workers.push(new Worker(plane));
        await assertSame(stage, `seed ${seed}, round ${round}`);
      }
      await plane.close();
    }
  } finally {
    await rm(folder, { recursive: true });
  }
});

async function assertSame(stage: Stage, when: string): Promise<void> {
  const { workers, plane, table, endpoints, random } = stage;
  const anew = await stage.anew();
  const expected = anew.plane.snapshot.policies;
  const { policies } = plane.snapshot;
  assert.deepEqual(essence(policies), essence(expected), when);
  assert.deepEqual(table.exclusions, anew.table.exclusions, when);
  const services = [...policies.file.services, ...[...policies.domains.values()].flatMap((domain) => domain.services)];
  for (const { endpoints: named } of services) {
    for (const { key, address } of named ?? []) assert.equal(endpoints.find(key, () => undefined)?.address, address, when);
  }
  endpoints.release(0);
  assert.equal(endpoints.leftSinceMs, null);
  for (const worker of workers) {
    worker.deliver(Infinity);
    if (worker.lostAt === plane.snapshot.revision) continue;
    assert.deepEqual(essence(worker.table.policies), essence(expected), when);
    assert.equal(worker.link.appliedPolicies, plane.snapshot.revision, when);
    for (let left = 20; left > 0; left--) {
      const host = oneOf(random, [...HOSTS, "y.w.test", "key--a.test"]);
      const domain = oneOf(random, [host, null, "*.w.test"]);
      const rules = [worker.table.policies, expected].map((set) => ({
        concerned: set.mayConcern(host),
        routes: set.rulesOf(host, domain)?.map(({ rules }) => rules.map(({ route }) => route)),
        service: set.service(`${host}/s`, host),
        own: set.service("vms", domain),
      }));
      assert.deepEqual(rules[0], rules[1], `${when}: ${host}`);
    }
  }
}
