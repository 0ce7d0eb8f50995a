/*  The whole proxy in one process: both planes, the admin address, readiness, and their ends.
 *
 *            start                 first table               drain
 *   created -------> starting ------------------> ready ----------------> draining ---> stopped    final
 *                        '-------------------------------------------------^
 */
import { adminApp } from "../admin/app.ts";
import { AccessLog } from "../observation/access-log.ts";
import type { Log } from "../observation/log.ts";
import { type FetchServer, serveFetch } from "../runtime/serve.ts";
import { socketDoors } from "../runtime/sockets.ts";
import { adminDependencies } from "./admin-dependencies.ts";
import { ControlPlane } from "./control-plane.ts";
import type { Settings } from "./settings.ts";
import { inProcessChannel } from "./worker-channel.ts";
import { Worker } from "./worker.ts";

export class Proxy {
  readonly control: ControlPlane;
  readonly #settings: Settings;
  readonly #log: Log;
  readonly #accessLog: AccessLog;
  readonly #worker: Worker;
  #admin: FetchServer | null = null;
  #draining = false;

  constructor(settings: Settings, log: Log) {
    const channel = inProcessChannel();
    this.#settings = settings;
    this.#log = log;
    this.#accessLog = new AccessLog({ share: settings.accessLogShare });
    this.control = new ControlPlane(settings, channel.control, log);
    this.#worker = new Worker(settings, channel.worker, log, this.#accessLog);
  }

  get draining(): boolean {
    return this.#draining;
  }

  /** Opens both addresses and begins to read routes; until the first table requests get 503. Rejects when an address is taken. */
  async start(): Promise<void> {
    const { adminAddr, httpAddr } = this.#settings;
    const port = await this.#worker.listen();
    this.#log.info("listening", { address: httpAddr.host, "http_port": port, sockets: socketDoors()[0]?.name });
    if (adminAddr !== null) {
      const app = adminApp(adminDependencies(this.control, this.#settings, this.#log, () => this.#draining));
      this.#admin = await serveFetch({ host: adminAddr.host, port: adminAddr.port, fetch: (request) => app.fetch(request) });
      this.#log.info("admin listening", { address: adminAddr.host, "admin_port": this.#admin.port });
    }
    this.control.start();
  }

  /** Readiness turns false at once; resolves when everything is closed. Answers how many exchanges were cut. */
  async stop(): Promise<number> {
    this.#draining = true;
    const cut = await this.#worker.drain(this.#settings.shutdownTimeoutMs);
    await this.control.close();
    await this.#admin?.close();
    this.#accessLog.close();
    return cut;
  }
}
