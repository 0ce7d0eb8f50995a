/** What is odd about a source: said once, and again only if things were well in between. */
import type { Log, LogFields } from "../observation/log.ts";

export class Complaints {
  readonly #log: Log | undefined;
  /** By message: the fields with which it was said. */
  readonly #said: Map<string, Set<string>> = new Map();

  constructor(log: Log | undefined) {
    this.#log = log;
  }

  say(level: "info" | "warn", msg: string, fields: LogFields = {}): void {
    const said = this.#said.get(msg) ?? new Set();
    const text = JSON.stringify(fields);
    if (said.has(text)) return;
    this.#said.set(msg, said.add(text));
    this.#log?.[level](msg, fields);
  }

  /** Once until things are well, whatever the fields: they differ each time. */
  sayOnce(level: "info" | "warn", msg: string, fields: LogFields): void {
    if (!this.#said.has(msg)) this.say(level, msg, fields);
  }

  /** Things are well. */
  settle(...msgs: readonly string[]): void {
    for (const msg of msgs) this.#said.delete(msg);
  }
}
