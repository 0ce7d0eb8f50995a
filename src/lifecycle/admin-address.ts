/** Where one generation answers operators: opened when it is its turn, closed together with the streams that would hold it up. */
import type { AdminApp } from "../admin/app.ts";
import type { Log } from "../observation/log.ts";
import { type FetchServer, serveFetch } from "../runtime/serve.ts";
import type { Settings } from "./settings.ts";

export class AdminAddress {
  readonly #address: Settings["adminAddr"];
  readonly #log: Log;
  readonly #closing = new AbortController();
  #server: FetchServer | null = null;

  constructor({ adminAddr }: Pick<Settings, "adminAddr">, log: Log) {
    this.#address = adminAddr;
    this.#log = log;
  }

  /** Aborted when it closes. */
  get closing(): AbortSignal {
    return this.#closing.signal;
  }

  get isOpen(): boolean {
    return this.#server !== null;
  }

  /** `beside`: another generation may have it, and goes on until it closes. Rejects when it is taken by somebody else. */
  async open(app: AdminApp, beside: boolean): Promise<void> {
    if (this.#address === null) return;
    this.#server = await serveFetch({
      ...this.#address,
      beside,
      fetch: (request, client) => app.fetch(request, { client: client ?? "" }),
    });
    this.#log.info("admin listening", { address: this.#address.host, "admin_port": this.#server.port });
  }

  /** Nobody waits for who only watches. `succeeded`: the next generation answers here, too, and should be the only one. */
  async close(how: { readonly succeeded?: boolean } = {}): Promise<void> {
    this.#closing.abort();
    await this.#server?.close(how);
  }
}
