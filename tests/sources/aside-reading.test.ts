/** A large routes file is read by another process: what comes of it, and of whatever may happen to that process. */
import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import type { ChildOptions } from "../../src/runtime/child-process.ts";
import { READ_ROUTES_FILE, readByChild, tellReading } from "../../src/sources/aside-reading.ts";
import { type FileReading, readConfigFile } from "../../src/sources/file-reading.ts";
import { FakeTimers } from "../fixtures/fake-timers.ts";
import { HERE } from "../fixtures/records.ts";

let folder: string;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), "edgeproxy-aside-"));
});
after(() => rm(folder, { recursive: true }));

/** The other end in this process; what goes between is JSON, as between processes. */
class Pair {
  readonly sent: { readonly type: string; readonly routes?: readonly unknown[]; readonly text?: string }[] = [];
  killed = "";
  #receive: (message: unknown) => void = () => {};

  readonly start = ({ parameters: [word, path = "", regionId = ""], onMessage, onExit }: ChildOptions) => {
    assert.equal(word, READ_ROUTES_FILE);
    const deliver = (message: unknown, to: (message: unknown) => void) =>
      void setImmediate(() => to(JSON.parse(JSON.stringify(message))));
    void tellReading(path, regionId, {
      send: (message) => {
        this.sent.push(message as typeof this.sent[number]);
        deliver(message, onMessage);
      },
      onMessage: (receive) => this.#receive = receive,
      onClose: () => {},
    }).then(() => onExit("exit code 0"));
    return { send: (message: unknown) => deliver(message, this.#receive), kill: (signal: string) => this.killed = signal };
  };
}

async function written(name: string, text: string): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, text);
  return path;
}

function aside(path: string, start: NonNullable<Parameters<typeof readByChild>[0]["start"]>, timers = new FakeTimers()) {
  const closing = new AbortController();
  const reading: Promise<FileReading | null> = readByChild({ path, regionId: HERE, timers, signal: closing.signal, start });
  return { reading, closing, timers };
}

/** Surrogate pairs lie across the cuts, wherever these are. */
function manyRoutes(count: number): string {
  const routes = Array.from({ length: count }, (_, i) => `  - { hosts: [h${i}.test], service: s${i % 120} }\n`);
  const services = Array.from({ length: 120 }, (_, i) => `  s${i}: { endpoints: [{ url: "http://10.0.0.${i}:80" }] }\n`);
  return `# ${"ä😀".repeat(50_000)}\nservices:\n${services.join("")}routes:\n${routes.join("")}`;
}

test("what another process has read is what this one would have read, and comes in pieces", async () => {
  const path = await written("many.yaml", manyRoutes(250));
  const pair = new Pair();
  const { reading } = aside(path, pair.start);
  const here = await readConfigFile(path, { regionId: HERE });
  assert.ok("policies" in here && here.policies.routes.length === 250 && here.text.length > 131_072);
  assert.deepEqual(await reading, here);
  assert.ok(pair.sent.every(({ routes = [], text = "" }) => routes.length <= 100 && text.length <= 65_536));
  assert.deepEqual([pair.sent[0]?.type, pair.sent.at(-1)?.type, pair.killed], ["begun", "good", ""]);
});

test("a file that is wrong, or none, has the same problems", async () => {
  for (const path of [await written("bad.yaml", "routes: [{ servce: a }, { path: b }]"), join(folder, "none.yaml")]) {
    const here = await readConfigFile(path, { regionId: HERE });
    assert.ok("problems" in here);
    assert.deepEqual(await aside(path, new Pair().start).reading, here);
  }
});

test("where no process can be started, there is no answer; one that dies on the way has taken the file for bad", async () => {
  const dying = (messages: readonly unknown[]) => ({ onMessage, onExit }: ChildOptions) => {
    setImmediate(() => {
      messages.forEach(onMessage);
      onExit("SIGKILL");
    });
    return { send: () => {}, kill: () => {} };
  };
  assert.equal(await aside("/routes.yaml", dying([])).reading, null);
  const part = { type: "part", text: "r", services: [], routes: [] };
  assert.deepEqual(await aside("/routes.yaml", dying([{ type: "begun" }, part])).reading, {
    problems: ["/routes.yaml: the process that read it has ended: SIGKILL"],
  });
});

test("a process that nobody waits for any more, or that does not come to an end, is killed", async () => {
  let killed = 0;
  const silent = () => ({ send: () => {}, kill: () => void killed++ });
  const closed = aside("/routes.yaml", silent);
  closed.closing.abort();
  assert.deepEqual(await closed.reading, { problems: ["/routes.yaml: is not needed any more"] });
  assert.equal(killed, 1);
  const slow = aside("/routes.yaml", silent);
  await slow.timers.advance(5 * 60_000);
  assert.deepEqual(await slow.reading, { problems: ["/routes.yaml: is not understood after 5 minutes"] });
  assert.deepEqual([killed, slow.timers.delays], [2, []]);
});
