/** The refresher under whatever may happen in any order: in the end it serves what the source says, with nobody asking. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Refresher } from "../../src/sources/refresh.ts";
import type { Following, Source, SourceReading } from "../../src/sources/source.ts";
import type { DomainPolicy } from "../../src/table/policy.ts";
import { type Routes, RoutesDraft } from "../../src/table/routes.ts";
import { Services } from "../../src/table/services.ts";
import { CollectingLog } from "../fixtures/collecting-log.ts";
import { FakeTimers, settle } from "../fixtures/fake-timers.ts";
import { vm } from "../fixtures/records.ts";
import { policiesOf, route, TakenPolicies } from "../fixtures/refresher-stage.ts";

const INTERVAL_MS = 10_000;
const services = new Services();
const SERVICES = Array.from({ length: 9 }, (_, i) => services.of([vm(`10.0.0.${i}`)]));

type Random = () => number;

function generator(seed: number): Random {
  let state = seed;
  return () => (state = (state * 48_271) % 2_147_483_647) / 2_147_483_647;
}

function oneOf<T>(random: Random, values: readonly T[]): T {
  return values[Math.floor(random() * values.length)]!;
}

function someRoutes(random: Random, like?: Routes): Routes {
  const draft = new RoutesDraft();
  for (let i = oneOf(random, [0, 5, 100, 300, 1000]); i > 0; i--) draft.put(`h${i}.test`, oneOf(random, SERVICES));
  return draft.finish(like);
}

/** Of the hosts that have routes, and of others. */
function somePolicies(random: Random): ReadonlyMap<string, DomainPolicy> {
  const count = oneOf(random, [0, 5, 100, 300, 1000]);
  return policiesOf(Array.from({ length: count }, (_, i) => route(`h${i}.test`)));
}

/** Fails, is slow, finds out by itself, and compares beside the readings or not: by chance. */
class FickleSource implements Source {
  readonly name = "fickle";
  readonly following: Following = "tables";
  readonly server = null;
  readonly comparedAtMs = null;
  readonly pollMs: number | null;
  readonly compare: Source["compare"];
  onChange: () => void = () => {};
  truth: Routes;
  policies: ReadonlyMap<string, DomainPolicy>;
  failing = false;
  readonly #random: Random;
  readonly #timers: FakeTimers;
  #compared = false;
  #readings = 0;
  #comparisons = 0;

  constructor(random: Random, timers: FakeTimers) {
    this.#random = random;
    this.#timers = timers;
    this.truth = someRoutes(random);
    this.policies = somePolicies(random);
    this.pollMs = oneOf(random, [null, 250, 1000]);
    this.compare = this.pollMs === null ? null : (signal) => this.#compare(signal);
  }

  async read({ whole }: { readonly whole: boolean }, signal: AbortSignal): Promise<SourceReading> {
    assert.equal(++this.#readings, 1, "two readings at once");
    const { policies, truth } = this;
    try {
      await this.#pause(0.4, 40, signal);
      if (this.failing) throw new Error("gone");
    } finally {
      this.#readings--;
    }
    const everything = whole || this.compare === null || this.#compared || this.#random() < 0.1;
    this.#compared = false;
    // Told of a change during the reading, it says what was before or what is now
    const routes = oneOf(this.#random, [truth, this.truth]);
    const said = { policies: oneOf(this.#random, [policies, this.policies]), policyRows: new Map() };
    return { routes, allRoutes: routes, excluded: [], excludedCount: 0, regions: [], whole: everything, ...said };
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  async #compare(signal: AbortSignal): Promise<void> {
    assert.equal(++this.#comparisons, 1, "two comparisons at once");
    try {
      await this.#pause(0.5, 3000, signal);
      if (this.failing || this.#random() < 0.4) throw new Error("no second session");
      this.#compared = true;
    } finally {
      this.#comparisons--;
    }
  }

  async #pause(chance: number, mostMs: number, signal: AbortSignal): Promise<void> {
    if (this.#random() >= chance) return;
    await new Promise<void>((resolve, reject) => {
      this.#timers.after(this.#random() * mostMs, resolve);
      signal.addEventListener("abort", () => reject(signal.reason));
    });
  }
}

function fickleFile(random: Random, timers: FakeTimers) {
  const header = { region: "", regionPort: 80, savedAtMs: 0, asOfMs: 1, revision: 1, routes: 1, source: "fickle" };
  const read = async () => {
    await new Promise<void>((resolve) => timers.after(random() * 600, resolve));
    return random() < 0.5 ? null : { header, routes: someRoutes(random) };
  };
  return { read, keep: () => {} };
}

function happen(random: Random, source: FickleSource, refresher: Refresher): void {
  const kind = random();
  if (kind < 0.35) {
    if (random() < 0.7) source.truth = someRoutes(random, source.truth);
    else source.policies = somePolicies(random);
    if (random() < 0.7) source.onChange();
  } else if (kind < 0.45) source.onChange();
  else if (kind < 0.55) source.failing = random() < 0.5;
  else if (kind < 0.62) void refresher.refreshNow("test");
  else if (kind < 0.66) void refresher.pin(Math.ceil(random() * 5), Math.ceil(random() * 20_000));
  else if (kind < 0.69) void refresher.unpin();
  else if (kind < 0.72) refresher.suspect("test");
}

test("whatever happened, the served table is what the source says, soon after the last of it", async () => {
  for (let seed = 1; seed <= 30; seed++) {
    const random = generator(seed * 7919);
    const timers = new FakeTimers();
    const source = new FickleSource(random, timers);
    const policies = new TakenPolicies();
    const refresher = new Refresher({
      source,
      policies,
      intervalMs: INTERVAL_MS,
      log: new CollectingLog(),
      timers,
      random,
      publish: () => {},
      ...random() < 0.4 && { lastGood: fickleFile(random, timers) },
    });
    refresher.start();
    for (let i = 0; i < 60; i++) {
      happen(random, source, refresher);
      await timers.advance(oneOf(random, [0, 1, 4, 30, 300, 3000, 11_000]));
    }
    source.failing = false;
    await refresher.unpin();
    await timers.advance(15 * INTERVAL_MS);
    const { truth } = source;
    const wrong = [...refresher.table.entries()].filter(([host, service]) => truth.get(host) !== service);
    assert.deepEqual([refresher.table.size, wrong.length], [truth.size, 0], `seed ${seed}`);
    assert.equal(policies.domains, source.policies, `seed ${seed}`);
    await refresher.stop();
    await settle();
  }
});
