/** Which redirects a policy may ask for: never one whose host a client can choose. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { redirectProblem } from "../../src/sources/policy-schema-answers.ts";

test("redirectProblem() accepts URLs with variables behind their host", () => {
  for (
    const to of [
      "https://www.example.com{path}",
      "https://www.example.com:8443{path}?from={host}",
      "https://{host}{path}",
      "https://[2001:db8::1]{path}",
      "https://www.example.com/{query}",
      "https://www.example.com?from={path}",
      "/login?next={path}",
    ]
  ) assert.equal(redirectProblem(to), null, to);
});

test("redirectProblem() refuses where a client would choose the host", () => {
  for (
    const to of [
      "https://{header:X-Host}{path}",
      "https://www.example.com{query}",
      "https://{cookie:a}.example.com/",
      "//{host}/",
      "/{path}",
      "{query}",
      "https://{path}",
      "ftp://www.example.com{path}",
    ]
  ) assert.notEqual(redirectProblem(to), null, to);
});
