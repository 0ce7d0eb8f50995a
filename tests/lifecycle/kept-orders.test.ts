/** What is kept of operators' orders: written in turn, and never in the way of serving. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { KeptOrders } from "../../src/lifecycle/kept-orders.ts";
import { CollectingLog } from "../fixtures/collecting-log.ts";

/** A file whose writings take until they are let go. */
class SlowFile {
  readonly path = "orders.json";
  readonly written: (readonly string[])[] = [];
  #done: () => void = () => {};

  read(): Promise<readonly string[]> {
    return Promise.resolve(this.written.at(-1) ?? []);
  }

  write(orders: readonly string[]): Promise<void> {
    this.written.push(orders);
    return new Promise((resolve) => this.#done = resolve);
  }

  letGo(): void {
    this.#done();
  }
}

test("KeptOrders writes one list after the other, each as it is then", async () => {
  const file = new SlowFile();
  const kept = new KeptOrders<string>(file, "orders", new CollectingLog());
  let orders = ["first"];
  const first = kept.write(() => orders);
  await Promise.resolve();
  orders = ["second"];
  const second = kept.write(() => orders);
  const third = kept.write(() => orders);
  orders = ["third"];
  assert.deepEqual(file.written, [["first"]]);
  file.letGo();
  await first;
  await Promise.resolve();
  assert.deepEqual(file.written, [["first"], ["third"]]);
  kept.retire();
  file.letGo();
  await Promise.all([second, third]);
  assert.deepEqual(file.written, [["first"], ["third"]], "a successor has them: it alone writes");
});

test("KeptOrders says what it cannot read or write, and goes on", async () => {
  const log = new CollectingLog();
  const full = {
    path: "orders.json",
    read: () => Promise.reject(new Error("denied")),
    write: () => Promise.reject(new Error("disk full")),
  };
  const kept = new KeptOrders<string>(full, "orders", log);
  assert.equal(await kept.read(), null);
  await kept.write(() => ["one"]);
  await kept.write(() => ["two"]);
  assert.deepEqual(
    log.lines.map(({ level, msg, fields }) => [level, msg, fields["error"]]),
    [
      ["warn", "cannot read the orders, serving without", "denied"],
      ["warn", "cannot keep the orders, a restart would forget them", "disk full"],
      ["warn", "cannot keep the orders, a restart would forget them", "disk full"],
    ],
  );
});
