/** Against the server itself: there is no other truth about what it computes. */
import assert from "node:assert/strict";
import { after, before, it } from "node:test";
import { hashText } from "../../src/sources/postgres-hash.ts";
import { startPostgres, type TestDatabase } from "../fixtures/postgres.ts";
import { Random } from "../fuzz/random.ts";

let server: TestDatabase;
before(async () => {
  server = await startPostgres();
});
after(async () => {
  await server[Symbol.asyncDispose]();
});

async function assertSame(texts: readonly string[]): Promise<void> {
  const rows = await server.sql(
    "select hashtext(text collate \"C\") as hash from unnest(string_to_array($1, E'\\n')) with ordinality as texts (text, at) order by at",
    [texts.join("\n")],
  );
  const expected = rows.map((row) => Number(row["hash"]) >>> 0);
  assert.equal(expected.length, texts.length);
  texts.forEach((text, at) => assert.equal(hashText(text), expected[at], JSON.stringify(text)));
}

it("hashText() is the server's hashtext at every length", async () => {
  const texts = Array.from({ length: 300 }, (_, length) => "app-1.example.com/".repeat(20).slice(0, length));
  await assertSame(["x", ...texts]);
});

it("hashText() is the server's hashtext for names of all kinds", async () => {
  const random = new Random(7);
  const letters = ["a", "b", "z", "0", ".", "-", "ü", "ß", "本", "🦊", "\u0001", "\u007f", "\u0080", "\u07ff", "\u0800", "\uffff"];
  await assertSame(Array.from({ length: 3000 }, () => {
    return Array.from({ length: 1 + random.int(40) }, () => letters[random.int(letters.length)]!).join("");
  }));
});
