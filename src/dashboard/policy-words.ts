/** A service's policy in the words of the routes file: the API tells it as workers have it, in milliseconds and bytes. */

export type Words = readonly [key: string, values: readonly string[]];

type Value = readonly [name: string, value: unknown];

/** What is said of it, key by key; `hashKey` only where something is hashed. */
export function policyWords(policy: Readonly<Record<string, unknown>>): Words[] {
  const hashes = policy["balance"] === "consistent-hash";
  return Object.entries(policy)
    .filter(([key]) => key !== "hashKey" || hashes)
    .map(([key, value]): Value => key === "retry" && isMapping(value) ? [key, retryOf(value)] : [key, value])
    .map(([key, value]): Words => [key, isMapping(value) && !isKey(value) ? valuesOf(value) : [textOf(["", value])]])
    .filter(([, values]) => values.some((value) => value !== ""));
}

function valuesOf(mapping: Readonly<Record<string, unknown>>): string[] {
  return Object.entries(mapping).flatMap((entry): string[] => {
    const text = textOf(entry);
    return text === "" ? [] : [`${nameOf(entry)} ${text}`];
  });
}

/** The file has causes and statuses in one list. */
function retryOf({ on, statuses, ...others }: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const { attempts, ...rest } = others;
  return { attempts, on: [on, statuses].flat(), ...rest };
}

/** As the file spells it. */
function nameOf([name]: Value): string {
  if (name === "ca") return "caFile";
  if (name === "startAtMs") return "start";
  return name.replace(/Ms$/, "").replace(/Bytes$/, "Size");
}

/** Empty: nothing is said. */
function textOf([name, value]: Value): string {
  if (value === null || (Array.isArray(value) && value.length === 0)) return "";
  if (name === "ca") return "given"; // its contents are long
  if (typeof value === "number") {
    if (name === "startAtMs") return new Date(value).toISOString();
    if (name.endsWith("Ms")) return inUnits(value, DURATIONS);
    return name.endsWith("Bytes") ? inUnits(value, SIZES) : String(value);
  }
  if (Array.isArray(value)) return value.map((each) => Array.isArray(each) ? each.join(": ") : textOf(["", each])).join(", ");
  if (!isMapping(value)) return String(value);
  if (isKey(value)) return value["name"] === undefined ? value["kind"] : `${value["kind"]}:${value["name"]}`;
  const { from, to } = value;
  if (from !== undefined) return from === to ? String(from) : `${from}-${to}`;
  return valuesOf(value).join(", ");
}

const DURATIONS = [["h", 3_600_000], ["m", 60_000], ["s", 1000], ["ms", 1]] as const;
const SIZES = [["GiB", 2 ** 30], ["MiB", 2 ** 20], ["KiB", 1024], ["", 1]] as const;

/** In the largest unit of which it is a whole number. */
function inUnits(value: number, units: readonly (readonly [unit: string, size: number])[]): string {
  if (value === 0) return units === DURATIONS ? "0s" : "0";
  const [unit, size] = units.find(([, each]) => value % each === 0) ?? ["", 1];
  return `${value / size}${unit}`;
}

function isMapping(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** What is hashed or counted by. */
function isKey(value: Readonly<Record<string, unknown>>): value is { readonly kind: string; readonly name?: string } {
  return typeof value["kind"] === "string";
}
