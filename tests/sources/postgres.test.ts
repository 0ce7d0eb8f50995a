import assert from "node:assert/strict";
import { once } from "node:events";
import { rm, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { PostgresSource } from "../../src/sources/postgres.ts";
import {
  createSchema,
  insertDomain,
  insertRegion,
  insertRoute,
  insertVm,
  offerTls,
  startPostgres,
  type TestDatabase,
} from "../fixtures/postgres.ts";
import { SELF_SIGNED_CERT } from "../fixtures/self-signed.ts";

const HERE = "11111111-1111-4111-8111-111111111111";
const THERE = "22222222-2222-4222-8222-222222222222";
const never = new AbortController().signal;
const WHOLE = { whole: true };

let database: TestDatabase;

function source(url = database.url, limits: { statementTimeoutMs?: number; readTimeoutMs?: number } = {}): PostgresSource {
  return new PostgresSource({ url, here: { regionId: HERE, regionPort: 80 }, ...limits });
}

function withParameters(parameters: string): string {
  return `${database.url}?${parameters}`;
}

/** A PostgreSQL that answers only as far as `greet` goes. */
async function fakeServer(greet: (data: Uint8Array) => Uint8Array | null): Promise<{ port: number; server: Server }> {
  const server = createServer((socket) => {
    socket.on("error", () => {});
    socket.on("data", (data) => {
      const answer = greet(data);
      if (answer === null) socket.destroy();
      else if (answer.length > 0) socket.write(answer);
    });
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  assert.ok(address !== null && typeof address === "object");
  return { port: address.port, server };
}

before(async () => {
  database = await startPostgres();
});
after(async () => {
  await database[Symbol.asyncDispose]();
});

for (const type of ["inet", "text"] as const) {
  describe(`PostgresSource with ${type} addresses`, () => {
    before(async () => {
      await database.sql("drop schema public cascade; create schema public");
      await createSchema(database, { inet: type === "inet" });
    });

    it("read() gives routes, bad rows and regions", async () => {
      await insertRegion(database, { id: HERE, publicIpv4: null });
      await insertRegion(database, { id: THERE, publicIpv4: "203.0.113.7" });
      const bare = await insertRegion(database);
      await insertRoute(database, { name: "app.example.com", regionId: HERE, privateIp: "10.0.0.5", port: 8080 });
      await insertRoute(database, { name: "app.example.com", regionId: HERE, privateIp: "10.0.0.6", port: 8080 });
      await insertRoute(database, { name: "app.example.com", regionId: THERE, privateIp: "10.1.0.5", port: 8080 });
      await insertRoute(database, { name: "*.wild.example", regionId: THERE, privateIp: "10.1.0.5", port: 8080 });
      await insertRoute(database, { name: "lost.example.com", regionId: bare, privateIp: "10.1.0.5", port: 8080 });
      const { deploymentId } = await insertRoute(database, {
        name: "six.example.com",
        regionId: HERE,
        privateIp: "fd00::5",
        port: 1,
      });
      await insertDomain(database, { name: "unverified.example.com", deploymentId, verified: false });
      const stopped = await insertVm(database, { regionId: HERE, privateIp: "10.0.0.9", port: 80, status: "stopped" });
      await database.sql(`insert into deployments (vm_id, status) values ('${stopped}', 'ready')`);
      await database.sql(
        "insert into domains (name, deployment_id, verified_at) select 'stopped.example.com', id, now() from deployments where vm_id = $1",
        [stopped],
      );

      const postgres = source();
      const reading = await postgres.read(WHOLE, never);
      await postgres.close();

      assert.deepEqual(
        Object.fromEntries([...reading.routes.entries()].map(([host, { endpoints }]) => [host, endpoints.map(({ key }) => key)])),
        {
          "*.wild.example": ["region/203.0.113.7:80"],
          "app.example.com": ["vm/10.0.0.5:8080", "vm/10.0.0.6:8080", "region/203.0.113.7:80"],
          "six.example.com": ["vm/[fd00::5]:1"],
        },
      );
      assert.deepEqual(reading.excluded, [{
        domain: "lost.example.com",
        host: "lost.example.com",
        code: "bad_row",
        reason: `its region ${bare} is not ours and has no public address`,
      }]);
      assert.deepEqual(reading.regions.find((region) => region.id === THERE), { id: THERE, publicIpv4: "203.0.113.7" });
      assert.deepEqual(reading.regions.find((region) => region.id === HERE), { id: HERE, publicIpv4: null });
    });
  });
}

describe("PostgresSource", () => {
  before(async () => {
    await database.sql("drop schema public cascade; create schema public");
    await createSchema(database, { inet: true });
    await insertRegion(database, { id: HERE });
    await insertRoute(database, { name: "app.example.com", regionId: HERE, privateIp: "10.0.0.5", port: 8080 });
  });

  it("read() needs SELECT only, in a read-only session named edgeproxy", async () => {
    await database.sql(
      "drop role if exists reader; create role reader login password 'p@ss/word'; grant usage on schema public to reader; grant select on all tables in schema public to reader",
    );
    await using user = {
      source: source(database.url.replace(/\/\/[^@]*@/, "//reader:p%40ss%2Fword@")),
      [Symbol.asyncDispose]: () => user.source.close(),
    };
    assert.equal((await user.source.read(WHOLE, never)).routes.size, 1);
    const [row] = await database.sql("select application_name from pg_stat_activity where usename = 'reader'");
    assert.equal(row?.["application_name"], "edgeproxy");
  });

  it("read() drops parameters that no server understands", async () => {
    const postgres = source(
      withParameters("channel_binding=prefer&connect_timeout=3&gssencmode=disable&schema=public&pgbouncer=true"),
    );
    assert.equal((await postgres.read(WHOLE, never)).routes.size, 1);
    await postgres.close();
  });

  it("read() finds the tables where the options of the URL say", async () => {
    const postgres = source(withParameters(`options=${encodeURIComponent("-c search_path=elsewhere")}`));
    await assert.rejects(postgres.read(WHOLE, never), /relation "domains" does not exist/);
    await postgres.close();
  });

  it("read() rejects when a statement takes too long, and works again afterwards", async () => {
    const postgres = source(database.url, { statementTimeoutMs: 1000 });
    await database.sql("alter table domains rename to slow; create view domains as select slow.* from slow, pg_sleep(30)");
    await assert.rejects(postgres.read(WHOLE, never), /statement timeout/);
    await database.sql("drop view domains; alter table slow rename to domains");
    assert.equal((await postgres.read(WHOLE, never)).routes.size, 1);
    await postgres.close();
  });

  it("read() rejects when the caller gives up, and leaves no session behind", async () => {
    const postgres = source(withParameters("application_name=given-up"));
    await database.sql("alter table domains rename to slow; create view domains as select slow.* from slow, pg_sleep(1)");
    const caller = new AbortController();
    const reading = postgres.read(WHOLE, caller.signal);
    const active =
      "select 1 from pg_stat_activity where application_name = 'given-up' and state = 'active' and query like 'begin%'";
    while ((await database.sql(active)).length === 0);
    caller.abort(new Error("Enough"));
    await assert.rejects(reading, /Enough/);
    await database.sql("drop view domains; alter table slow rename to domains");
    assert.equal((await postgres.read(WHOLE, never)).routes.size, 1);
    await postgres.close();
  });

  it("read() rejects after the server was killed and works after its restart", async () => {
    const postgres = source();
    assert.equal((await postgres.read(WHOLE, never)).routes.size, 1);
    await database.kill();
    const readOn = async (): Promise<void> => {
      // Sessions of a killed server live on for a moment
      for (;;) await postgres.read(WHOLE, never);
    };
    await assert.rejects(readOn(), /Cannot connect to the database at 127\.0\.0\.1:\d+: .*ECONNREFUSED/);
    await database.restart();
    assert.equal((await postgres.read(WHOLE, never)).routes.size, 1);
    await postgres.close();
  });

  it("read() rejects when the server is killed in the middle, and works after its restart", async () => {
    const postgres = source(withParameters("application_name=in-the-middle"));
    await database.sql("alter table domains rename to slow; create view domains as select slow.* from slow, pg_sleep(30)");
    const reading = assert.rejects(postgres.read(WHOLE, never));
    const active =
      "select 1 from pg_stat_activity where application_name = 'in-the-middle' and state = 'active' and query like 'begin%'";
    while ((await database.sql(active)).length === 0);
    await database.kill();
    await reading;
    await database.restart();
    await database.sql("drop view domains; alter table slow rename to domains");
    assert.equal((await postgres.read(WHOLE, never)).routes.size, 1);
    await postgres.close();
  });

  it("read() gets over a session that the server ended in between", async () => {
    const postgres = source(withParameters("application_name=ended"));
    await postgres.read(WHOLE, never);
    await database.sql("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'ended'");
    assert.equal((await postgres.read(WHOLE, never)).routes.size, 1);
    await postgres.close();
  });

  it("read() tries the hosts in order and names what each said when none will do", async () => {
    const { port, server } = await fakeServer(() => null);
    const credentials = database.url.replace(/@.*/, "");
    const both = source(`${credentials}@127.0.0.1:${port},127.0.0.1:${database.port}/postgres`);
    assert.equal((await both.read(WHOLE, never)).routes.size, 1);
    await both.close();
    const none = source(`${credentials}@127.0.0.1:${port},127.0.0.1:${port}/postgres?sslmode=disable`);
    await assert.rejects(none.read(WHOLE, never), /127\.0\.0\.1:\d+: The server closed the connection before the session began/);
    await none.close();
    server.close();
  });

  it("read() passes over hosts of another kind", async () => {
    const standby = source(withParameters("target_session_attrs=standby"));
    await assert.rejects(standby.read(WHOLE, never), /The server is not standby/);
    await standby.close();
    for (const kind of ["primary", "read-write", "prefer-standby", "any"]) {
      const postgres = source(withParameters(`target_session_attrs=${kind}`));
      assert.equal((await postgres.read(WHOLE, never)).routes.size, 1);
      await postgres.close();
    }
  });

  it("read() gives up on a server that says nothing", async () => {
    const { port, server } = await fakeServer(() => new Uint8Array());
    for (const mode of ["disable", "prefer"]) {
      const postgres = source(`postgres://u:p@127.0.0.1:${port}/d?sslmode=${mode}`, { readTimeoutMs: 50 });
      await assert.rejects(postgres.read(WHOLE, never), /No answer from the database within 50 ms/);
      await postgres.close();
    }
    server.close();
  });

  it("read() refuses plain text when TLS is required and bytes smuggled behind the answer", async () => {
    const plain = await fakeServer(() => new TextEncoder().encode("N"));
    const refused = source(`postgres://u:p@127.0.0.1:${plain.port}/d?sslmode=require`);
    await assert.rejects(refused.read(WHOLE, never), /does not offer TLS, but sslmode is require/);
    await refused.close();
    plain.server.close();
    const smuggler = await fakeServer(() => new TextEncoder().encode("SR"));
    const smuggled = source(`postgres://u:p@127.0.0.1:${smuggler.port}/d?sslmode=require`);
    await assert.rejects(smuggled.read(WHOLE, never), /more than one byte/);
    await smuggled.close();
    smuggler.server.close();
  });

  it("read() does not show the password when it is wrong", async () => {
    const postgres = source(database.url.replace(/\/\/[^@]*@/, "//postgres:very-wrong@"));
    const error = await postgres.read(WHOLE, never).then(() => null, (error: Error) => error);
    assert.match(error?.message ?? "", /password authentication failed/);
    assert.doesNotMatch(error?.message ?? "", /very-wrong/);
    await postgres.close();
  });
});

describe("PostgresSource with TLS", () => {
  const certificate = join(tmpdir(), `edgeproxy-test-${process.pid}.pem`);

  before(async () => {
    await writeFile(certificate, SELF_SIGNED_CERT);
    await offerTls(database);
  });
  after(async () => {
    await rm(certificate, { force: true });
  });

  async function encrypted(parameters: string): Promise<boolean> {
    const postgres = source(withParameters(`${parameters}&application_name=tls-test`));
    try {
      await postgres.read(WHOLE, never);
      const rows = await database.sql(
        "select ssl from pg_stat_ssl join pg_stat_activity using (pid) where application_name = 'tls-test'",
      );
      return rows.at(-1)?.["ssl"] === true;
    } finally {
      await postgres.close();
    }
  }

  it("read() encrypts as sslmode says", async () => {
    for (const mode of ["prefer", "require", `verify-ca&sslrootcert=${certificate}`, `verify-full&sslrootcert=${certificate}`]) {
      assert.equal(await encrypted(`sslmode=${mode}`), true, mode);
    }
    for (const mode of ["disable", "allow"]) assert.equal(await encrypted(`sslmode=${mode}`), false, mode);
  });

  it("read() rejects a certificate that nobody vouches for", async () => {
    await assert.rejects(encrypted("sslmode=verify-ca"), /self.signed|certificate/i);
    await assert.rejects(encrypted("sslmode=verify-full"), /self.signed|certificate/i);
  });

  it("read() checks the name of the host only with verify-full", async () => {
    // The certificate is for 127.0.0.1 only.
    const named = (mode: string) =>
      source(`${database.url.replace("127.0.0.1", "localhost")}?sslmode=${mode}&sslrootcert=${certificate}`);
    const authority = named("verify-ca");
    await authority.read(WHOLE, never);
    await authority.close();
    const full = named("verify-full");
    await assert.rejects(full.read(WHOLE, never), /altname|identity/i);
    await full.close();
  });
});
