import { test } from "node:test";
import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { serveFetch } from "../../src/runtime/serve.ts";

class Folder implements Disposable {
  readonly name = mkdtempSync(join(tmpdir(), "edgeproxy-unix-"));
  readonly path = join(this.name, "admin.sock");

  serve(text: string, beside = false) {
    return serveFetch({ path: this.path, beside, fetch: (_request, client) => new Response(`${text} ${client}`) });
  }

  ask(): Promise<string> {
    return new Promise((resolve, reject) => {
      const asked = request({ socketPath: this.path, path: "/", agent: false }, (response) => {
        let text = "";
        response.setEncoding("utf8").on("data", (chunk) => text += chunk).on("end", () => resolve(text));
      });
      asked.on("error", reject).end();
    });
  }

  [Symbol.dispose](): void {
    rmSync(this.name, { recursive: true });
  }
}

test("serveFetch() serves at a path that only owner and group may use, and removes it", async () => {
  using folder = new Folder();
  const server = await folder.serve("one");
  assert.equal(await folder.ask(), "one null");
  assert.equal((statSync(folder.path).mode & 0o777).toString(8), "660");
  assert.deepEqual(readdirSync(folder.name), ["admin.sock"]);
  await server.close();
  assert.deepEqual(readdirSync(folder.name), []);
});

test("serveFetch() replaces a file that a killed process has left", async () => {
  using folder = new Folder();
  await new Promise<void>((resolve) => {
    const gone = createServer().listen(join(folder.name, "first"), () => {
      // A bound socket whose listener is gone: the file stays when it was renamed
      import("node:fs").then(({ renameSync }) => renameSync(join(folder.name, "first"), folder.path)).then(() =>
        gone.close(() => resolve())
      );
    });
  });
  assert.ok(existsSync(folder.path));
  const server = await folder.serve("two");
  assert.equal(await folder.ask(), "two null");
  await server.close();
});

test("serveFetch() refuses a path that belongs to others", async () => {
  using folder = new Folder();
  const other = await folder.serve("other");
  await assert.rejects(folder.serve("mine"), {
    message: `Cannot listen on "unix:${folder.path}": another program listens there`,
    code: "EADDRINUSE",
  });
  assert.equal(await folder.ask(), "other null");
  await other.close();
  writeFileSync(folder.path, "precious");
  await assert.rejects(folder.serve("mine"), /there is a file that is no socket/);
  assert.ok(statSync(folder.path).isFile());
});

test("serveFetch() beside another generation takes the path over, without a moment in which it leads nowhere", async () => {
  using folder = new Folder();
  const first = await folder.serve("first");
  let stopped = false;
  const answers = new Set<string>();
  const asking = (async () => {
    while (!stopped) answers.add(await folder.ask());
  })();
  const second = await folder.serve("second", true);
  assert.equal(await folder.ask(), "second null");
  await first.close({ succeeded: true });
  assert.equal(await folder.ask(), "second null", "the file is not removed with the first");
  stopped = true;
  await asking;
  assert.ok(answers.has("second null"));
  await second.close();
  assert.ok(!existsSync(folder.path));
});
