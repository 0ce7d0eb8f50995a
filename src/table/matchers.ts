/** How values of requests are compared with what a route says. */
import { RE2JS } from "re2js";
import type { Matcher, NamedMatcher } from "./policy.ts";
import type { Place, Subject } from "./subject.ts";

/** One condition of a route. */
export interface Condition {
  readonly place: Place;
  readonly name: string;
  /** The value that it has to have; null: another kind of matcher. */
  readonly equal: string | null;
  readonly test: (value: string) => boolean;
}

/** Throws where a pattern is none of RE2's. */
export function conditionOf(place: Place, { name, matcher }: NamedMatcher): Condition {
  return { place, name, equal: matcher.kind === "equal" ? matcher.value : null, test: testOf(matcher) };
}

/** Of several values of that name one suffices. */
export function holds({ place, name, test }: Condition, subject: Subject): boolean {
  const values = subject.values(place, name);
  for (const value of values) if (test(value)) return true;
  return false;
}

/** `header x-env is "beta"`, for people. */
export function conditionText({ name, matcher }: NamedMatcher, place: Place): string {
  const what = `${place === "query" ? "parameter" : place} ${name}`;
  switch (matcher.kind) {
    case "equal":
      return `${what} is "${matcher.value}"`;
    case "prefix":
      return `${what} begins with "${matcher.value}"`;
    case "pattern":
      return `${what} matches ${matcher.pattern}`;
    case "present":
      return `${what} is there`;
  }
}

function testOf(matcher: Matcher): (value: string) => boolean {
  switch (matcher.kind) {
    case "equal":
      return (value) => value === matcher.value;
    case "prefix":
      return (value) => value.startsWith(matcher.value);
    case "pattern": {
      const pattern = RE2JS.compile(matcher.pattern);
      return (value) => pattern.test(value);
    }
    case "present":
      return () => true;
  }
}
