/*  `edgeproxy demo`: the main job on sample data, with everything that it needs, and nothing left behind.
 *
 *  database -> VMs -> rows -> two edges, one per region -> one request per outcome -> the request log until Ctrl-C
 *
 *  Each step is pushed on one stack of things to dispose of, which is unwound whatever ends the demo: Ctrl-C, an edge that
 *  dies, a failure half way. What is still there when the process exits otherwise is removed by `exit` listeners.
 */
import { randomUUID } from "node:crypto";
import process from "node:process";
import type { Environment } from "../lifecycle/settings.ts";
import { onSignals } from "../runtime/signals.ts";
import { describeError } from "../sources/database-client.ts";
import { createTables } from "../sources/platform-tables.ts";
import { type DemoDatabase, openDemoDatabase } from "./demo-database.ts";
import { DemoEdge } from "./demo-edge.ts";
import { chooseLayout, type Layout } from "./demo-layout.ts";
import { canListen, freePort } from "./demo-ports.ts";
import { DOMAINS, outcomeLine, OUTCOMES, POLICY, readableLine, send } from "./demo-round.ts";
import { insertPolicy, insertSample } from "./demo-rows.ts";
import { SampleVm } from "./demo-vm.ts";
import { parseFlags } from "./flags.ts";
import { print, printError } from "./output.ts";

const USAGE = `Usage: edgeproxy demo [--once]

Runs edgeproxy on sample data: two regions, sample VMs, a PostgreSQL database. Ctrl-C ends and removes all of it.

  --once   end after the first round of requests; exit 0 if each had its expected outcome

The database is a scratch schema of EDGEPROXY_DATABASE_URL, else a server of its own.`;

const USUAL_ADMIN_PORT = 9090;

/** The exit code: 0 fine, 1 failed, 2 wrong usage. */
export async function runDemo(argv: readonly string[], env: Environment): Promise<number> {
  const flags = parseFlags(argv, { once: { type: "boolean" }, help: { type: "boolean", short: "h" } });
  if ("problem" in flags) return printError(`edgeproxy demo: ${flags.problem}\n\n${USAGE}`, 2);
  if (flags.help === true) {
    print(USAGE);
    return 0;
  }
  const ending = new Ending();
  const restoreSignals = onSignals({ SIGINT: ending.wish, SIGTERM: ending.wish, SIGHUP: ending.wish });
  try {
    const trouble = await play(flags.once === true, env, ending);
    if (trouble !== "") return printError(trouble, 1);
  } catch (error) {
    if (!ending.wished) return printError(`edgeproxy demo: ${describeError(error)}`, 1);
  } finally {
    restoreSignals();
  }
  if (ending.wished) print("\nEverything is removed.");
  return 0;
}

/** From the first step to the last thing disposed of; what went wrong, or no text. */
async function play(once: boolean, env: Environment, ending: Ending): Promise<string> {
  await using things = new AsyncDisposableStack();
  const stage = await setUp(things, env, ending);
  const surprises = await Promise.race([showRound(stage), ending.reason.then(() => 0)]);
  if (once) return surprises === 0 ? "" : `${surprises} requests did not have the expected outcome`;
  print("\nThe request log of both edges, live. Ctrl-C ends and removes all of this.\n");
  stage.showLog();
  return await ending.reason;
}

/** Why the demo ends: somebody wishes it (no text), or something broke. */
class Ending {
  readonly reason: Promise<string>;
  readonly #resolve: (reason: string) => void;
  #wishes = 0;

  constructor() {
    const { promise, resolve } = Promise.withResolvers<string>();
    this.reason = promise;
    this.#resolve = resolve;
  }

  get wished(): boolean {
    return this.#wishes > 0;
  }

