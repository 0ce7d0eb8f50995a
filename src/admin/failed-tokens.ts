/*  Wrong tokens, counted per client address: ten in a minute, then that address is refused unheard until the minute is over.
 *
 *  From an address that has shown the right token within the last day that one is always heard, so nobody is locked out by what others
 *  do: an attacker would have to share the address of an operator, and then only one who was not here lately waits. Wrong ones are refused
 *  there, too, but whoever hears the right one tells it from them: a token of some length does not mind. Who shows no token at all does
 *  not guess. IPv6 clients have a /64 at least, so that counts as one.
 */
const WINDOW_MS = 60_000;
const MOST_FAILURES = 10;
const REMEMBERED_MS = 24 * 3_600_000;
/** Addresses; beyond, the oldest are forgotten. */
const MOST_FAILING = 10_000;
const MOST_KNOWN = 1000;

interface Failures {
  count: number;
  readonly untilMs: number;
}

export class FailedTokens {
  readonly #nowMs: () => number;
  readonly #failures: Map<string, Failures> = new Map();
  /** When each last showed the right token. */
  readonly #known: Map<string, number> = new Map();

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  /** Seconds until this client may try tokens again; 0: it may. */
  refusedFor(client: string): number {
    const network = networkOf(client);
    const nowMs = this.#nowMs();
    const failures = this.#failures.get(network);
    if (failures === undefined || failures.count < MOST_FAILURES || nowMs >= failures.untilMs) return 0;
    return Math.ceil((failures.untilMs - nowMs) / 1000);
  }

  /** The right token came from there lately. */
  knows(client: string): boolean {
    return this.#nowMs() - (this.#known.get(networkOf(client)) ?? -Infinity) < REMEMBERED_MS;
  }

  /** Answers how many that are within the minute. */
  failed(client: string): number {
    const network = networkOf(client);
    const nowMs = this.#nowMs();
    let failures = this.#failures.get(network);
    if (failures === undefined || nowMs >= failures.untilMs) failures = { count: 0, untilMs: nowMs + WINDOW_MS };
    failures.count++;
    putLast(this.#failures, network, failures, MOST_FAILING);
    return failures.count;
  }

  passed(client: string): void {
    putLast(this.#known, networkOf(client), this.#nowMs(), MOST_KNOWN);
  }
}

function putLast<Value>(map: Map<string, Value>, key: string, value: Value, most: number): void {
  map.delete(key);
  map.set(key, value);
  if (map.size > most) map.delete(map.keys().next().value!);
}

/** The address, or the first half of an IPv6 address. */
function networkOf(client: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(client)?.[1];
  if (mapped !== undefined || !client.includes(":")) return mapped ?? client;
  const [left = "", right] = client.split("%")[0]!.split("::");
  const head = left === "" ? [] : left.split(":");
  const tail = right === undefined || right === "" ? [] : right.split(":");
  const groups = right === undefined ? head : [...head, ...Array(Math.max(0, 8 - head.length - tail.length)).fill("0"), ...tail];
  return groups.slice(0, 4).map((group) => Number.parseInt(group, 16).toString(16)).join(":");
}
