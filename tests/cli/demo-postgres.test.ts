import assert from "node:assert/strict";
import { test } from "node:test";
import { insertRegion, insertRoute, startPostgres } from "../fixtures/postgres.ts";

for (const tables of ["inet", "text"] as const) {
  test(`PostgresServer keeps its rows when it is killed and restarted (${tables} addresses)`, async () => {
    await using database = await startPostgres({ tables });
    const regionId = await insertRegion(database, { publicIpv4: "127.0.0.9" });
    await insertRoute(database, { name: "app.example.com", regionId, privateIp: "127.0.0.5", port: 8080 });

    await database.kill();
    await assert.rejects(database.sql("select 1"));
    await database.restart();

    const rows = await database.sql("select d.name, host(v.private_ip::inet) ip, v.port from domains d cross join vms v");
    assert.deepEqual([...rows], [{ name: "app.example.com", ip: "127.0.0.5", port: 8080 }]);
  });
}
