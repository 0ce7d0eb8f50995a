/** Heads with edits by chance: whatever operators write and clients send, what goes to the VM is one message that reads one way. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { normaliseHost } from "../../src/wire/host.ts";
import { FieldKind } from "../../src/wire/header-list.ts";
import { parseRequestHead } from "../../src/wire/h1/head-parser.ts";
import { type MessageHead, RequestHead } from "../../src/wire/h1/message-head.ts";
import type { FieldEdits, PolicyRoute, RewritePolicy } from "../../src/table/policy.ts";
import { bytesOf, HEAD_LIMITS } from "../fixtures/heads.ts";
import { editedHead, exchangeOf, planned } from "../fixtures/planned.ts";
import { OWN_VMS } from "../../src/table/policy.ts";
import { Policies } from "../../src/table/policies.ts";
import { filePolicies, policyRoute } from "../fixtures/policies.ts";
import { campaign } from "./campaign.ts";
import { EDGEPROXY, type Subject } from "./examine.ts";
import { fromClient, fromVm } from "./through-proxy.ts";
import { ambiguous } from "./unambiguous.ts";
import { Oracle, oracleMissing } from "./oracle.ts";
import { readRequests } from "./our-reading.ts";
import { readableStream } from "./readable-stream.ts";
import { Random } from "./random.ts";

/** Always the same, as in fuzz.test.ts. */
const SEED = 1;
const CASES = 1500;
const NAMES = [
  "X-A",
  "x_a",
  "Cookie",
  "Authorization",
  "Accept",
  "X-Gateway",
  "Content-Length",
  "Transfer-Encoding",
  "Content_Length",
  "Host",
  "Connection",
  "TE",
  "Upgrade",
  "Via",
  "X-Forwarded-For",
  "Expect",
  "Trailer",
  "a b",
  "a:b",
  "x\r\ny",
  "",
  "é",
];
const VALUES = [
  "1",
  "",
  "{header:x-a}",
  "{cookie:s}",
  "{path}{query}",
  "{host} {method}",
  "a\r\nContent-Length: 5",
  "\r\n\r\nGET /evil HTTP/1.1\r\n\r\n",
  "\0",
  "é€",
  "\u010d\u010a",
  "chunked",
  "{unknown}",
  "  x\t",
  "{request_id}{route}{service}{region}{client_ip}{scheme}",
];
const PATHS = [
  "/",
  "/api",
  "/api/",
  "/api/x?q=1&r=%2e",
  "//x",
  "/api/../x",
  "/%61pi/%2e%2e",
  "/a\\b",
  "/api/\xff\x80",
  "/api?",
  "/old/a%20b",
];
const FIELDS = [
  "X-A: 1",
  "x_a: \x80\xff",
  "Cookie: s=1; t=\x85",
  "Authorization: Basic x",
  "Connection: X-Gateway, close",
  "X-Gateway: evil",
  "Content-Length: 0",
  "Transfer-Encoding: chunked",
  "X-Forwarded-For: 1.1.1.1",
  "Via: 1.0 x",
  "TE: trailers",
  "Expect: 100-continue",
  "Accept: */*",
];
const PREFIXES = [null, "/api", "/", "/é ?#", "/%61pi", "/a/../b", "//evil", "/x\r\ny"];
const PATTERNS: readonly (readonly [string | null, string | null])[] = [
  [null, null],
  ["^/old/(.*)", "/new/$1"],
  ["(.*)", "$1$1"],
  ["/", "//"],
  ["x", " HTTP/1.1\r\nX: y"],
  ["^/(.*)$", "http://evil.test/$1"],
];

function editsBy(random: Random): FieldEdits {
  const pair = (): readonly [string, string] => [random.pick(NAMES), random.pick(VALUES)];
  return {
    set: random.several(4, pair),
    add: random.several(3, pair),
    remove: random.several(3, () => random.pick(NAMES).toLowerCase()),
  };
}

function routeBy(random: Random): Partial<PolicyRoute> {
  const [pattern, to] = random.pick(PATTERNS);
  const { set, add, remove } = editsBy(random);
  const rewrite: RewritePolicy = {
    stripPrefix: random.pick(PREFIXES),
    replacePrefix: random.pick(PREFIXES),
    addPrefix: random.pick(PREFIXES),
    pattern,
    to,
    query: random.chance(0.5) ? null : { set, add, remove },
  };
  return { requestFields: editsBy(random), rewrite: random.chance(0.3) ? null : rewrite };
}

/** Fields that read as framing, and which of two requests they belong to. */
const FRAMING: readonly number[] = [FieldKind.ContentLength, FieldKind.TransferEncoding, FieldKind.MisspeltFraming, FieldKind.Host];

