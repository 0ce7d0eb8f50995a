/** What other processes that we start may see. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { inheritableEnvironment } from "../../src/runtime/processes.ts";

test("inheritableEnvironment() has nothing that steers the runtime, no settings and no secrets of the database", () => {
  const env = {
    PATH: "/bin",
    TZ: "UTC",
    EDGEPROXY_ADMIN_TOKEN: "secret",
    PGPASSWORD: "secret",
    PGSSLKEY: "/key",
    BUN_OPTIONS: "--preload x",
    BUN_BE_BUN: "1",
    NODE_OPTIONS: "--require x",
    DENO_DIR: "/x",
    NOTIFY_SOCKET: "@x",
    LISTEN_FDS: "1",
    WATCHDOG_USEC: "1",
    GONE: undefined,
  };
  assert.deepEqual(inheritableEnvironment(env), { PATH: "/bin", TZ: "UTC" });
});
