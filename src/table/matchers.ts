/** How values of requests are compared with what a route says. */
import { RE2JS } from "re2js";
import type { Matcher } from "./policy.ts";

/** Of a value as it came: each byte is one character. */
export type ValueTest = (value: string) => boolean;

/** Throws where a pattern is none of RE2's. */
export function compiledMatcher(matcher: Matcher): ValueTest {
  switch (matcher.kind) {
    case "equal":
      return (value) => asText(value) === matcher.value;
    case "prefix":
      return (value) => asText(value).startsWith(matcher.value);
    case "pattern": {
      const pattern = RE2JS.compile(matcher.pattern);
      return (value) => pattern.test(asText(value));
    }
    case "present":
      return () => true;
  }
}

/** Operators write UTF-8. */
function asText(value: string): string {
  for (let i = 0; i < value.length; i++) if (value.charCodeAt(i) > 0x7f) return Buffer.from(value, "latin1").toString("utf8");
  return value;
}