/** A request that our own parser takes; null: not this one. */
function requestBy(random: Random): string[] | null {
  const authority = random.chance(0.2) ? "http://a.test" : "";
  const lines = [
    `POST ${authority}${random.pick(PATHS)} HTTP/1.${random.chance(0.1) ? 0 : 1}`,
    "Host: a.test",
    ...random.several(6, () => random.pick(FIELDS)),
  ];
  const bytes = bytesOf([...lines, "", ""].join("\r\n"));
  return parseRequestHead(bytes, 0, bytes.length, HEAD_LIMITS, new RequestHead()) === bytes.length ? lines : null;
}

/** Whole requests: a body without bytes behind heads that announce chunks. */
const requests: Buffer[] = [];
const LAST_CHUNK = "0\r\n\r\n";

test("an edited head is one request, framed as the client framed it", () => {
  for (let number = 0; requests.length < CASES && number < 20 * CASES; number++) {
    const random = new Random(SEED, number);
    const lines = requestBy(random), route = routeBy(random);
    if (lines === null) continue;
    if (typeof planned(exchangeOf(lines), route) === "string") continue; // refused
    const head = editedHead(exchangeOf(lines), route);
    const told = `case ${number}: ${JSON.stringify({ lines, route, head })}`;
    const bytes = bytesOf(/\r\ntransfer-encoding:/i.test(head) ? head + LAST_CHUNK : head);
    requests.push(bytes);
    const { messages, problem } = readRequests([bytes], HEAD_LIMITS);
    assert.deepEqual([problem, messages.length, messages[0]?.complete, messages[0]?.end], ["", 1, true, bytes.length], told);
    const parsed = new RequestHead();
    assert.equal(parseRequestHead(bytes, 0, bytes.length, HEAD_LIMITS, parsed), head.length, told);
    assert.equal(ambiguous("requests", bytes, messages), null, told);
    const host = hostOf(route.requestFields);
    assert.deepEqual(
      framingOf(parsed),
      framingOf(exchangeOf(lines).head).map((line) => line.replace(/^host: .*/, `host: ${host}`)),
      told,
    );
    assert.deepEqual([parsed.minor, parsed.authority], [1, host], told);
    assert.ok(!head.includes("1.1.1.1"), told);
  }
  assert.equal(requests.length, CASES);
});

/** The one field of these that a route can set, to one host. */
function hostOf(edits: FieldEdits | undefined): string {
  const set = edits?.set.find(([name, value]) => name === "Host" && normaliseHost(value) !== null);
  return set?.[1] ?? "a.test";
}

function framingOf(head: MessageHead): string[] {
  const lines: string[] = [];
  for (let i = 0; i < head.fields.count; i++) {
    if (FRAMING.includes(head.fields.kinds[i]!)) lines.push(`${head.fields.name(i).toLowerCase()}: ${head.fields.value(i)}`);
  }
  return lines.sort();
}

test("an edited head is the same to llhttp", { skip: oracleMissing() ?? false }, async () => {
  await using oracle = new Oracle();
  const ours = requests.map((bytes) => readRequests([bytes], HEAD_LIMITS));
  const jobs = requests.map((bytes, i) => ({ kind: "requests" as const, bytes: readableStream(bytes, ours[i]!) }));
  const readings = await oracle.read(jobs);
  for (const [i, { messages, error }] of readings.entries()) {
    const told = JSON.stringify(requests[i]!.toString("latin1"));
    assert.deepEqual([error, messages.length], [null, 1], told);
    const values = (fields: readonly string[]): string[] => fields.filter((_, place) => place % 2 === 1);
    assert.deepEqual(values(messages[0]!.fields), values(ours[i]!.messages[0]!.fields), told);
  }
});

/** Everything goes through what edits, and nothing is edited. */
const UNTOUCHED: Partial<PolicyRoute> = {
  priority: 1,
  requestFields: { set: [], add: [], remove: ["x-that-nobody-sends"] },
  responseFields: { set: [], add: [], remove: ["x-that-nobody-sends"] },
  rewrite: {
    stripPrefix: null,
    replacePrefix: null,
    addPrefix: null,
    pattern: null,
    to: null,
    query: { set: [], add: [], remove: ["that-nobody-sends"] },
  },
  maxBodyBytes: 2 ** 40,
};

test(
  "a route whose edits touch nothing changes nothing, whatever either side sends",
  { skip: oracleMissing() ?? false },
  async () => {
    const policies = new Policies(filePolicies([], [policyRoute("untouched", OWN_VMS, UNTOUCHED)]), new Map());
    const subject: Subject = {
      ...EDGEPROXY,
      fromClient: (parts, ending, style, manner) => fromClient(parts, ending, style, manner, policies),
      fromVm: (asked, parts, ending, style) => fromVm(asked, parts, ending, style, policies),
    };
    const plan = { seed: SEED, first: 0, kinds: ["from-client", "from-vm"] as const, goesOn: (cases: number) => cases < 400 };
    const { found } = await campaign(plan, subject);
    assert.deepEqual(found.map(({ number, failure }) => `case ${number}: ${failure.rule}\n${failure.details}`), []);
  },
);
