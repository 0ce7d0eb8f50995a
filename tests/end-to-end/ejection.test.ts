/** Health as services of a routes file ask for it: their own checks, ejection by live traffic, trials and slow start. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { EventReader } from "../fixtures/event-reader.ts";
import { fieldValue } from "../fixtures/http1.ts";
import { openRaw, type RawResponse } from "../fixtures/raw-client.ts";
import { bodyOf, ServedServices } from "../fixtures/served-services.ts";
import { metric } from "../fixtures/served-vms.ts";
import { resetConnection, respond, type Vm } from "../fixtures/vm.ts";

const served = new ServedServices();
const OFTEN = { interval: "100ms", timeout: "20s" };
const EJECTION = { errors: 3, window: "60s", time: "60s" };

before(async () => {
  await served.add("own", {
    health: { ...OFTEN, path: "/ready?x=1", method: "HEAD", status: "204", headers: { "X-Probe": "yes" } },
  }, [1]);
  await served.add("thresholds", { health: { ...OFTEN, unhealthyAfter: 3, healthyAfter: 2 } }, [1]);
  await served.add("tcp", { health: { ...OFTEN, type: "tcp" } }, [1], { healthStatus: 500 });
  await served.add("unchecked", { health: { type: "none" } }, [1, 1], { healthStatus: 500 });
  await served.add("ejecting", { balance: "round-robin", ejection: EJECTION }, [1, 1, 1]);
  await served.add("lone", { ejection: EJECTION }, [1]);
  await served.add("owed", { health: OFTEN, ejection: EJECTION }, [1]);
  await served.add("answering", { balance: "round-robin", ejection: EJECTION }, [1, 1]);
  await served.add("returning", { balance: "round-robin", ejection: { errors: 2, window: "60s", time: "300ms" } }, [1, 1]);
  await served.add(
    "starting",
    { balance: "weighted", health: { ...OFTEN, healthyAfter: 1, unhealthyAfter: 1, slowStart: "10m" } },
    [1, 1],
  );
  await served.start();
});
after(() => served[Symbol.asyncDispose]());

interface EndpointView {
  readonly key: string;
  readonly port: number;
  readonly verdict: string | null;
  readonly hindrance: string | null;
  readonly share: number;
}

async function endpointsOf(name: string): Promise<readonly EndpointView[]> {
  return (await (await served.edge.admin(`/api/endpoints?q=@${name}`)).json()).endpoints as EndpointView[];
}

async function viewOf({ port }: Vm, name: string): Promise<EndpointView | undefined> {
  return (await endpointsOf(name)).find((endpoint) => endpoint.port === port);
}

function codeOf(answer: RawResponse): string {
  return fieldValue(answer, "x-edgeproxy-error") ?? String(answer.status);
}

/** Resolves with the events of an endpoint so far and to come, until one turns it so. */
async function untilTurned(vm: Vm, turn: string): Promise<Readonly<Record<string, unknown>>> {
  const response = await served.edge.admin("/api/events?types=endpoint&after=0");
  await using reader = new EventReader(response.body!);
  const { data } = await reader.until(({ data }) => String(data["key"]).includes(`:${vm.port}@`) && data["turn"] === turn);
  return data;
}

/** The answers to requests until the VM is kept from them for that reason. */
async function askUntil(name: string, vm: Vm, hindrance: string): Promise<readonly RawResponse[]> {
  const answers: RawResponse[] = [];
  await served.edge.waitFor(async () => {
    answers.push(...await served.ask(name, 1));
    return (await viewOf(vm, name))?.hindrance === hindrance;
  }, `has no VM of ${name} with ${hindrance}`);
  return answers;
}

test("a service's VMs are checked by its own path, method, fields and statuses", async () => {
  const [vm] = served.vms("own");
  vm!.healthStatus = 204;
  const [answer] = await served.ask("own", 1);
  assert.equal(answer!.status, 200);
  const { method, target } = vm!.lastProbe!;
  assert.deepEqual([method, target, fieldValue(vm!.lastProbe!, "x-probe")], ["HEAD", "/ready?x=1", "yes"]);
  vm!.healthStatus = 200;
  await served.edge.waitFor(async () => codeOf((await served.ask("own", 1))[0]!) === "vm_unhealthy");
});

