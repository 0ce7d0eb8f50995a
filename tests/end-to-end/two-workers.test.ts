/** Several workers are one proxy from outside: what they count, hold and cut is added up, and limits hold in each (contract, section 9). */
import assert from "node:assert/strict";
import process from "node:process";
import { after, before, test } from "node:test";
import type { Edgeproxy, WorkerView } from "../fixtures/edgeproxy.ts";
import { Platform } from "../fixtures/platform.ts";
import { startPostgres, type TestDatabase } from "../fixtures/postgres.ts";
import { clientPorts } from "../fixtures/processes.ts";
import { getRequest, openRaw, type RawConnection } from "../fixtures/raw-client.ts";
import { metric, reaches } from "../fixtures/served-vms.ts";
import type { Vm, VmConnection } from "../fixtures/vm.ts";

const HOST = "app.example.com";
const FORWARDED = 'edgeproxy_requests_total{outcome="forwarded",status_class="2xx"}';
const REFUSED = 'edgeproxy_requests_total{outcome="refused",status_class="4xx"}';
const NO_ROUTE = 'edgeproxy_routing_errors_total{code="no_route"}';
const DURATIONS = "edgeproxy_request_duration_seconds_count";
const ACCEPTED = "edgeproxy_connections_accepted_total";

let server: TestDatabase;
before(async () => server = await startPostgres());
after(() => server[Symbol.asyncDispose]());

/** A client, and the number of the worker that has accepted it. */
interface Client {
  readonly connection: RawConnection;
  readonly worker: number;
}

class TwoWorkers implements AsyncDisposable {
  readonly edge: Edgeproxy;
  readonly vm: Vm;
  readonly clients: Client[] = [];
  readonly #platform: Platform;

  private constructor(platform: Platform, edge: Edgeproxy, vm: Vm) {
    this.#platform = platform;
    this.edge = edge;
    this.vm = vm;
  }

  static async start(env: Readonly<Record<string, string>> = {}): Promise<TwoWorkers> {
    const platform = await Platform.start(server);
    const vm = await platform.vm(HOST);
    const edge = await platform.edge({ EDGEPROXY_WORKERS: "2", EDGEPROXY_SHUTDOWN_TIMEOUT: "60s", ...env });
    await edge.waitFor(async () => (await edge.workers()).every(({ state }) => state === "serving"));
    return new TwoWorkers(platform, edge, vm);
  }

  /** Opens connections, with a request on each that is answered, until each worker has that many. */
  async connect(least: number): Promise<void> {
    const workers = await this.edge.workers();
    while (workers.some(({ worker }) => this.of(worker).length < least)) {
      const connection = await openRaw(this.edge.port, this.edge.host);
      assert.equal(await ask(connection, HOST), 200);
      const owner = workers.find(({ pid }) => clientPorts(pid, this.edge.port).has(connection.localPort));
      assert.ok(owner !== undefined, "no worker has accepted the connection");
      this.clients.push({ connection, worker: owner.worker });
    }
  }

  /** The connections that this worker has accepted. */
  of(worker: number): RawConnection[] {
    return this.clients.filter((client) => client.worker === worker).map(({ connection }) => connection);
  }

  async reaches(expected: Readonly<Record<string, number>>): Promise<void> {
    await reaches(this.edge, expected);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { connection } of this.clients) await connection[Symbol.asyncDispose]();
    await this.#platform[Symbol.asyncDispose]();
  }
}

async function ask(connection: RawConnection, host: string): Promise<number> {
  connection.send(getRequest(host));
  return (await connection.readResponse()).status;
}

test("GET /metrics counts what all workers have done, also those that are gone", async () => {
  await using two = await TwoWorkers.start();
  const { edge, clients } = two;
  await two.connect(3);
  for (const { connection } of clients) {
    assert.equal(await ask(connection, HOST), 200);
    assert.equal(await ask(connection, "nobody.example.com"), 404);
  }
  const many = clients.length;
  const counted = { [FORWARDED]: 2 * many, [REFUSED]: many, [NO_ROUTE]: many, [DURATIONS]: 3 * many, [ACCEPTED]: many };
  await two.reaches({ ...counted, "edgeproxy_connections": many });
  for (const worker of [1, 2]) {
    await two.reaches({ [`edgeproxy_worker_requests_total{worker="${worker}"}`]: 3 * two.of(worker).length });
  }

  const [victim] = await edge.workers();
  process.kill(victim!.pid, "SIGKILL");
  const seen = new Set<number>();
  await edge.waitFor(async () => {
    seen.add(await metric(edge, FORWARDED));
    return replaced(victim!, await edge.workers());
  }, "does not replace the worker");
  assert.deepEqual([...seen], [2 * many], "a worker took what it had counted with it");
  await two.reaches({ ...counted, "edgeproxy_connections": two.of(2).length });

  const before = clients.length;
  clients.splice(0, before, ...clients.filter(({ worker }) => worker === 2));
  const kept = clients.length;
  await two.connect(1);
  const opened = clients.length - kept;
  await two.reaches({ [FORWARDED]: 2 * many + opened, [ACCEPTED]: many + opened, [DURATIONS]: 3 * many + opened });
});

