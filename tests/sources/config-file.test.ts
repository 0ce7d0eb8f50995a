/** The routes file on disk: when it is read again, and what a bad one changes. */
import assert from "node:assert/strict";
import { mkdir, mkdtemp, rename, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { systemTimers } from "../../src/runtime/timers.ts";
import { ConfigFile } from "../../src/sources/config-file.ts";
import { MOST_FILE_BYTES, readConfigFile } from "../../src/sources/file-reading.ts";
import type { FilePolicies } from "../../src/table/policy.ts";
import { CollectingLog } from "../fixtures/collecting-log.ts";
import { HERE } from "../fixtures/records.ts";

const CONTEXT = { regionId: HERE };

/** A folder with a file that is watched; `next` resolves with the id of the first route of what is taken next. */
class Watched implements AsyncDisposable {
  readonly folder: string;
  readonly path: string;
  readonly log: CollectingLog = new CollectingLog();
  readonly told: string[] = [];
  file!: ConfigFile;
  #taken: PromiseWithResolvers<string> = Promise.withResolvers();
  #refused: PromiseWithResolvers<string> = Promise.withResolvers();

  private constructor(folder: string, path: string) {
    this.folder = folder;
    this.path = path;
  }

  static async in(prepare: (folder: string) => Promise<string>): Promise<Watched> {
    const folder = await mkdtemp(join(tmpdir(), "edgeproxy-file-"));
    const watched = new Watched(folder, await prepare(folder));
    const first = await readConfigFile(watched.path, CONTEXT);
    assert.ok("policies" in first, JSON.stringify(first));
    watched.file = new ConfigFile({
      path: watched.path,
      regionId: HERE,
      first: { good: first, problems: [] },
      log: watched.log,
      timers: systemTimers,
      taken: ({ policies }) => watched.#take(policies),
      tell: (result, problem) => watched.#tell(result, problem),
    });
    watched.file.start();
    return watched;
  }

  next(): Promise<string> {
    return this.#taken.promise;
  }

  /** Resolves with the first problem of what is refused next. */
  refusal(): Promise<string> {
    return this.#refused.promise;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.file.close();
    await rm(this.folder, { recursive: true });
  }

  #take({ routes }: FilePolicies): void {
    this.#taken.resolve(routes[0]?.id ?? "");
    this.#taken = Promise.withResolvers();
  }

  #tell(result: string, problem: string): void {
    this.told.push(`${result} ${problem === "" ? "" : "with a problem"}`.trim());
    if (result !== "refused") return;
    this.#refused.resolve(problem);
    this.#refused = Promise.withResolvers();
  }
}

/** A file with one route of that name. */
function text(id: string): string {
  return JSON.stringify({ routes: [{ id, respond: { status: 200, body: id } }] });
}

async function plainFile(folder: string): Promise<string> {
  const path = join(folder, "routes.json");
  await writeFile(path, text("first"));
  return path;
}

test("a file is taken again when it is written in place", async () => {
  await using watched = await Watched.in(plainFile);
  const next = watched.next();
  await writeFile(watched.path, text("second"));
  assert.equal(await next, "second");
});

test("a file is taken again when another one is renamed over it", async () => {
  await using watched = await Watched.in(plainFile);
  const next = watched.next();
  await writeFile(`${watched.path}.tmp`, text("second"));
  await rename(`${watched.path}.tmp`, watched.path);
  assert.equal(await next, "second");
});

test("a file is taken again when a link on the way to it is swapped, as in a config map", async () => {
  const version = async (folder: string, name: string): Promise<void> => {
    await mkdir(join(folder, name));
    await writeFile(join(folder, name, "routes.json"), text(name));
  };
  await using watched = await Watched.in(async (folder) => {
    await version(folder, "one");
    await symlink("one", join(folder, "..data"));
    await symlink(join("..data", "routes.json"), join(folder, "routes.json"));
    return join(folder, "routes.json");
  });
  const next = watched.next();
  await version(watched.folder, "two");
  await symlink("two", join(watched.folder, "..swap"));
  await rename(join(watched.folder, "..swap"), join(watched.folder, "..data"));
  assert.equal(await next, "two");
});

test("a file behind a link to another folder is taken again", async () => {
  await using watched = await Watched.in(async (folder) => {
    await mkdir(join(folder, "elsewhere"));
    await writeFile(join(folder, "elsewhere", "real.json"), text("first"));
    await symlink(join("elsewhere", "real.json"), join(folder, "routes.json"));
    return join(folder, "routes.json");
  });
  const next = watched.next();
  await writeFile(join(watched.folder, "elsewhere", "real.json"), text("second"));
  assert.equal(await next, "second");
});

test("a file that cannot be had says why, and why it still cannot when that has changed", async () => {
  await using watched = await Watched.in(plainFile);
  const gone = watched.refusal();
  await rm(watched.path);
  assert.match(await gone, /ENOENT/);
  const circular = watched.refusal();
  await symlink("routes.json", watched.path);
  assert.match(await circular, /ELOOP/);
});

test("a bad file changes nothing, says all that is wrong, and is over with the next good one", async () => {
  await using watched = await Watched.in(plainFile);
  await writeFile(watched.path, "{");
  await watched.file.reload("SIGHUP");
  const { problems, badSinceMs, results } = watched.file.status;
  assert.equal(results.refused, 1);
  assert.ok(problems.length > 0 && badSinceMs !== null);
  const [line] = watched.log.lines.filter(({ level }) => level === "error");
  assert.equal(line?.msg, "the routes file is wrong: the one before stays in force");
  assert.deepEqual(line?.fields["problems"], problems);
  await writeFile(watched.path, text("second"));
  await watched.file.reload("SIGHUP");
  assert.deepEqual([watched.file.status.problems, watched.file.status.badSinceMs], [[], null]);
  assert.deepEqual(watched.told, ["refused with a problem", "recovered"]);
});

test("a file that says the same is not taken again", async () => {
  await using watched = await Watched.in(plainFile);
  await writeFile(watched.path, `${text("first")}\n`);
  await watched.file.reload("SIGHUP");
  assert.equal(watched.file.status.results.changed, 0);
});

test("readConfigFile() refuses what is no file, too large or no text, and names it", async () => {
  await using watched = await Watched.in(plainFile);
  const problems = async (path: string) => {
    const read = await readConfigFile(path, CONTEXT);
    assert.ok("problems" in read, path);
    return read.problems.join();
  };
  assert.match(await problems(watched.folder), /is no file/);
  assert.match(await problems(join(watched.folder, "none")), /none: .*ENOENT/);
  await writeFile(watched.path, Buffer.alloc(MOST_FILE_BYTES + 1, " "));
  assert.match(await problems(watched.path), /is larger than 16777216 bytes/);
  await writeFile(watched.path, Buffer.from([0x7b, 0xff, 0x7d]));
  assert.match(await problems(watched.path), /routes\.json:1:2: is not UTF-8/);
  await writeFile(watched.path, Buffer.concat([Buffer.from("\uFEFF# ü \uFFFD\n# 𝄞 "), Buffer.from([0xfc, 0x0a])]));
  assert.match(await problems(watched.path), /routes\.json:2:6: is not UTF-8/);
});
