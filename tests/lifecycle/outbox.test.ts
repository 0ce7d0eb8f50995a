/** What a worker keeps and sends of single exchanges, while it is read and while it is not. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Outbox } from "../../src/lifecycle/outbox.ts";
import type { Seen } from "../../src/lifecycle/worker-channel.ts";
import { exchangeReport } from "../fixtures/exchange-report.ts";

const SPANS = { parent: "", server: "1111111111111111", client: "2222222222222222" };

/** Until the condition holds, at most 30 s. */
async function until(condition: () => boolean): Promise<void> {
  for (let i = 0; i < 3000 && !condition(); i++) await new Promise((resolve) => setTimeout(resolve, 10));
  assert.ok(condition());
}

test("what does not fit until the next message is counted, by number and by length", () => {
  const sent: Seen[] = [];
  const outbox = new Outbox((seen) => sent.push(seen));
  const offer = (report: ReturnType<typeof exchangeReport>): void => {
    if (outbox.wantsError("vm")) outbox.error(report);
    if (outbox.wantsTraced(2)) outbox.traced({ report, spans: SPANS });
  };
  for (let i = 0; i < 600; i++) offer(exchangeReport());
  outbox.flush();
  for (let i = 0; i < 600; i++) offer(exchangeReport({ target: `/${"x".repeat(8191)}` }));
  outbox.flush();
  const [many, long] = sent as [Seen, Seen];
  assert.deepEqual([many.errors.length, many.errorsLost.vm, many.traced.length, many.spansLost], [50, 550, 500, 200]);
  assert.ok(long.errors.length <= 65 && long.traced.length <= 65, "half a million characters of targets");
  assert.deepEqual([long.errors.length + long.errorsLost.vm, long.traced.length + long.spansLost / 2], [600, 600]);
});

test("errors by one do not keep out those by another", () => {
  const sent: Seen[] = [];
  const outbox = new Outbox((seen) => sent.push(seen));
  for (let i = 0; i < 8000; i++) {
    for (const blame of i % 1000 === 999 ? ["client", "vm"] as const : ["client"] as const) {
      if (outbox.wantsError(blame)) outbox.error(exchangeReport({ blame, target: "x".repeat(8192) }));
    }
  }
  outbox.flush();
  const [{ errors, errorsLost }] = sent as [Seen];
  assert.deepEqual(["client", "vm"].map((each) => errors.filter(({ blame }) => blame === each).length), [20, 8]);
  assert.deepEqual(errorsLost, { client: 7980, vm: 0, region: 0, edge: 0, database: 0 });
});

test("nothing piles up for a control plane that is not heard; when it is, it is sent what was kept", async () => {
  let messages = 0;
  const outbox = new Outbox(() => messages++);
  const send = (): void => {
    outbox.error(exchangeReport());
    outbox.flush();
  };
  for (let i = 0; i < 20; i++) send();
  outbox.error(exchangeReport());
  let looks = 0;
  const watch = setInterval(() => looks++, 100);
  await until(() => looks >= 6);
  clearInterval(watch);
  assert.equal(messages, 20);
  outbox.heard();
  await until(() => messages === 21);
});
