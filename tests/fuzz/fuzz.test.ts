/** A few seconds of the fuzzer, and that it finds what it is there to find. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { parseRequestHead } from "../../src/wire/h1/head-parser.ts";
import { CR, LF } from "../../src/wire/bytes.ts";
import { REFUSED } from "../../src/wire/h1/message-head.ts";
import { parseDialogues } from "../fixtures/dialogue.ts";
import { MANNERS } from "./answering-vm.ts";
import { campaign, type Found, USUAL_KINDS } from "./campaign.ts";
import { Tally } from "./compare.ts";
import { EDGEPROXY, type Subject } from "./examine.ts";
import { asBlock, type CaseKind, escaped, replayCommand, unescaped } from "./fuzz-case.ts";
import { Oracle, oracleMissing } from "./oracle.ts";
import type { ParseRequestHead } from "./our-reading.ts";
import { examineAlone, shrink } from "./shrink.ts";
import { fromClient, fromVm } from "./through-proxy.ts";

const skip = oracleMissing() ?? false;
/** Within which each planted fault must be found. */
const ENOUGH_CASES = 6000;

/** Always the same: a run of the tests says something of what was changed, and finds are made with `deno task fuzz`. */
for (const seed of [1, 2]) {
  test(`the fuzzer finds nothing in 1500 cases of seed ${seed}`, { skip }, async () => {
    const { found, tally } = await campaign({ seed, first: 0, kinds: USUAL_KINDS, goesOn: (cases) => cases < 1500 });
    const shown = found.map(({ number, fuzzCase, failure }) =>
      `case ${number} of seed ${seed}: ${failure.rule}\n${failure.details}\n${replayCommand(fuzzCase)}`
    );
    assert.deepEqual(shown, []);
    assert.ok(tally.messages > 1000, `only ${tally.messages} messages were compared`);
  });
}

test("the fuzzer finds a parser that takes xchunked for chunked", { skip }, async () => {
  const parse: ParseRequestHead = (bytes, start, end, limits, head) => {
    const at = parseRequestHead(bytes, start, end, limits, head);
    if (at !== REFUSED || head.refusal !== "unsupported_coding") return at;
    head.chunked = true;
    return bytes.indexOf("\r\n\r\n", start) + 4;
  };
  await foundIn({ ...EDGEPROXY, parse }, "requests");
});

test("the fuzzer finds a parser that takes a bare line feed for a line end, and shrinks the case", { skip }, async () => {
  const parse: ParseRequestHead = (bytes, start, end, limits, head) => {
    const text = bytes.toString("latin1", start, end).replaceAll(/(?<!\r)\n/g, "\r\n");
    const repairedEnd = parseRequestHead(Buffer.from(text, "latin1"), 0, text.length, limits, head);
    if (repairedEnd <= 0) return repairedEnd;
    let at = start;
    for (let repaired = 0; repaired < repairedEnd; at++) repaired += bytes[at] === LF && bytes[at - 1] !== CR ? 2 : 1;
    return at;
  };
  const subject = { ...EDGEPROXY, parse };
  const { fuzzCase, failure } = await foundIn(subject, "requests");
  await using oracle = new Oracle();
  const smallest = await shrink(fuzzCase, failure, { subject, oracle, tally: new Tally() });
  assert.equal(smallest.failure.rule, failure.rule);
  assert.ok(smallest.fuzzCase.bytes.length <= 60, escaped(smallest.fuzzCase.bytes));
});

test("the fuzzer finds a parser that a cut confuses", { skip }, async () => {
  const parse: ParseRequestHead = (bytes, start, end, limits, head) => {
    const at = parseRequestHead(bytes, start, end, limits, head);
    return at === 0 && bytes.toString("latin1", end - 2, end) === "\n\r" ? head.refuse("A carriage return at the end") : at;
  };
  assert.equal((await foundIn({ ...EDGEPROXY, parse }, "requests")).failure.rule, "a cut changes the reading");
});

test("the fuzzer finds a parser that throws", { skip }, async () => {
  const parse: ParseRequestHead = (bytes, start, end, limits, head) => {
    if (bytes.includes(0, start)) throw new RangeError("Out of range");
    return parseRequestHead(bytes, start, end, limits, head);
  };
  assert.equal((await foundIn({ ...EDGEPROXY, parse }, "requests")).failure.rule, "crash: Out of range");
});

test("the fuzzer finds a proxy that passes on what lies behind a request", { skip }, async () => {
  const smuggling: typeof fromClient = (parts, ending, style, manner) => {
    const transcript = fromClient(parts, ending, style, manner);
    const [first, ...others] = transcript.vms;
    const body = /GET \/smuggled[^]*$/.exec(Buffer.concat([...parts]).toString("latin1"))?.[0];
    if (first === undefined || body === undefined || first.bytes.includes(body)) return transcript;
    return { ...transcript, vms: [{ ...first, bytes: Buffer.concat([first.bytes, Buffer.from(body, "latin1")]) }, ...others] };
  };
  await foundIn({ ...EDGEPROXY, fromClient: smuggling }, "from-client");
});

test("the fuzzer finds a proxy that ends a broken answer in order", { skip }, async () => {
  const polite: typeof fromVm = (request, parts, ending, style) => {
    const transcript = fromVm(request, parts, ending, style);
    const { client } = transcript, { state } = client;
    return { ...transcript, client: { ...client, state: state === "reset" ? "closed" : state } };
  };
  await foundIn({ ...EDGEPROXY, fromVm: polite }, "from-vm");
});

test("a refusal that waits for the end of its line is no failure, in any manner", { skip }, async () => {
  await using oracle = new Oracle();
  for (const manner of MANNERS) {
    const fuzzCase = {
      kind: "from-client",
      bytes: Buffer.from("GE\x16\x03\x01"),
      methods: [],
      request: "",
      ending: "stays",
      manner,
    } as const;
    assert.equal(await examineAlone(fuzzCase, { subject: EDGEPROXY, oracle, tally: new Tally() }), null, manner);
  }
});

test("a case can be written down and read again", () => {
  const bytes = Buffer.from(Array.from({ length: 256 }, (_, c) => c)),
    text = Buffer.concat([bytes, Buffer.from("\r\nx\r\n\\"), bytes]);
  assert.deepEqual(unescaped(escaped(text)), text);
  const [dialogue] = parseDialogues(`## A case\n\n**client sends**\n\n${asBlock(text)}\n`);
  const [step] = dialogue!.steps;
  assert.deepEqual(step?.kind === "sends" ? step.bytes : null, text);
});

/** The first case that fails because of what was planted: without it nothing is wrong. Which rule it breaks depends on the corpus too. */
async function foundIn(subject: Subject, kind: CaseKind): Promise<Found> {
  const { found: [first] } = await campaign({ seed: 1, first: 0, kinds: [kind], goesOn: (cases) => cases < ENOUGH_CASES }, subject);
  assert.ok(first !== undefined, "nothing was found");
  await using oracle = new Oracle();
  assert.equal(await examineAlone(first.fuzzCase, { subject: EDGEPROXY, oracle, tally: new Tally() }), null);
  return first;
}
