/** What becomes of LISTEN where it fails: by a pooler's refusal for as long as there is one, by an accident not at all. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { migrateScript } from "../../src/sources/feed-schema.ts";
import { PostgresSource } from "../../src/sources/postgres.ts";
import { CollectingLog } from "../fixtures/collecting-log.ts";
import { createSchema, insertRegion, insertRoute, startPostgres, type TestDatabase } from "../fixtures/postgres.ts";
import { refusal, Relay } from "../fixtures/relay.ts";

const HERE = "11111111-1111-4111-8111-111111111111";
const never = new AbortController().signal;

let server: TestDatabase;
before(async () => {
  server = await startPostgres();
  await createSchema(server, { inet: true });
  await server.sql(migrateScript());
  await insertRegion(server, { id: HERE });
  await insertRoute(server, { name: "a.test", regionId: HERE, privateIp: "10.0.0.1", port: 80 });
});
after(async () => {
  await server[Symbol.asyncDispose]();
});

/** A source behind a relay that refuses LISTEN as long as `refuses` says so. */
class Scene implements AsyncDisposable {
  readonly log: CollectingLog = new CollectingLog();
  readonly source: PostgresSource;
  readonly #relay: Relay;
  refused = 0;

  private constructor(relay: Relay, refuses: (attempt: number) => ReturnType<typeof refusal> | null) {
    this.#relay = relay;
    relay.judge = (sent) => {
      const verdict = new TextDecoder().decode(sent).includes("listen edgeproxy_changes") ? refuses(this.refused + 1) : null;
      if (verdict !== null) this.refused++;
      return verdict;
    };
    const url = server.url.replace(`:${server.port}/`, `:${relay.port}/`);
    this.source = new PostgresSource({ url, here: { regionId: HERE, regionPort: 80 }, log: this.log });
  }

  static async start(refuses: (attempt: number) => ReturnType<typeof refusal> | null): Promise<Scene> {
    return new Scene(await Relay.start(server.port), refuses);
  }

  /** How many readings it takes until one succeeds. */
  async read(): Promise<number> {
    for (let attempt = 1;; attempt++) {
      try {
        const { routes } = await this.source.read({ whole: false }, never);
        assert.equal(routes.size, 1);
        return attempt;
      } catch (error) {
        if (attempt === 9) throw error;
      }
    }
  }

  /** As a pooler does from time to time. */
  async endSession(): Promise<void> {
    const ended = new Promise<void>((resolve) => this.source.onChange = resolve);
    this.#relay.reset();
    await ended;
  }

  get warnings(): string[] {
    return this.log.lines.filter(({ level }) => level === "warn").map(({ msg }) => msg);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.source.close();
    await this.#relay[Symbol.asyncDispose]();
  }
}

describe("PostgresSource that cannot listen", () => {
  it("asks the log in the next session, and tries again in the one after that", async () => {
    let refuses = true;
    await using scene = await Scene.start(() => refuses ? refusal("ERROR", "0A000") : null);
    assert.equal(await scene.read(), 1);
    assert.equal(scene.source.following, "change log");
    assert.equal(scene.refused, 1);
    await scene.endSession();
    assert.equal(await scene.read(), 1);
    assert.equal(scene.source.following, "change log");
    assert.deepEqual(scene.warnings, ["cannot listen for changes: their log is asked instead"]);
    refuses = false;
    await scene.endSession();
    await scene.read();
    assert.equal(scene.source.following, "notifications");
  });

  for (const [severity, sqlState] of [["FATAL", "57P01"], ["FATAL", "57P02"], ["ERROR", "53200"], ["ERROR", "57014"]] as const) {
    it(`listens in the next session when it was an accident: ${sqlState}`, async () => {
      await using scene = await Scene.start((attempt) => attempt === 1 ? refusal(severity, sqlState) : null);
      await scene.read();
      assert.equal(scene.refused, 1);
      assert.equal(scene.source.following, "notifications");
      assert.deepEqual(scene.warnings, []);
    });
  }

  it("gives up where the accident happens each time", async () => {
    await using scene = await Scene.start(() => refusal("FATAL", "57P01"));
    assert.ok(await scene.read() < 9);
    assert.equal(scene.source.following, "change log");
    assert.deepEqual(scene.warnings, ["cannot listen for changes: their log is asked instead"]);
  });
});
