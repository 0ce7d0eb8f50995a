/** What operators have decided besides the settings: cordons, orders of routes and services, log level, error pages. It holds in every worker, as standing orders. */
import type { EventLog } from "../observation/event-log.ts";
import type { AdjustableLog, LogLevel } from "../observation/log.ts";
import { systemTimers } from "../runtime/timers.ts";
import { cordonFile } from "./cordon-file.ts";
import { Cordons } from "./cordons.ts";
import { type ErrorPageFiles, readErrorPages } from "./error-page-folder.ts";
import { KeptOrders } from "./kept-orders.ts";
import { LogLevelOrder } from "./log-level-order.ts";
import { orderFile } from "./order-file.ts";
import { PolicyOrders } from "./policy-orders.ts";
import type { Settings } from "./settings.ts";
import { NO_ORDERS, type StandingOrders } from "./worker-channel.ts";

export interface SteeringOptions {
  readonly settings: Settings;
  readonly log: AdjustableLog;
  readonly events: EventLog;
  /** Of the settings' folder. */
  readonly pages: ErrorPageFiles;
  /** `orders` are others now. */
  readonly changed: () => void;
  /** Resolves when every worker that answers has them. */
  readonly obeyed: () => Promise<unknown>;
}

export class Steering {
  readonly cordons: Cordons;
  /** Of routes and services. */
  readonly policyOrders: PolicyOrders;
  readonly logLevel: LogLevelOrder;
  readonly #options: SteeringOptions;
  #orders: StandingOrders;
  /** How often the folder of the error pages has been read. */
  #pagesReadings = 0;

  constructor(options: SteeringOptions) {
    const { settings, log } = options;
    this.#options = options;
    this.#orders = { ...NO_ORDERS, errorPages: { revision: 1, files: options.pages } };
    this.logLevel = new LogLevelOrder({
      configured: settings.logLevel,
      apply: (logLevel) => this.#setLogLevel(logLevel),
      log,
      timers: systemTimers,
    });
    this.cordons = this.#createCordons();
    this.policyOrders = this.#createPolicyOrders();
  }

  /** In force, or about to be. */
  get orders(): StandingOrders {
    return this.#orders;
  }

  /** What was decided before, and kept. */
  async load(): Promise<void> {
    await Promise.all([this.cordons.load(), this.policyOrders.load()]);
  }

  /** A successor decides now. */
  retire(): void {
    this.cordons.retire();
    this.policyOrders.retire();
  }

  /** What the configuration says counts again, and what the error pages say now. */
  async reload(reason: string): Promise<void> {
    this.logLevel.reset(reason);
    await this.#readErrorPages();
  }

  close(): void {
    this.logLevel.close();
  }

  #order(changes: Partial<StandingOrders>): void {
    this.#orders = { ...this.#orders, ...changes };
    this.#options.changed();
  }

  #setLogLevel(logLevel: LogLevel | null): void {
    const { settings, log } = this.#options;
    log.level = logLevel ?? settings.logLevel;
    this.#order({ logLevel });
  }

  /** Wrong ones change nothing. */
  async #readErrorPages(): Promise<void> {
    const { settings: { errorPages: folder }, log, obeyed } = this.#options;
    if (folder === "") return;
    const reading = ++this.#pagesReadings;
    const read = await readErrorPages(folder);
    if (reading !== this.#pagesReadings) return; // a later one knows better
    if ("problems" in read) return log.error("error pages stay as they were", { folder, problems: read.problems });
    this.#order({ errorPages: { revision: this.#orders.errorPages.revision + 1, files: read.pages } });
    await obeyed();
    log.info("error pages changed", { folder, pages: Object.keys(read.pages).length });
  }

  #createPolicyOrders(): PolicyOrders {
    const { settings: { stateDir, regionId }, log } = this.#options;
    return new PolicyOrders({
      kept: new KeptOrders(stateDir === "" ? null : orderFile(stateDir, regionId), "orders", log),
      log,
      changed: () => this.#order({ policies: this.policyOrders.list() }),
    });
  }

  #createCordons(): Cordons {
    const { settings: { stateDir, regionId }, log, events } = this.#options;
    return new Cordons({
      kept: new KeptOrders(stateDir === "" ? null : cordonFile(stateDir, regionId), "cordons", log),
      log,
      timers: systemTimers,
      changed: () => this.#order({ cordoned: this.cordons.list().map(({ key, untilAtMs }) => ({ key, untilAtMs })) }),
      expired: ({ key: subject, reason, by }) => {
        const details = { reason, "cordoned_by": by };
        events.publish({ type: "audit", action: "cordon-expired", subject, details, by: "edgeproxy", succeeded: true });
      },
    });
  }
}
