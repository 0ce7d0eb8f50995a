/** Where one generation answers operators: opened when it is its turn, closed together with the streams that would hold it up. */
import type { AdminApp } from "../admin/app.ts";
import { UNIX_CLIENT } from "../admin/auth.ts";
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
    const address = this.#address;
    if (address === null) return;
    const isUnix = "path" in address;
    this.#server = await serveFetch({
      ...address,
      beside,
      // By our address, not by what is missing of theirs: who has left already has none either
      fetch: (request, client) => app.fetch(request, { client: isUnix ? UNIX_CLIENT : client ?? "" }),
    });
    const where = isUnix ? { address: `unix:${address.path}` } : { address: address.host, "admin_port": this.#server.port };
    this.#log.info("admin listening", where);
  }

  /** Unless who has it is a generation on its way out (`left`): of the one that took over from that, only orphans may be left. */
  async openAlone(app: AdminApp, left: () => boolean): Promise<void> {
    try {
      await this.open(app, false);
    } catch (error) {
      if ((error as { code?: unknown }).code !== "EADDRINUSE" || !left()) throw error;
      await this.open(app, true);
    }
  }

  /** Nobody waits for who only watches. `succeeded`: the next generation answers here, too, and should be the only one. */
  async close(how: { readonly succeeded?: boolean } = {}): Promise<void> {
    this.#closing.abort();
    await this.#server?.close(how);
  }
}