  /** A signal; the second one ends the process at once, and `exit` listeners remove what they can. */
  readonly wish = (): void => {
    this.#wishes++;
    if (this.#wishes > 1) process.exit(130);
    this.#resolve("");
  };

  readonly breakOff = (reason: string): void => this.#resolve(reason);

  /** Between steps of the set-up: each has its own time limit, so a wish is heard soon. */
  check(): void {
    if (this.wished) throw new Error("Ended before everything stood");
  }
}

/** What stands once everything has been started. */
interface Stage {
  readonly here: DemoEdge;
  readonly there: DemoEdge;
  readonly database: DemoDatabase;
  readonly layout: Layout;
  /** Shows what the edges have logged so far and will log. */
  showLog(): void;
}

async function setUp(things: AsyncDisposableStack, env: Environment, ending: Ending): Promise<Stage> {
  print("Starting a database, sample VMs and an edge in each of two regions ...");
  const layout = await chooseLayout();
  const database = things.use(await openDemoDatabase(env));
  ending.check();
  const regions = { here: randomUUID(), there: randomUUID(), gone: randomUUID() };
  await fillDatabase(things, database, layout, regions);
  ending.check();

  const log = new EdgeLog();
  const common = { databaseUrl: database.url, onLoss: ending.breakOff };
  const usual = await canListen("127.0.0.1", USUAL_ADMIN_PORT);
  const here = DemoEdge.start({
    ...common,
    address: layout.here,
    adminPort: usual ? USUAL_ADMIN_PORT : await freePort(),
    region: regions.here,
    regionPort: layout.there.port,
    onLine: (line) => log.add("here", line),
  });
  const there = DemoEdge.start({
    ...common,
    address: layout.there,
    adminPort: await freePort(),
    region: regions.there,
    regionPort: layout.here.port,
    onLine: (line) => log.add("there", line),
  });
  const started = await Promise.allSettled([here, there]);
  for (const edge of started) if (edge.status === "fulfilled") things.use(edge.value);
  ending.check();
  return { here: await here, there: await there, database, layout, showLog: () => log.show() };
}

/** Tables, VMs, and the rows that lead from domains to VMs. */
async function fillDatabase(
  things: AsyncDisposableStack,
  database: DemoDatabase,
  layout: Layout,
  regions: Readonly<Record<"here" | "there" | "gone", string>>,
): Promise<void> {
  const start = async (host: string, name: string, healthy = true): Promise<{ privateIp: string; port: number }> => {
    const vm = things.use(await SampleVm.start(host, name, healthy));
    return { privateIp: vm.host, port: vm.port };
  };
  const shop = [await start(layout.vmHere, "shop VM 1"), await start(layout.vmHere, "shop VM 2")];
  const preview = await start(layout.vmHere, "preview VM");
  const broken = await start(layout.vmHere, "broken VM", false);
  const blog = await start(layout.vmThere, "blog VM in the other region");
  await database.run(createTables("inet"));
  await database.run(insertSample([
    { id: regions.here, publicIpv4: layout.here.host },
    { id: regions.there, publicIpv4: layout.there.host },
    { id: regions.gone, publicIpv4: layout.gone },
  ], [
    ...shop.map((vm) => ({ domain: DOMAINS.here, ...vm, region: regions.here })),
    { domain: DOMAINS.wildcard, ...preview, region: regions.here },
    { domain: DOMAINS.unhealthy, ...broken, region: regions.here },
    { domain: DOMAINS.there, ...blog, region: regions.there },
    { domain: DOMAINS.gone, ...blog, region: regions.gone },
  ]));
  await database.run(insertPolicy(DOMAINS.here, POLICY));
}

/** Prints where everything is, then each outcome as it really is; how many are not as expected. */
async function showRound({ here, there, database, layout }: Stage): Promise<number> {
  for (const remark of layout.remarks) print(remark);
  print(`
  database     ${database.description}
  this region  ${here.url}   dashboard ${here.adminUrl}/   also /metrics  /readyz  /api/routes
  the other    ${there.url}   dashboard ${there.adminUrl}/

Each has just been requested; try them yourself:
`);
  let surprises = 0;
  for (const outcome of OUTCOMES) {
    const got = await send(here.url, outcome);
    if (got !== outcome.status) surprises++;
    print(outcomeLine(here.url, outcome, got));
  }
  if (database.change !== "") print(`\nRoutes follow the database within a second:\n\n  ${database.change}`);
  return surprises;
}

/** Lines of both edges: kept while the demo says other things, then shown as they come. */
class EdgeLog {
  #kept: string[] = [];
  #live = false;

  add(edge: string, line: string): void {
    const readable = readableLine(edge, line);
    if (readable === null) return;
    if (this.#live) print(readable);
    else this.#kept.push(readable);
  }

  show(): void {
    this.#live = true;
    for (const line of this.#kept.splice(0)) print(line);
  }
}
