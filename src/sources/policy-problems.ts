/*  What is wrong with a written policy, each with its place in it, and what is only strange about it. Zod's issues are put into words here:
 *  a key that nobody knows with the nearest that somebody knows, and of a value with several forms what is wrong with the one that was meant.
 */
import type { z } from "zod";
import { nearestOf } from "./nearest-name.ts";
import { treatmentKeys } from "./policy-schema-routes.ts";
import { endpointPolicyKeys } from "./policy-schema-services.ts";
import type { ValuePath } from "./placed-value.ts";

export interface PolicyProblem {
  readonly path: ValuePath;
  readonly message: string;
}

const MOST_KEYS_NAMED = 30;
/** Of each kind. To find the place of one takes time, and nobody reads more. */
const MOST_KEPT = 1000;

export class PolicyProblems {
  readonly problems: PolicyProblem[] = [];
  /** Odd, but no reason to refuse anything. */
  readonly notes: PolicyProblem[] = [];

  add(path: ValuePath, message: string): void {
    if (this.problems.length < MOST_KEPT) this.problems.push({ path, message });
  }

  note(path: ValuePath, message: string): void {
    if (this.notes.length < MOST_KEPT) this.notes.push({ path, message });
  }

  /** null: it is not as the schema wants it, and that has been added. */
  read<Output>(schema: z.ZodType<Output>, value: unknown, path: ValuePath): Output | null {
    const read = schema.safeParse(value);
    if (read.success) return read.data;
    for (const issue of read.error.issues) this.#take(issue, value, path, []);
    return null;
  }

  /** `at`: below `path`, the part that the issue's own path is relative to. */
  #take(issue: z.core.$ZodIssue, root: unknown, path: ValuePath, at: ValuePath): void {
    const inside = [...at, ...issue.path as (string | number)[]];
    const here = [...path, ...inside];
    switch (issue.code) {
      case "unrecognized_keys":
        for (const key of issue.keys) this.add([...here, key], unknownKey(key, issue.message.split(" ")));
        return;
      case "invalid_union":
        return this.#takeUnion(issue, root, path, inside);
      case "invalid_key":
        return this.add(here, issue.issues[0]?.message ?? "is no name for this");
      case "invalid_type":
        // Ours begin like that.
        if (issue.message.startsWith("must ")) return this.add(here, `${issue.message}, not ${describe(valueAt(root, inside))}`);
        return this.add(here, typeProblem([issue.expected], valueAt(root, inside)));
      case "invalid_value":
        return this.add(here, choiceProblem(issue.values.map(String), valueAt(root, inside)));
      case "too_small":
        return this.add(here, `must be ${boundOf(issue.origin, "at least", Number(issue.minimum))}`);
      case "too_big":
        return this.add(here, `must be ${boundOf(issue.origin, "at most", Number(issue.maximum))}`);
      default:
        return this.add(here, `${issue.message}${quotedScalar(valueAt(root, inside))}`);
    }
  }

  /** Of the forms, the one whose type the value has. */
  #takeUnion(issue: z.core.$ZodIssueInvalidUnion, root: unknown, path: ValuePath, inside: ValuePath): void {
    const meant = issue.errors.find((issues) => !issues.some((each) => each.code === "invalid_type" && each.path.length === 0));
    if (meant !== undefined) {
      for (const each of meant) this.#take(each, root, path, inside);
      return;
    }
    const expected = issue.errors.flatMap((issues) =>
      issues.flatMap((each) => each.code === "invalid_type" ? [each.expected] : [])
    );
    this.add([...path, ...inside], typeProblem(expected, valueAt(root, inside)));
  }
}

/** `routes[2].split`. */
export function placeName(path: ValuePath): string {
  let name = "";
  for (const step of path) {
    if (typeof step === "number") name += `[${step}]`;
    else if (/^[A-Za-z0-9_-]+$/.test(step)) name += name === "" ? step : `.${step}`;
    else name += `[${JSON.stringify(step.length > 80 ? `${step.slice(0, 80)}…` : step)}]`;
  }
  return name;
}

function unknownKey(key: string, known: readonly string[]): string {
  if (known.includes("methods") && Object.hasOwn(endpointPolicyKeys, key)) return "is a key of a service, not of a route";
  if (known.includes("endpoints") && Object.hasOwn(treatmentKeys, key)) return "is a key of a route, not of a service";
  const nearest = nearestOf(key, known);
  if (nearest !== null) return `unknown key, did you mean ${nearest}?`;
  return `unknown key, known are ${known.slice(0, MOST_KEYS_NAMED).join(", ")}`;
}

const VARIABLE = /^[a-z_]+(:[\w-]+)?$/;
const TYPE_WORDS: Readonly<Record<string, string>> = {
  string: "a text",
  number: "a number",
  int: "a whole number",
  boolean: "true or false",
  object: "a mapping",
  record: "a mapping",
  array: "a list",
};

function typeProblem(expected: readonly string[], value: unknown): string {
  const words = [...new Set(expected.map((each) => TYPE_WORDS[each] ?? each))];
  if (value === undefined) return `is missing: ${words.join(" or ")}`;
  const quoting = words.includes("a text") && isUnquoted(value, words.includes("a number")) ? ": put it in quotes" : "";
  return `must be ${words.join(" or ")}, not ${describe(value)}${quoting}`;
}

/** What YAML has read as something else than a text, such as `5`, `true` and `{path}`. */
function isUnquoted(value: unknown, orNumber: boolean): boolean {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) {
    const parts = Object.entries(value);
    return parts.length === 1 && parts[0]![1] === null && VARIABLE.test(parts[0]![0]);
  }
  return typeof value === "boolean" || typeof value === "number" && !orNumber;
}

function choiceProblem(values: readonly string[], value: unknown): string {
  const nearest = typeof value === "string" ? nearestOf(value, values) : null;
  const hint = nearest === null ? "" : `, did you mean ${nearest}?`;
  return `must be ${values.length === 1 ? values[0] : `one of ${values.join(", ")}`}${
    value === undefined ? "" : `, not ${describe(value)}`
  }${hint}`;
}

function boundOf(origin: string, word: string, bound: number): string {
  if (origin === "string") {
    return bound === 1 && word === "at least" ? "a text that is not empty" : `a text of ${word} ${bound} characters`;
  }
  if (origin === "array" || origin === "set") return `a list of ${word} ${bound}`;
  return `${word} ${bound}`;
}

function describe(value: unknown): string {
  if (value === null) return "empty";
  if (Array.isArray(value)) return "a list";
  if (typeof value === "object") return "a mapping";
  return typeof value === "string" ? JSON.stringify(shortened(value)) : String(value);
}

function quotedScalar(value: unknown): string {
  if (typeof value === "string") return ` (is ${JSON.stringify(shortened(value))})`;
  return typeof value === "number" ? ` (is ${value})` : "";
}

function shortened(text: string): string {
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}

function valueAt(root: unknown, path: ValuePath): unknown {
  let value = root;
  for (const step of path) {
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, step)) return undefined;
    value = (value as Record<string | number, unknown>)[step];
  }
  return value;
}
