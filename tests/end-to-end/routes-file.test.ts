/** Routes and policies from a file and from PostgreSQL, end to end: hot reload, bad files, a proxy without a database. */
import assert from "node:assert/strict";
import { rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { type Edgeproxy, runEdgeproxy, startEdgeproxy, temporaryFolder } from "../fixtures/edgeproxy.ts";
import { loopbackAddress } from "../fixtures/ports.ts";
import { get, Platform } from "../fixtures/platform.ts";
import { startPostgres, type TestDatabase } from "../fixtures/postgres.ts";
import { signalTo } from "../fixtures/processes.ts";
import { startVm, type Vm } from "../fixtures/vm.ts";

const REGION = "11111111-1111-4111-8111-111111111111";

let server: TestDatabase;
before(async () => {
  server = await startPostgres();
});
after(() => server[Symbol.asyncDispose]());

/** What the file says: one service, to which everything goes. */
function leadingTo(vm: { readonly host: string; readonly port: number }): string {
  return `services:
  web: { endpoints: [{ url: "http://${vm.host}:${vm.port}" }] }
routes:
  - { id: all, service: web }
`;
}

/** At once: whoever writes in place may be read while the file is empty. */
async function put(file: string, text: string): Promise<void> {
  await writeFile(`${file}.part`, text);
  await rename(`${file}.part`, file);
}

/** Waits until the file in force is the one that was read after `write`. */
async function reloaded(edge: Edgeproxy, write: () => Promise<void>, result: "changed" | "refused"): Promise<void> {
  const count = async () => (await policies(edge)).file.reloads[result];
  const before = await count();
  await write();
  await edge.waitFor(async () => await count() > before, `did not find the file ${result}`);
}

// deno-lint-ignore no-explicit-any -- any JSON
async function policies(edge: Edgeproxy): Promise<any> {
  return await (await edge.admin("/api/policies")).json();
}

async function bodyOf(edge: Edgeproxy, host: string, path = "/"): Promise<string> {
  const response = await get(edge, host, path);
  return `${response.status} ${response.body}`;
}

test("without a database the file's routes are served; a changed file is in force without a request lost", async () => {
  await using folder = await temporaryFolder();
  await using one = await startVm({ host: loopbackAddress(), script: (_, c) => c.write(answer("one")) });
  await using two = await startVm({ host: loopbackAddress(), script: (_, c) => c.write(answer("two")) });
  const file = join(folder.path, "routes.yaml");
  await writeFile(file, leadingTo(one));
  await using edge = await startEdgeproxy({
    database: "",
    region: REGION,
    env: { EDGEPROXY_CONFIG_FILE: file, EDGEPROXY_WORKERS: "2" },
  });
  assert.equal(await bodyOf(edge, "any.example.com"), "200 one");
  const ready = await (await edge.admin("/readyz")).json();
  assert.deepEqual([ready.ready, ready.routes_file.ok, ready.table.source], [true, true, "none"]);
  assert.deepEqual([ready.database.configured, ready.database.readable], [false, null]);
  assert.equal((await (await edge.admin("/api/overview")).json()).database.state, "none");
  assert.doesNotMatch(await (await edge.admin("/metrics")).text(), /^edgeproxy_source_up /m);

  const strange: string[] = [];
  let answered = 0, over = false;
  const client = async (): Promise<void> => {
    while (!over) {
      const body = await bodyOf(edge, "any.example.com").catch((error: Error) => error.message);
      answered++;
      if (body !== "200 one" && body !== "200 two") strange.push(body);
    }
  };
  const clients = Promise.all(Array.from({ length: 4 }, client));
  for (let round = 0; round < 6; round++) {
    const [vm, word] = round % 2 === 0 ? [two, "200 two"] as const : [one, "200 one"] as const;
    await reloaded(edge, () => put(file, leadingTo(vm)), "changed");
    // Each worker, whichever the connections fall to
    await edge.waitFor(async () => {
      const bodies = await Promise.all(Array.from({ length: 8 }, () => bodyOf(edge, "any.example.com")));
      return bodies.every((body) => body === word);
    }, `did not get to ${word}`);
  }
  over = true;
  await clients;
  assert.deepEqual(strange, [], `of ${answered}`);
  assert.ok(answered > 50);
  // A worker that is replaced has them before it accepts
  const killed = (await edge.workers()).map(({ pid }) => pid);
  for (const pid of killed) signalTo(pid, "SIGKILL");
  await edge.waitFor(async () => {
    return (await edge.workers()).filter(({ state, pid }) => state === "serving" && !killed.includes(pid)).length === 2;
  });
  for (let request = 0; request < 8; request++) assert.equal(await bodyOf(edge, "any.example.com"), "200 one");
  const line = edge.log.findLast(({ msg }) => msg === "policies changed");
  assert.deepEqual([line?.["services"], line?.["routes"], line?.["domains"], line?.["reason"]], [1, 1, 0, "change"]);
});

/** So that not many routes make a file that a process of its own reads. */
const PADDING = ` # ${"large ".repeat(30)}`;
/** Who is held up by the reading answers one or two meanwhile. */
const ENOUGH = 30;

test("while a large file is read, good or bad, requests are answered: also where one process does everything", async () => {
  await using folder = await temporaryFolder();
  const file = join(folder.path, "routes.yaml");
  const route = (i: number) =>
    `  - { id: r${i}, hosts: [h${i}.example.com], path: /at, respond: { status: 200, body: "at ${i}" } }${PADDING}\n`;
  const large = `routes:\n${Array.from({ length: 1200 }, (_, i) => route(i)).join("")}`;
  await writeFile(file, `routes:\n${route(7)}`);
  await using edge = await startEdgeproxy({
    database: "",
    region: REGION,
    env: { EDGEPROXY_CONFIG_FILE: file, EDGEPROXY_WORKERS: "0" },
  });
  /** How many requests are answered, one after the other, while the file is read; some are enough. */
  const meanwhile = async (text: string): Promise<number> => {
    await put(file, text);
    let answers = 0, over = false;
    const reading = edge.admin("/api/refresh", { method: "POST" }).then(() => over = true);
    for (; !over && answers < ENOUGH; answers++) assert.equal(await bodyOf(edge, "h7.example.com", "/at"), "200 at 7");
    await reading;
    return answers;
  };

  assert.equal(await meanwhile(large), ENOUGH);
  assert.equal(await bodyOf(edge, "h1199.example.com", "/at"), "200 at 1199");
  assert.equal(await meanwhile(`${large}  - { hosts: nonsense, nonsense: true }\n`), ENOUGH);
  const { file: { ok, problems } } = await policies(edge);
  assert.equal(ok, false);
  assert.match(problems[0], /routes\.yaml:1202:\d+: routes\[1200\]/);
  assert.equal(await bodyOf(edge, "h1199.example.com", "/at"), "200 at 1199");
});

test("a bad file changes nothing and says why everywhere, until it is right again", async () => {
  await using folder = await temporaryFolder();
  await using named = await startVm({ host: "127.0.0.1", script: (_, c) => c.write(answer("good")) });
  const vm = { host: "localhost", port: named.port };
  const file = join(folder.path, "routes.yaml");
  await writeFile(file, leadingTo(vm));
  await using edge = await startEdgeproxy({ database: "", region: REGION, env: { EDGEPROXY_CONFIG_FILE: file } });
  const metric = async () => /^edgeproxy_config_file_ok (\d)/m.exec(await (await edge.admin("/metrics")).text())?.[1];
  assert.equal(await metric(), "1");

  const bad = `${leadingTo(vm)}  - { servce: web }\n  - { path: api, service: web }\n  - { service: nobody }\n`;
  await reloaded(edge, () => put(file, bad), "refused");
  assert.equal(await bodyOf(edge, "any.example.com"), "200 good");
  const { file: { ok, problems } } = await policies(edge);
  assert.equal(ok, false);
  for (const each of [/routes\.yaml:5:\d+: routes\[1\].*servce/, /routes\[2\].*path/, /routes\[3\].*nobody/]) {
    assert.match(problems.join("\n"), each);
  }
  const line = await edge.waitForLog(({ msg }) => msg === "the routes file is wrong: the one before stays in force");
  assert.deepEqual([line["level"], line["problems"]], ["error", problems]);
  const { ready, routes_file } = await (await edge.admin("/readyz")).json();
  assert.deepEqual([ready, routes_file.ok, routes_file.problems], [true, false, problems.length]);
  assert.equal(await metric(), "0");

  await writeFile(file, leadingTo(vm));
  edge.signal("SIGHUP");
  await edge.waitForLog(({ msg }) => msg === "the routes file is right again");
  assert.equal(await metric(), "1");
});

test("a bad file stops the start, with every problem and before any socket is opened", async () => {
  await using folder = await temporaryFolder();
  const file = join(folder.path, "routes.yaml");
  await writeFile(file, "services: { web: { endpoints: [] , helth: {} } }\nroutes: [{ service: wbe }]\n");
  const env = { EDGEPROXY_CONFIG_FILE: file, EDGEPROXY_REGION_ID: REGION };
  const { exitCode, stdout, stderr } = await runEdgeproxy(["serve"], { env });
  assert.deepEqual([exitCode, stdout], [2, ""]);
  for (const each of [/routes\.yaml:1:\d+: .*helth/, /routes\.yaml:2:\d+: .*wbe/]) assert.match(stderr, each);
});

test("a policy in PostgreSQL reaches the traffic with its commit; a bad one takes its domain out, and no other", async () => {
  await using platform = await Platform.start(server);
  const migrated = await runEdgeproxy(["migrate"], { env: { EDGEPROXY_DATABASE_URL: platform.database.url } });
  assert.equal(migrated.exitCode, 0, migrated.stderr);
  for (const name of ["app.example.com", "other.example.com"]) {
    await platform.vm(name, { script: (_, c) => c.write(answer(name)) });
  }
  const edge = await platform.edge({ EDGEPROXY_WORKERS: "2" });
  assert.equal(await bodyOf(edge, "app.example.com"), "200 app.example.com");
  const put = async (policy: unknown): Promise<void> => {
    await platform.database.sql(`insert into route_policies values ('app.example.com', '${JSON.stringify(policy)}')
      on conflict (domain) do update set policy = excluded.policy`);
  };
  const all = (body: string) => async (): Promise<boolean> => {
    const bodies = await Promise.all(Array.from({ length: 8 }, () => bodyOf(edge, "app.example.com", "/here")));
    return bodies.every((each) => each === body);
  };

  await put({ routes: [{ path: "/here", respond: { status: 418, body: "short and stout" } }] });
  await edge.waitFor(all("418 short and stout"));
  assert.equal(await bodyOf(edge, "app.example.com"), "200 app.example.com");
  assert.equal((await policies(edge)).domains, 1);

  await put({ routes: [{ path: "/here", service: "nobody" }] }); // the routes file might have it, later
  await edge.waitFor(all("503 Service Unavailable"));
  assert.deepEqual((await policies(edge)).unknown_services, [{ domain: "app.example.com", service: "nobody" }]);

  await put({ rewrit: {} });
  await edge.waitFor(all("404 Service Not Found"));
  assert.equal(await bodyOf(edge, "other.example.com"), "200 other.example.com");
  const { excluded } = await (await edge.admin("/api/excluded?code=bad_policy")).json();
  assert.deepEqual(excluded.map(({ domain }: { domain: string }) => domain), ["app.example.com"]);
  assert.match(excluded[0].reason, /rewrit/);
  assert.equal((await policies(edge)).excluded, 1);
  await edge.waitForLog(({ msg, domain }) => msg === "domain excluded" && domain === "app.example.com");

  await platform.database.sql("delete from route_policies");
  await edge.waitFor(all("200 app.example.com"));
  assert.equal((await policies(edge)).domains, 0);
});

test("with a state folder a start serves the last good file and policies, while the file is wrong and the database away", async () => {
  await using platform = await Platform.start(server);
  await using folder = await temporaryFolder();
  await platform.database.sql("create table route_policies (domain text primary key, policy jsonb not null)");
  await platform.vm("app.example.com", { script: (_, c) => c.write(answer("plain")) });
  await platform.database.sql(`insert into route_policies values
    ('app.example.com', '{"routes": [{"path": "/here", "respond": {"status": 418, "body": "policy"}}]}')`);
  const file = join(folder.path, "routes.yaml");
  await writeFile(file, "routes: [{ hosts: [file.example.com], respond: { status: 200, body: file } }]");
  const env = { EDGEPROXY_CONFIG_FILE: file, EDGEPROXY_STATE_DIR: join(folder.path, "state") };
  const before = await platform.edge(env);
  assert.equal(await bodyOf(before, "app.example.com", "/here"), "418 policy");
  assert.equal(await before.stop(), 0);

  await writeFile(file, "routes: nonsense");
  const edge = await platform.edge(env, { database: "postgres://nobody@127.0.0.1:1/nothing" });
  for (
    const [host, path, body] of [
      ["app.example.com", "/", "200 plain"],
      ["app.example.com", "/here", "418 policy"],
      ["file.example.com", "/", "200 file"],
    ] as const
  ) assert.equal(await bodyOf(edge, host, path), body);
  const { file: { ok, problems } } = await policies(edge);
  assert.deepEqual([ok, problems.length], [false, 1]);
  await edge.waitForLog(({ msg, reason }) =>
    msg === "the routes file is wrong: the one before stays in force" && reason === "start"
  );
  await reloaded(
    edge,
    () => writeFile(file, "routes: [{ hosts: [file.example.com], respond: { status: 200, body: other } }]"),
    "changed",
  );
  await edge.waitFor(async () => await bodyOf(edge, "file.example.com") === "200 other");
});

function answer(text: string): string {
  return `HTTP/1.1 200 OK\r\nContent-Length: ${text.length}\r\n\r\n${text}`;
}

test("a domain's policy says how its own VMs are checked, balanced, ejected, and stuck to", async () => {
  await using platform = await Platform.start(server);
  await runEdgeproxy(["migrate"], { env: { EDGEPROXY_DATABASE_URL: platform.database.url } });
  const host = "own.example.com";
  const vms: Vm[] = [];
  for (const name of ["one", "two", "three"]) {
    vms.push(await platform.vm(host, { healthStatus: 500, script: (_, c) => c.write(answer(name)) }));
  }
  await platform.database.sql(`insert into route_policies values ('${host}', '${
    JSON.stringify({
      balance: "round-robin",
      sticky: { cookie: "own", ttl: "1h" },
      health: { type: "tcp", interval: "100ms" },
      ejection: { errors: 2, window: "60s", time: "60s" },
    })
  }')`);
  const edge = await platform.edge();
  const ask = async (count: number, ...fields: string[]): Promise<Set<string>> => {
    const answers = new Set<string>();
    for (let i = 0; i < count; i++) answers.add(String((await get(edge, host, "/", ...fields)).body));
    return answers;
  };
  await edge.waitFor(async () => (await ask(6)).size === 3, "does not balance");
  const first = await get(edge, host);
  const cookie = first.fields.find(([name]) => name.toLowerCase() === "set-cookie")![1].split(";")[0]!;
  assert.deepEqual(await ask(6, `Cookie: ${cookie}`), new Set([String(first.body)]));
  vms[0]!.script = (_, connection) => connection.reset();
  await edge.waitFor(async () => {
    await ask(3);
    const { endpoints } = await (await edge.admin(`/api/endpoints?q=@${host}`)).json();
    return endpoints.some(({ key, hindrance }: Record<string, string>) =>
      hindrance === "trial" && key!.startsWith(`vm/${vms[0]!.host}:`)
    );
  }, "does not eject");
  assert.deepEqual(await ask(8), new Set(["two", "three"]));
});
