/** One page by itself, with tags of our choosing. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Page } from "../../src/table/page.ts";
import { pageChanges } from "../../src/table/page-changes.ts";
import { PageDraft } from "../../src/table/page-draft.ts";
import { type Service, Services } from "../../src/table/services.ts";
import { vm } from "../fixtures/records.ts";

const services = new Services();
const A = services.of([vm("10.0.0.1")]), B = services.of([vm("10.0.0.2")]);

function note(draft: PageDraft, tag: number, host: string, service: Service | null): void {
  draft.note(tag, host, 0, host.length, service);
}

test("names of one tag, as a flood would like to have them, are all found, changed and removed", () => {
  const draft = new PageDraft(Page.empty);
  for (let i = 0; i < 3000; i++) note(draft, 7, `h${i}.test`, A);
  note(draft, 6, "h1.test", B);
  const page = draft.finish();
  assert.equal(page.size, 3001);
  for (let i = 0; i < 3000; i += 7) assert.equal(page.find(7, `h${i}.test`), A);
  assert.equal(page.find(6, "h1.test"), B);
  assert.equal(page.find(8, "h1.test"), undefined);

  const next = new PageDraft(page);
  for (let i = 0; i < 3000; i += 2) note(next, 7, `h${i}.test`, null);
  for (let i = 1; i < 3000; i += 2) note(next, 7, `h${i}.test`, B);
  const after = next.finish();
  assert.equal(after.size, 1501);
  assert.equal(pageChanges(page, after).length, 3000);
  assert.equal(after.find(7, "h2.test"), undefined);
  assert.equal(after.find(7, "h3.test"), B);
});

test("a page has as many buckets as its size asks for, whether it has grown or shrunk to it", () => {
  const grown = new PageDraft(Page.empty);
  const shrunk = new PageDraft(Page.empty);
  const tagOf = (i: number) => i * 7919 % 65_536;
  for (let i = 0; i < 5000; i++) note(shrunk, tagOf(i), `h${i}.test`, A);
  assert.equal(shrunk.size, 5000);
  for (let i = 5000; --i >= 100;) note(shrunk, tagOf(i), `h${i}.test`, null);
  for (let i = 0; i < 100; i++) {
    note(grown, tagOf(i), `h${i}.test`, A);
    assert.equal(grown.find(tagOf(i), `h${i}.test`), A);
  }
  const [a, b] = [grown.finish(), shrunk.finish()];
  assert.equal(a.names.length, 8);
  assert.deepEqual([a.bits, a.size, a.names, a.services], [b.bits, b.size, b.names, b.services]);
  assert.deepEqual(pageChanges(a, b), []);
});

test("a page that lost its last route is the empty one", () => {
  const draft = new PageDraft(Page.empty);
  note(draft, 65_535, "*.a.test", A);
  const page = draft.finish();
  assert.deepEqual([page.size, page.wildcards], [1, 1]);
  const next = new PageDraft(page);
  note(next, 65_535, "*.a.test", null);
  assert.equal(next.finish(), Page.empty);
});
