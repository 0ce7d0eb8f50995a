/*  Request smuggling, end to end: every vector of the literature against VMs that misread, each in its own way, and then an innocent
 *  client on the connection that the vector may have poisoned. The VM must never see a request that the proxy did not forward as
 *  one, and the innocent client gets its own answer. A strict VM must find nothing to refuse in what the proxy forwards.
 */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { LogLine } from "../fixtures/edgeproxy.ts";
import { type Believed, FooledVm, type Leniency } from "../fixtures/fooled-vm.ts";
import { getRequest, openRaw } from "../fixtures/raw-client.ts";
import { DataPlane, settled } from "../fixtures/served-vms.ts";
import { DOMAIN, UNREAD_BODIES, type Vector, VECTORS } from "../fixtures/smuggling-vectors.ts";
import { strictProblem } from "../fixtures/strict-reader.ts";

const ANY_LINE_END = /\r\n|\n/g;
const ANY_CONTROL = new RegExp("\r\n|[\n\r\v\f\0\x1c-\x1e]", "g");
const hyphens = (raw: string): string => raw.trim().replaceAll("_", "-");
/** As programming languages read numbers: signs, prefixes, fractions, octal, exponents. */
const loosely = (text: string): number => {
  const bare = text.replaceAll("_", "").trim();
  return /^0\d/.test(bare) ? Number.parseInt(bare, 8) : Math.trunc(Number(bare));
};

const LENIENCIES: readonly Leniency[] = [
  { name: "takes a line feed for a line end", lineEnd: ANY_LINE_END },
  { name: "takes a carriage return for a line end", lineEnd: /\r\n|\n|\r/g },
  { name: "takes any control byte for a line end", lineEnd: ANY_CONTROL },
  { name: "takes the first of two lengths", lengthOf: ([first]) => Number.parseInt(first ?? "", 10) },
  { name: "takes the last of two lengths", lengthOf: (values) => Number.parseInt(values.at(-1)?.split(",").at(-1) ?? "", 10) },
  { name: "joins folded lines", joinsFolds: true, isChunked: (values) => values.join().trim() === "chunked" },
  { name: "prefers the length to chunks", prefersLength: true },
  {
    name: "finds chunked anywhere, in any version",
    nameOf: (raw) => raw.replace(/[^a-z-]/g, ""),
    isChunked: (values) => /chunk/i.test(values.join()),
  },
  { name: "knows the last Transfer-Encoding only", isChunked: (values) => values.at(-1)?.trim().toLowerCase() === "chunked" },
  {
    name: "reads numbers as a programming language does",
    lengthOf: ([first]) => loosely(first ?? ""),
    chunkSize: (line) => loosely(`0x${line.split(";")[0]}`.replace(/^0x(0x|[+-])/, "$1")),
  },
  { name: "trims names and reads underscores as hyphens", nameOf: hyphens },
  { name: "reads underscores as hyphens and answers early", nameOf: hyphens, answersEarly: true },
  { name: "reads lengths loosely and answers early", lengthOf: ([first]) => loosely(first ?? ""), answersEarly: true },
  { name: "ends chunk lines at a line feed", chunkLineEnd: ANY_LINE_END },
  { name: "ends chunk lines at a carriage return", chunkLineEnd: /\r\n?/g },
];

let plane: DataPlane;
before(async () => plane = await DataPlane.start({ EDGEPROXY_ACCESS_LOG: "on", EDGEPROXY_RESPONSE_TIMEOUT: "3s" }));
after(() => plane[Symbol.asyncDispose]());

const WHOLE_UNREAD = UNREAD_BODIES.filter(({ name }) => !name.startsWith("0.CL"));

/** Sends a vector, at once or cut behind its head, and reads to the end: whatever answers there are. */
async function attack(vector: Vector, host: string, cut = false): Promise<void> {
  await using attacker = await openRaw(plane.proxy.port, plane.proxy.host);
  const bytes = vector.bytes.replaceAll(DOMAIN, host);
  const headEnd = bytes.indexOf("\r\n\r\n") + 4;
  if (cut && headEnd >= 4) await attacker.sendPieces([bytes.slice(0, headEnd), bytes.slice(headEnd)]);
  else attacker.send(bytes);
  attacker.end(); // the proxy answers what is complete, and ends what is not
  await attacker.readToEnd();
}

/** What an innocent client gets for its request. */
async function ask(host: string, target: string): Promise<string> {
  await using client = await openRaw(plane.proxy.port, plane.proxy.host);
  client.send(getRequest(host, target, "Connection: close"));
  const text = await client.readToEnd();
  return text.slice(text.indexOf("\r\n\r\n") + 4);
}