function replaced(victim: WorkerView, workers: readonly WorkerView[]): boolean {
  return workers.some(({ worker, pid, state }) => worker === victim.worker && pid !== victim.pid && state === "serving");
}

/** Two exchanges without an answer in worker 1, one in worker 2, and a tunnel in each. */
async function holdWork(two: TwoWorkers): Promise<{ readonly held: VmConnection[]; readonly tunnels: RawConnection[] }> {
  await two.connect(3);
  const held: VmConnection[] = [];
  const answered = two.vm.script;
  two.vm.script = (request, connection) => {
    if (request.target === "/held") held.push(connection);
    else if (request.target !== "/tunnel") return answered(request, connection);
    else {
      connection.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n");
      connection.takeOver(() => {});
    }
  };
  const [first, second] = [two.of(1), two.of(2)];
  for (const connection of [first[0]!, first[1]!, second[0]!]) connection.send(getRequest(HOST, "/held"));
  const tunnels = [first[2]!, second[2]!];
  for (const connection of tunnels) {
    connection.send(getRequest(HOST, "/tunnel", "Connection: Upgrade", "Upgrade: raw"));
    assert.equal((await connection.readResponse()).status, 101);
  }
  await two.vm.until(() => held.length === 3);
  await two.reaches({ "edgeproxy_exchanges_active": 5, "edgeproxy_tunnels_active": 2 }); // both workers have said so
  return { held, tunnels };
}

async function drainOf(edge: Edgeproxy): Promise<unknown> {
  const { drain } = await (await edge.admin("/api/drain")).json() as { drain: Readonly<Record<string, unknown>> | null };
  return drain === null ? null : [drain["phase"], drain["exchanges"], drain["tunnels"], drain["connections"]];
}

test("SIGTERM: log and GET /api/drain say what both workers hold, and both finish it", async () => {
  await using two = await TwoWorkers.start();
  const { edge } = two;
  const { held, tunnels } = await holdWork(two);
  const exited = edge.stop();
  await edge.waitFor(async () => String(await drainOf(edge)) === "finishing,3,2,5", "does not say what both workers hold");
  const begun = await edge.waitForLog((line) => line["msg"] === "draining" && line["reason"] === "SIGTERM");
  assert.deepEqual([begun["exchanges"], begun["tunnels"]], [3, 2], edge.report());
  const progress = await edge.waitForLog((line) => line["msg"] === "draining" && line["phase"] === "finishing");
  assert.deepEqual([progress["exchanges"], progress["tunnels"], progress["connections"]], [3, 2, 5], edge.report());
  for (const connection of held) connection.write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate");
  for (const connection of [...two.of(1).slice(0, 2), two.of(2)[0]!]) {
    assert.equal((await connection.readResponse()).body.toString(), "late");
  }
  await edge.waitFor(async () => String(await drainOf(edge)) === "finishing,0,2,2", "does not count down");
  for (const connection of tunnels) connection.reset();
  assert.equal(await exited, 0, edge.report());
  assert.equal(edge.log.find((line) => line["msg"] === "stopped")?.["exchanges_cut"], 0, edge.report());
});

test("what both workers still hold when the grace ends is cut, and counted together", async () => {
  await using two = await TwoWorkers.start({ EDGEPROXY_SHUTDOWN_TIMEOUT: "500ms" });
  await holdWork(two);
  assert.equal(await two.edge.stop(), 0, two.edge.report());
  assert.equal(two.edge.log.find((line) => line["msg"] === "stopped")?.["exchanges_cut"], 5, two.edge.report());
});

test("EDGEPROXY_MAX_CONNECTIONS holds in each worker: one that is full closes, the other one still accepts", async () => {
  const most = 4;
  await using two = await TwoWorkers.start({ EDGEPROXY_MAX_CONNECTIONS: String(most) });
  const { edge } = two;
  const served: RawConnection[] = [];
  let shed = 0;
  const open = async (): Promise<void> => {
    const connection = await openRaw(edge.port, edge.host).catch(() => null); // null: closed at once
    if (connection !== null && await ask(connection, HOST).catch(() => 0) === 200) return void served.push(connection);
    shed++;
    await connection?.[Symbol.asyncDispose]();
  };
  try {
    for (let tries = 0; served.length < 2 * most && tries < 300; tries++) await open();
    for (const { pid } of await edge.workers()) {
      await edge.waitFor(() => Promise.resolve(clientPorts(pid, edge.port).size === most), "has not closed what it sheds");
    }
    for (let more = 0; more < 10; more++) await open();
    assert.equal(served.length, 2 * most);
    await two.reaches({ "edgeproxy_connections": 2 * most, "edgeproxy_connections_shed_total": shed });
    assert.ok(shed >= 10);
  } finally {
    for (const connection of served) await connection[Symbol.asyncDispose]();
  }
});