test("a VM is out after as many bad checks in a row as its service says, and back after as many good ones", async () => {
  const [vm] = served.vms("thresholds");
  await served.ask("thresholds", 1);
  const changes: string[] = [];
  const countUntil = async (status: number, code: string): Promise<number> => {
    const { probes } = vm!;
    vm!.healthStatus = status;
    await served.edge.waitFor(async () => codeOf((await served.ask("thresholds", 1))[0]!) === code);
    changes.push(code);
    return vm!.probes - probes;
  };
  assert.ok(await countUntil(500, "vm_unhealthy") >= 3);
  assert.ok(await countUntil(200, "200") >= 2);
});

test("a service that wants TCP is content with a connection, one that wants no checks makes none", async () => {
  assert.deepEqual((await served.ask("tcp", 3)).map(codeOf), ["200", "200", "200"]);
  assert.deepEqual((await served.ask("unchecked", 20)).map(codeOf), Array(20).fill("200"));
  const [first, second] = served.vms("unchecked");
  assert.equal(first!.probes + second!.probes, 0);
  await first!.die();
  assert.deepEqual((await served.ask("unchecked", 20)).map(codeOf), Array(20).fill("200"), "the other one takes over");
});

test("a VM that breaks connections is ejected although its checks pass, and the others serve", async () => {
  await served.warm("ejecting");
  const [bad, ...good] = served.vms("ejecting");
  bad!.script = resetConnection();
  const answers = await askUntil("ejecting", bad!, "trial");
  assert.equal(answers.filter((answer) => codeOf(answer) === "upstream_reset").length, 3);
  assert.deepEqual(new Set((await served.ask("ejecting", 10)).map(bodyOf)), new Set(["2", "3"]));
  const event = await untilTurned(bad!, "ejected");
  assert.equal(event["reason"], "upstream_reset, out for 60 s");
  await served.edge.waitFor(async () => await metric(served.edge, "edgeproxy_ejections_total") >= 1);
  // One of three may be out, not two
  good[0]!.script = resetConnection();
  await served.edge.waitFor(async () => {
    await served.ask("ejecting", 5);
    return good[0]!.requests.length > 15;
  });
  assert.equal((await viewOf(good[0]!, "ejecting"))?.hindrance, null);
});

test("clients that owe the rest of their requests get no VM ejected when it has waited for long enough", async () => {
  await served.warm("owed");
  const [vm] = served.vms("owed");
  vm!.onHead = (_, connection) => void setTimeout(() => connection.reset(), 1500);
  const stalled = [
    "Content-Length: 9",
    "Content-Length: 9\r\nExpect: 100-continue",
    "Transfer-Encoding: chunked",
    "Content-Length: 8",
  ];
  const answers = await Promise.all(stalled.map(async (field) => {
    await using connection = await openRaw(served.edge.port, served.edge.host);
    connection.send(`POST / HTTP/1.1\r\nHost: owed.test\r\n${field}\r\n\r\n`);
    return codeOf(await connection.readResponse());
  }));
  assert.deepEqual(answers, Array(4).fill("upstream_reset"));
  assert.equal((await viewOf(vm!, "owed"))!.hindrance, null);
});

test("an ejected VM comes back when its time is over", async () => {
  await served.warm("returning");
  const [bad] = served.vms("returning");
  bad!.script = resetConnection();
  await askUntil("returning", bad!, "trial");
  bad!.script = respond(200, "1");
  assert.equal((await untilTurned(bad!, "ejected"))["reason"], "upstream_reset, out for 0.3 s");
  assert.equal((await untilTurned(bad!, "returned"))["reason"], "its time is over");
  // On a slow machine it may have been ejected once more before it was seen
  await served.edge.waitFor(async () => (await viewOf(bad!, "returning"))?.hindrance === null);
  assert.deepEqual(new Set((await served.ask("returning", 6)).map(bodyOf)), new Set(["1", "2"]));
});

