/** Error pages for people: which one, and what is put into it. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { ErrorPages, type PageFacts, pageNames, PLACEHOLDERS, unknownPlaceholders } from "../../src/downstream/error-page.ts";
import { ANSWER_CODES, CODES } from "../../src/observation/proxy-error.ts";

const FACTS: PageFacts = { blame: "vm", requestId: "an-id", host: "app.test" };

test("ErrorPages takes the nearest page that there is", () => {
  const left: Record<string, string> = { "vm_unhealthy": "a", 503: "b", "5xx": "c", error: "d" };
  assert.deepEqual(pageNames("vm_unhealthy"), ["vm_unhealthy", "503", "5xx", "error"]);
  for (const name of pageNames("vm_unhealthy")) {
    assert.equal(new ErrorPages(left).page("vm_unhealthy", FACTS), left[name]);
    delete left[name];
  }
  assert.match(new ErrorPages(left).page("vm_unhealthy", FACTS), /^<!doctype html>/);
  const pages = new ErrorPages({ "4xx": "four", 502: "gateway" });
  assert.deepEqual([pages.page("no_route", FACTS), pages.page("connect_failed", FACTS)], ["four", "gateway"]);
  assert.match(pages.page("internal", FACTS), /^<!doctype html>/);
});

test("ErrorPages puts in every value, as often as it is named", () => {
  const text = PLACEHOLDERS.map((name) => `${name}={{${name}}}`).join("|");
  assert.equal(
    new ErrorPages({ error: `${text}|{{ status }}{{status}}` }).page("vm_unhealthy", FACTS),
    "status=503|reason=Service Unavailable|message=Service Unavailable - VM not responding|" +
      `meaning=${CODES.vm_unhealthy.meaning}|code=vm_unhealthy|blame=vm|request_id=an-id|host=app.test|503503`,
  );
  assert.equal(
    new ErrorPages({ error: "{{}} {status} {{ 1 }} $& $1 {{{code}}}" }).page("loop", FACTS),
    "{{}} {status} {{ 1 }} $& $1 {loop}",
  );
});

test("ErrorPages escapes every value, and puts none of them in twice", () => {
  const hostile = `<script>"'\`&{{code}}`;
  const page = new ErrorPages({ error: `<p title="{{host}}">{{request_id}}</p>` }).page("no_route", {
    blame: "client",
    requestId: hostile,
    host: hostile,
  });
  const escaped = "&lt;script&gt;&quot;&#39;&#96;&amp;{{code}}";
  assert.equal(page, `<p title="${escaped}">${escaped}</p>`);
  const own = new ErrorPages().page("no_route", { ...FACTS, requestId: hostile });
  assert.ok(own.includes(escaped) && !own.includes("<script>"));
});

test("the built-in page is whole, for every code, and blames nobody", () => {
  for (const code of ANSWER_CODES) {
    const page = new ErrorPages().page(code, FACTS);
    assert.match(
      page,
      /^<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<meta name="viewport" content="width=device-width/,
    );
    assert.match(page, new RegExp(`<title>${CODES[code].status} [A-Z]`));
    assert.ok(page.includes("color-scheme:light dark") && page.endsWith("</html>\n"));
    assert.ok(page.includes(`<code>${code}</code>`) && page.includes("<code>an-id</code>") && !page.includes("{{"), code);
    const opened = [...page.matchAll(/<([a-z]+\d?)\b[^>]*>/g)].map(([, name]) => name!).filter((name) =>
      name !== "meta" && name !== "br"
    );
    const closed = [...page.matchAll(/<\/([a-z]+\d?)>/g)].map(([, name]) => name!);
    assert.deepEqual(opened.sort(), closed.sort(), "every element is closed");
    const wish = /<\/h1>\n<p>([^<]+)</.exec(page)?.[1] ?? "";
    assert.ok(wish.length > 40 && !/\b(VM|proxy|edge|client|fault|error)\b/i.test(wish), wish);
    assert.ok(Buffer.byteLength(page) < 1500, "small");
  }
});

test("unknownPlaceholders() finds what nobody will fill in", () => {
  assert.deepEqual(unknownPlaceholders("{{host}} {{hots}} {{ Request-ID }} {{}} {x}"), ["hots", "Request-ID"]);
});
