/** How values of requests are compared with what a route says. */
import { RE2JS } from "re2js";
import type { Matcher, NamedMatcher } from "./policy.ts";
import type { Place, Subject } from "./subject.ts";

/** Without it no value passes: `text` is all of the value, or its beginning. */
export interface Wish {
  readonly whole: boolean;
  readonly text: string;
}

/** One condition of a route. */
export interface Condition {
  readonly place: Place;
  readonly name: string;
  readonly wish: Wish;
  readonly test: (value: string) => boolean;
}

/** Patterns are known to be good: sources have refused all others. */
export function conditionOf(place: Place, { name, matcher }: NamedMatcher): Condition {
  return { place, name, wish: wishOf(matcher), test: testOf(matcher) };
}

/** Of several values of that name one suffices. */
export function holds({ place, name, test }: Condition, subject: Subject): boolean {
  const values = subject.values(place, name);
  for (const value of values) if (test(value)) return true;
  return false;
}

/** `header x-env is "beta"`, for people. */
export function conditionText({ name, matcher }: NamedMatcher, place: Place): string {
  const what = `${place === "query" ? "parameter" : place} ${name}`.trimEnd();
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

function wishOf(matcher: Matcher): Wish {
  switch (matcher.kind) {
    case "equal":
      return { whole: true, text: matcher.value };
    case "prefix":
      return { whole: false, text: matcher.value };
    case "pattern":
      return { whole: false, text: fixedBeginning(matcher.pattern) };
    case "present":
      return { whole: false, text: "" };
  }
}

/** What any text that matches begins with, as far as that is easy to see: plain letters after `^`, and no alternatives anywhere. */
function fixedBeginning(pattern: string): string {
  const [, letters = "", next = ""] = /^\^([\w\-/:@=,;%&~ ]*)(.?)/.exec(pattern) ?? [];
  // Flags and empty quotes stand for nothing: in `ab(?s)*` and `ab+\Q\E*` the star is about the `b`
  if (/\||\(\?[\w-]*\)|\\Q/.test(pattern)) return "";
  return "*?{".includes(next) && next !== "" ? letters.slice(0, -1) : letters; // these are about the last letter, which may lack then
}

function testOf(matcher: Matcher): (value: string) => boolean {
  switch (matcher.kind) {
    case "equal":
      return (value) => value === matcher.value;
    case "prefix":
      return (value) => value.startsWith(matcher.value);
    case "pattern": {
      let pattern: RE2JS | null = null; // costs 0.1 ms; of a thousand routes few are asked
      return (value) => (pattern ??= RE2JS.compile(matcher.pattern)).test(value);
    }
    case "present":
      return () => true;
  }
}
