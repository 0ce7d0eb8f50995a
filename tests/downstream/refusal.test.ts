/** Own answers as text, page or JSON (contract, section 8). */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type Refusal, refusal } from "../../src/downstream/refusal.ts";
import { ANSWER_CODES, type AnswerCode, CODES } from "../../src/observation/proxy-error.ts";

const refused = (code: AnswerCode, requestId: string, accept: string | null): Refusal =>
  refusal(code, { blame: "vm", requestId, host: "app.test", accept });
const typeFor = (accept: string | null): string => /Content-Type: ([^;]+)/.exec(refused("no_route", "id", accept).fields)![1]!;

test("refusal() answers in plain text unless asked for something else", () => {
  for (const accept of [null, "", "*/*", "text/plain", "text/*", "image/png", "application/xml", "text/htmlx"]) {
    assert.equal(typeFor(accept), "text/plain", String(accept));
  }
});

test("refusal() answers with a page or JSON to those who name it, the better liked of both", () => {
  const browser = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8";
  const types: Readonly<Record<string, string>> = {
    [browser]: "text/html",
    "TEXT/HTML": "text/html",
    "application/json": "application/json",
    "application/json, */*": "application/json",
    "application/json, text/html": "text/html",
    "application/json, text/html;q=0.9": "application/json",
    "text/html ; level=1 ; q = 0.5, application/json;q=0.4": "text/html",
    "text/html;q=0.3, application/json;q=0.300": "text/html",
    "text/html;q=0": "text/plain",
    "text/html;q=0, application/json;q=0.001": "application/json",
    "text/html;q=x": "text/html",
  };
  for (const [accept, type] of Object.entries(types)) assert.equal(typeFor(accept), type, accept);
});

test("refusal() has the status and text of the contract for every code", () => {
  for (const code of ANSWER_CODES) {
    const { status, reason, fields, body } = refused(code, "an-id", null);
    assert.deepEqual([status, body], [CODES[code].status, CODES[code].text]);
    assert.match(
      fields,
      new RegExp(
        `^Content-Type: text/plain; charset=utf-8\r\n(.+\r\n)*X-Request-Id: an-id\r\nX-Edgeproxy-Error: ${code}\r\nX-Edgeproxy-Blame: vm\r\n`,
      ),
    );
    assert.match(reason, /^[A-Z][A-Za-z ]+$/);
    assert.ok(fields.endsWith("\r\n") && !fields.includes("\r\n\r\n"));
  }
});

test("refusal() asks to come back where that helps", () => {
  assert.deepEqual(ANSWER_CODES.filter((code) => refused(code, "x", null).fields.includes("Retry-After: 1\r\n")), [
    "no_table",
    "overloaded",
  ]);
});

test("refusal() as JSON and as a page names code, message and request", () => {
  const json = JSON.parse(refused("vm_unhealthy", "an-id", "application/json").body);
  assert.deepEqual(json, { error: "vm_unhealthy", message: "Service Unavailable - VM not responding", "request_id": "an-id" });
  const page = refused("vm_unhealthy", "an-id", "text/html").body;
  for (const part of ["<!doctype html>", "<title>503 ", "vm_unhealthy", "an-id"]) assert.ok(page.includes(part), part);
});