/** Vectors after which an innocent client did not get its own answer. */
async function poisoned(vectors: readonly Vector[], host: string): Promise<string[]> {
  const wrong: string[] = [];
  for (const [index, vector] of [...vectors, ...vectors].entries()) {
    await attack(vector, host, index >= vectors.length);
    const target = `/innocent/${index}`;
    const got = await ask(host, target);
    if (got !== `GET ${target}`) wrong.push(`${vector.name}: ${JSON.stringify(got)}`);
  }
  return wrong;
}

/** Requests that the VM believes in and the proxy did not forward to it. */
async function uncounted(vm: FooledVm, host: string): Promise<Believed[]> {
  const last = `/last/${vm.port}`;
  await settled(plane.proxy); // what goes on is not logged yet
  await ask(host, last);
  const isOurs = (line: LogLine): boolean => line["msg"] === "access" && line["host"] === host;
  await plane.proxy.waitForLog((line) => isOurs(line) && line["path"] === last);
  const counts: Map<string, number> = new Map();
  for (const line of plane.proxy.log.filter((each) => isOurs(each) && each["upstream"] !== "")) {
    const key = `${line["method"]} ${String(line["path"]).replace(/^http:\/\/[^/]*/, "")}`;
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  return vm.believed.filter(({ method, target, host: believedHost, ids }) => {
    const key = `${method} ${target}`;
    const left = counts.get(key) ?? 0;
    counts.set(key, left - 1);
    return left === 0 || ids !== 1 || believedHost !== host;
  });
}

for (const leniency of LENIENCIES) {
  // rule: RFC 9112, 11.2 | every request that the VM believes in is one that was forwarded
  test(`a VM that ${leniency.name} sees nothing uncounted (${VECTORS.length} vectors), and nobody gets another's answer`, async () => {
    await using vm = await FooledVm.start(leniency);
    const host = await plane.route(vm.host, vm.port);
    assert.deepEqual(await poisoned(VECTORS, host), []);
    assert.deepEqual(await uncounted(vm, host), []);
    assert.ok(vm.believed.length > VECTORS.length, "the VM was asked at all");
  });
}

test("attackers and innocent clients at the same time, on a VM that misreads all of it: everybody gets their own answer", async () => {
  const everything = Object.assign({}, ...LENIENCIES, { answersEarly: false, prefersLength: false }) as Leniency;
  await using vm = await FooledVm.start(everything);
  const host = await plane.route(vm.host, vm.port);
  const wrong: string[] = [];
  const innocent = async (name: number): Promise<void> => {
    for (let index = 0; index < 300; index++) {
      const target = `/innocent/${name}/${index}`;
      if (await ask(host, target) !== `GET ${target}`) wrong.push(target);
    }
  };
  const vectors = [...VECTORS];
  const attacker = async (): Promise<void> => {
    for (let vector = vectors.pop(); vector !== undefined; vector = vectors.pop()) await attack(vector, host);
  };
  await Promise.all([...Array.from({ length: 4 }, attacker), ...[1, 2, 3, 4].map(innocent)]);
  assert.deepEqual(wrong, []);
  assert.deepEqual(await uncounted(vm, host), []);
});

/*  What no proxy can prevent: a VM that leaves a body unread takes it for a request. What it answers to that must go nowhere. Half a
 *  request in the body of a POST is left out: only a connection per POST would help against a server that does not read those.
 */
// rule: RFC 9112, 11.2 | VM connection never used again
test("the answers of a VM that leaves bodies unread go to nobody else", async () => {
  for (const [deafTo, vectors] of [[/^(GET|HEAD|DELETE|OPTIONS)$/, UNREAD_BODIES], [/./, WHOLE_UNREAD]] as const) {
    await using vm = await FooledVm.start({ name: "leaves bodies unread", deafTo });
    const host = await plane.route(vm.host, vm.port);
    assert.deepEqual(await poisoned(vectors, host), []);
    assert.ok(vm.believed.some(({ target }) => target === "/smuggled"), "the VM was fooled");
  }
});

// rule: RFC 9112, 11.2 | what is forwarded keeps every rule
test(`a strict VM finds nothing to refuse in what the proxy forwards of ${VECTORS.length} vectors`, async () => {
  const { vm, host } = await plane.vm();
  for (const vector of VECTORS) await attack(vector, host);
  await settled(plane.proxy);
  assert.deepEqual(vm.transcripts.map(strictProblem).filter((problem) => problem !== null), []);
  assert.ok(vm.requests.length > 20, `${vm.requests.length} requests were forwarded`);
});

test("nothing is left in use when all clients have gone", () => settled(plane.proxy));
