/** SIGUSR2 with a binary at the same path that does not become ready: the old generation goes on, and says why. */
import assert from "node:assert/strict";
import { copyFile, link, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { after, before, test } from "node:test";
import { BINARY, temporaryFolder } from "../fixtures/edgeproxy.ts";
import { type Generation, LoadedEdge } from "../fixtures/loaded-edge.ts";
import { startPostgres, type TestDatabase } from "../fixtures/postgres.ts";

const ENVIRONMENT = { EDGEPROXY_WORKERS: "2", EDGEPROXY_SHUTDOWN_TIMEOUT: "60s" };
/** Where the bad one must be given up first, and then a good one must be ready in that time. */
const IMPATIENT = { ...ENVIRONMENT, EDGEPROXY_HANDOVER_TIMEOUT: "5s" };
/** The kinds of traffic that would notice at once. */
const FLOWS = ["keep-alive", "new connection"] as const;

let server: TestDatabase;
before(async () => server = await startPostgres());
after(() => server[Symbol.asyncDispose]());

/** Puts a file at the path as an upgrade does: what runs keeps the one that was there. */
async function install(path: string, write: (file: string) => Promise<void>): Promise<void> {
  await write(`${path}.next`);
  await rename(`${path}.next`, path);
}

async function goodBinary(file: string): Promise<void> {
  await link(BINARY, file).catch(() => copyFile(BINARY, file)); // Another file system.
}

/** Some line of the old generation says why the hand-over came to nothing; it goes on, and nobody has noticed. */
async function givenUp(loaded: LoadedEdge, before: Generation, reason: RegExp): Promise<void> {
  await loaded.edge.waitForLog((line) => /^successor ended before/.test(String(line["msg"])));
  assert.match(JSON.stringify(loaded.edge.log.filter((line) => line["level"] === "error")), reason);
  await loaded.onlyLeft(before);
  await loaded.load.progress(10);
  assert.deepEqual(loaded.load.failures, [], loaded.report());
}

/** By a good one; it is asked for again where the machine has been too slow for one, as an operator would. */
async function takenOver(loaded: LoadedEdge, before: Generation): Promise<Generation> {
  const ended = (): number => loaded.edge.log.filter((line) => /^successor ended before/.test(String(line["msg"]))).length;
  let now = before;
  let known = -1;
  await loaded.until(async () => {
    if (ended() > known) process.kill(before.supervisor, "SIGUSR2");
    known = ended();
    now = await loaded.generation();
    return now.supervisor !== before.supervisor && await loaded.serving();
  }, () => `Nobody took over from ${before.supervisor}`);
  return now;
}

const BROKEN: readonly (readonly [what: string, script: string, reason: RegExp, env: Readonly<Record<string, string>>])[] = [
  ["ends at once", "#!/bin/sh\necho cannot do this >&2\nexit 3\n", /exit code 3/, ENVIRONMENT],
  ["never becomes ready", "#!/bin/sh\nexec sleep 300\n", /did not become ready in time/, IMPATIENT],
  ["cannot be run", "not a program\n", /ENOEXEC/, ENVIRONMENT],
];
for (const [what, script, reason, env] of BROKEN) {
  test(`a new binary that ${what} leaves the old generation serving, and a good one takes over later`, async () => {
    await using folder = await temporaryFolder();
    const binary = join(folder.path, "edgeproxy");
    await install(binary, goodBinary);
    await using loaded = await LoadedEdge.start(server, env, { flows: FLOWS, binary });
    const before = await loaded.generation();
    await install(binary, (file) => writeFile(file, script, { mode: 0o755 }));
    process.kill(before.supervisor, "SIGUSR2");
    await givenUp(loaded, before, reason);

    await install(binary, goodBinary);
    await loaded.onlyLeft(await takenOver(loaded, before));
    assert.deepEqual((await loaded.load.stop()).failures, [], loaded.report());
  });
}

test("a new generation that does not reach its database gives up, and the old one goes on with its table", async () => {
  await using database = await startPostgres();
  await using loaded = await LoadedEdge.start(database, IMPATIENT, { flows: FLOWS });
  const before = await loaded.generation();
  await database.kill();
  process.kill(before.supervisor, "SIGUSR2");
  await givenUp(loaded, before, /"cannot start".*within|"cannot start".*ready/);

  await database.restart();
  await loaded.onlyLeft(await takenOver(loaded, before));
  assert.deepEqual((await loaded.load.stop()).failures, [], loaded.report());
});