test("answers that say of trouble eject, but never a lone VM", async () => {
  await served.warm("answering");
  served.vms("answering")[0]!.script = respond(500, "1");
  const answers = await served.ask("answering", 12);
  assert.deepEqual(answers.map(({ status }) => status).filter((status) => status === 500).length, 3);
  assert.deepEqual([...new Set(answers.slice(-6).map(bodyOf))], ["2"]);
  const { reason } = await untilTurned(served.vms("answering")[0]!, "ejected");
  assert.match(String(reason), /^status 500, out for 60 s$/);

  const [lone] = served.vms("lone");
  await served.warm("lone");
  lone!.script = respond(500, "1");
  const alone = await served.ask("lone", 8);
  lone!.script = respond(200, "1");
  assert.deepEqual([...new Set(alone.map(codeOf))], ["500"], "its answer is better than ours");
});

test("a lone VM is tried once a second while it is out, and serves again as soon as that succeeds", async () => {
  await served.warm("lone");
  const [vm] = served.vms("lone");
  vm!.script = resetConnection();
  const answers = await askUntil("lone", vm!, "trial");
  assert.deepEqual(answers.map(codeOf), Array(3).fill("upstream_reset"));
  const meanwhile = await served.ask("lone", 40);
  const refused = meanwhile.filter((answer) => codeOf(answer) === "vm_unhealthy");
  assert.ok(refused.length >= 30, `${refused.length} refused at once: ${meanwhile.map(codeOf)}`);
  vm!.script = respond(200, "1");
  await served.edge.waitFor(async () => codeOf((await served.ask("lone", 1))[0]!) === "200");
  assert.equal((await untilTurned(vm!, "returned"))["reason"], "a request on trial has succeeded");
  assert.deepEqual((await served.ask("lone", 20)).map(codeOf), Array(20).fill("200"));
});

test("a VM that has recovered begins with a tenth of its share", async () => {
  await served.warm("starting");
  const [vm] = served.vms("starting");
  vm!.healthStatus = 500;
  const untilFound = async (verdict: string) =>
    await served.edge.waitFor(async () => {
      await served.ask("starting", 1); // it stays in use
      return (await viewOf(vm!, "starting"))?.verdict === verdict;
    });
  await untilFound("unhealthy");
  vm!.healthStatus = 200;
  await untilFound("healthy");
  const answers = await served.ask("starting", 110);
  const share = answers.filter((answer) => bodyOf(answer) === "1").length / answers.length;
  assert.ok(share > 0.05 && share < 0.2, `${share} of the requests`);
  const view = await viewOf(vm!, "starting");
  assert.ok(view!.share >= 0.1 && view!.share < 0.3, `${view!.share} of its weight`);
});

test("what one worker learns of a VM holds in the other, and its cookies do, too", async () => {
  await using both = new ServedServices();
  await both.add("shared", { balance: "round-robin", ejection: EJECTION }, [1, 1]);
  await both.add("sticky", { sticky: { cookie: "edge_sticky", ttl: "1h" } }, [1, 1, 1, 1]);
  await both.start({ EDGEPROXY_WORKERS: "2" });
  // A connection each: the workers share them
  const askOften = async (name: string, count: number, ...fields: string[]) => {
    const answers: RawResponse[] = [];
    for (let i = 0; i < count; i++) answers.push(...await both.ask(name, 1, () => fields));
    return answers;
  };
  for (const name of ["shared", "sticky"]) {
    await both.warm(name);
    await askOften(name, 30);
  }
  const [bad] = both.vms("shared");
  bad!.script = resetConnection();
  const answers = await askOften("shared", 80);
  assert.equal(answers.filter((answer) => codeOf(answer) === "upstream_reset").length, 3);
  const cookie = fieldValue((await both.ask("sticky", 1))[0]!, "set-cookie")!.split(";")[0]!;
  assert.equal(new Set((await askOften("sticky", 30, `Cookie: ${cookie}`)).map(bodyOf)).size, 1);
});
