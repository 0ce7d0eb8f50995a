import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type DatabaseTarget, maskDatabaseUrl, parseDatabaseUrl } from "../../src/sources/database-url.ts";

function target(url: string): DatabaseTarget {
  const parsed = parseDatabaseUrl(url);
  assert.ok(!("problem" in parsed), "problem" in parsed ? `${url}: ${parsed.problem}` : "");
  return parsed;
}

function problem(url: string): string {
  const parsed = parseDatabaseUrl(url);
  assert.ok("problem" in parsed, `${url} was accepted`);
  return parsed.problem;
}

describe("parseDatabaseUrl()", () => {
  it("gives the parts of a usual URL with libpq's defaults", () => {
    assert.deepEqual(target("postgres://edge:secret@db.example/platform"), {
      hosts: [{ host: "db.example", port: 5432 }],
      user: "edge",
      password: "secret",
      database: "platform",
      sslMode: "prefer",
      sslRootCert: null,
      sslCert: null,
      sslKey: null,
      connectTimeoutMs: 5000,
      session: "any",
      startup: { application_name: "edgeproxy" },
      ignored: [],
    });
  });

  it("leaves what is absent to the environment", () => {
    const { hosts, user, password, database } = target("postgresql://");
    assert.deepEqual({ hosts, user, password, database }, {
      hosts: [{ host: "localhost", port: 5432 }],
      user: null,
      password: null,
      database: null,
    });
  });

  it("decodes user, password and database, and forgives an @ in the password", () => {
    const { user, password, database } = target("postgres://a%40b:p%3A%2F%25@db/x%20y");
    assert.deepEqual([user, password, database], ["a@b", "p:/%", "x y"]);
    assert.equal(target("postgres://edge:p@ss@db/x").password, "p@ss");
  });

  it("understands several hosts, ports and IPv6", () => {
    assert.deepEqual(target("postgres://u@a:1,[::1]:2,[fd00::1],10.0.0.1/x?port=7").hosts, [
      { host: "a", port: 1 },
      { host: "::1", port: 2 },
      { host: "fd00::1", port: 7 },
      { host: "10.0.0.1", port: 7 },
    ]);
  });

  it("understands Unix sockets in either form", () => {
    const expected = [{ host: "/var/run/postgresql", port: 5433 }];
    assert.deepEqual(target("postgres://%2Fvar%2Frun%2Fpostgresql:5433/x").hosts, expected);
    assert.deepEqual(target("postgres:///x?host=/var/run/postgresql&port=5433").hosts, expected);
  });

  it("prefers parameters to the parts of the URL", () => {
    const { hosts, user, password, database } = target(
      "postgres://u:p@h/d?host=a,b&port=1,2&user=user&password=pass%20word&dbname=name",
    );
    assert.deepEqual(hosts, [{ host: "a", port: 1 }, { host: "b", port: 2 }]);
    assert.deepEqual([user, password, database], ["user", "pass word", "name"]);
  });

  it("understands sslmode as libpq does", () => {
    for (const mode of ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]) {
      assert.equal(target(`postgres://db/x?sslmode=${mode}`).sslMode, mode);
    }
    const files = target("postgres://db/x?sslmode=require&sslrootcert=/ca.pem&sslcert=/c.pem&sslkey=/k.pem");
    assert.equal(files.sslMode, "verify-ca");
    assert.deepEqual([files.sslRootCert, files.sslCert, files.sslKey], ["/ca.pem", "/c.pem", "/k.pem"]);
    assert.equal(target("postgres://db/x?sslrootcert=system").sslMode, "verify-full");
  });

  it("sends only what a server understands, and lists what nobody does", () => {
    const parsed = target(
      "postgres://db/x?channel_binding=require&gssencmode=disable&keepalives=1&application_name=mine&options=-c%20search_path%3Dx&schema=public&pgbouncer=true&connect_timeout=3&target_session_attrs=primary",
    );
    assert.deepEqual(parsed.startup, { application_name: "mine", options: "-c search_path=x" });
    assert.deepEqual(parsed.ignored, ["schema", "pgbouncer"]);
    assert.equal(parsed.connectTimeoutMs, 3000);
    assert.equal(parsed.session, "primary");
  });

  it("says what is wrong, without a value", () => {
    assert.match(problem("db.example/x"), /must be a URL/);
    assert.match(problem("mysql://db/x"), /must be a URL/);
    assert.match(problem("postgres://u:p#1@db/x"), /must be a URL/);
    assert.match(problem("postgres://::1/x"), /IPv6 addresses in brackets/);
    assert.match(problem("postgres://db:99999/x"), /ports from 1 to 65535/);
    assert.match(problem("postgres://db/x?sslmode=on"), /sslmode of disable, allow/);
    assert.match(problem("postgres://db/x?target_session_attrs=master"), /target_session_attrs of any/);
    assert.match(problem("postgres://db/x?connect_timeout=5s"), /connect_timeout in whole seconds/);
    assert.match(problem("postgres://u:50%@db/x"), /percent-encoded/);
  });
});

describe("maskDatabaseUrl()", () => {
  it("hides the password and nothing else", () => {
    assert.equal(maskDatabaseUrl("postgres://edge:s3cret@a:1,b/x?sslmode=require"), "postgres://edge:***@a:1,b/x?sslmode=require");
    assert.equal(maskDatabaseUrl("postgres://edge:s:3@cret@a/x"), "postgres://edge:***@a/x");
    assert.equal(
      maskDatabaseUrl("postgres://a/x?user=u&password=s3cret&sslmode=require"),
      "postgres://a/x?user=u&password=***&sslmode=require",
    );
    assert.equal(maskDatabaseUrl("postgres://edge@a/x"), "postgres://edge@a/x");
  });

  it("leaves nothing but the scheme of a text that is no URL", () => {
    assert.equal(maskDatabaseUrl("postgres://edge:s3/cret@a/x"), "postgres://***");
    assert.equal(maskDatabaseUrl("edge s3cret"), "***");
  });
});
