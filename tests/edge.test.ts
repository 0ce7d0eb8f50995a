/** The life of a request beyond the plain case: probes, refused and stale connections, fail-over (contract, sections 5 and 6). */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { H1Connection } from "../src/downstream/h1-connection.ts";
import type { H1UpstreamConnection } from "../src/upstream/h1-connection.ts";
import type { HealthVerdict } from "../src/upstream/availability.ts";
import { comparable } from "./fixtures/dialogue.ts";
import { type Dial, VM, World } from "./fixtures/world.ts";
import { ELSEWHERE, FAR_AWAY, region, vm } from "./fixtures/records.ts";

const REGION = region(ELSEWHERE, "203.0.113.7"), FAR_REGION = region(FAR_AWAY, "203.0.113.8");
const GET = "GET / HTTP/1.1\r\nHost: app.test\r\n\r\n";
const POST = "POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 3\r\n\r\nabc";
const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

interface Given {
  /** Idle connections to the VM. */
  readonly idle?: number;
  readonly verdict?: HealthVerdict;
  readonly endpoints?: ConstructorParameters<typeof World>[3];
  readonly dials?: readonly Dial[];
}

function world({ idle = 0, verdict = "healthy", endpoints = [VM], dials = [] }: Given): World {
  const made = new World("later", idle, {}, endpoints);
  made.endpoint.judge(verdict);
  made.dials.push(...dials);
  return made;
}

function judge(of: World, verdict: HealthVerdict): void {
  of.endpoint.judge(verdict);
  of.network.settle();
}

/** Status and error code, or nothing, that the client has got. */
function answer(of: World): string {
  const text = comparable(of.client.take());
  return [/^HTTP\/1\.1 (\d+)/.exec(text)?.[1] ?? "nothing", /X-Edgeproxy-Error: (\w+)/.exec(text)?.[1] ?? ""].join(" ").trim();
}

test("a request waits for the first probe of its VM, and is then forwarded", () => {
  using w = world({ idle: 1, verdict: "unprobed" });
  w.say(w.client, POST);
  assert.deepEqual([answer(w), w.requests, w.vm[0]!.take().length], ["nothing", [`wanted ${VM.key}`], 0]);
  judge(w, "healthy");
  assert.match(w.vm[0]!.take().toString(), /\r\n\r\nabc$/);
  w.say(w.vm[0]!, OK);
  assert.equal(answer(w), "200");
});

test("a request whose VM fails its first probe gets 503", () => {
  using w = world({ verdict: "unprobed" });
  w.say(w.client, POST);
  judge(w, "unhealthy");
  assert.equal(answer(w), "503 vm_unhealthy");
  w.say(w.client, GET);
  assert.equal(answer(w), "503 vm_unhealthy", "at once, and the connection went on");
});

test("a request whose client goes away while it waits is forgotten", () => {
  using w = world({ idle: 1, verdict: "unprobed" });
  w.say(w.client, GET);
  w.client.abort();
  judge(w, "healthy");
  assert.deepEqual([w.vm[0]!.take().length, w.endpoint.inFlight, w.outcomes], [0, 0, ["aborted 0"]]);
});

test("nothing is kept of a request whose client goes away while it waits, for a first verdict or a fresh one", () => {
  for (const [what, given] of [["first", { verdict: "unprobed" }], ["fresh", { dials: ["refused"] }]] as const) {
    for (const leave of ["abort", "stream timeout"]) {
      for (const request of [GET, POST]) {
        using w = world(given);
        w.say(w.client, request);
        assert.equal(w.requests.at(-1), `wanted ${VM.key}`, what);
        const asked = w.requests.length;
        if (leave === "abort") w.client.abort();
        else {
          w.sweep.nowMs += 60_000;
          (w.client.handler as H1Connection).onDeadline();
        }
        w.network.settle();
        assert.equal(w.outcomes.length, 1);
        w.endpoint.whenProbed(() => {});
        assert.equal(w.requests.length, asked + 1, `nobody waits for the ${what} verdict any more, after ${leave}`);
        judge(w, "healthy");
        assert.deepEqual([w.vm.length, w.endpoint.inFlight, w.outcomes.length], [0, 0, 1]);
      }
    }
  }
});

test("a request goes on a new connection when none is idle", () => {
  using w = world({ dials: ["open"] });
  w.say(w.client, POST);
  assert.match(w.vm[0]!.take().toString(), /\r\n\r\nabc$/);
  w.say(w.vm[0]!, OK);
  assert.deepEqual([answer(w), w.endpoint.idle.length], ["200", 1]);
});

test("a client that goes away while a connection is made cancels it", () => {
  using w = world({ dials: ["open"] });
  w.client.send(Buffer.from(GET));
  w.client.abort();
  w.network.settle();
  assert.deepEqual([w.vm.length, w.endpoint.inFlight], [0, 0]);
});

test("a refused connection asks for a fresh probe; when it passes the request is sent again, once", () => {
  using w = world({ dials: ["refused", "open"] });
  w.say(w.client, POST);
  assert.deepEqual([answer(w), w.requests], ["nothing", [`failed ${VM.key}`, `wanted ${VM.key}`]]);
  judge(w, "healthy");
  assert.match(w.vm[0]!.take().toString(), /\r\n\r\nabc$/);
  w.say(w.vm[0]!, OK);
  assert.equal(answer(w), "200");

  using twice = world({ dials: ["refused", "refused"] });
  twice.say(twice.client, GET);
  judge(twice, "healthy");
  assert.equal(answer(twice), "502 connect_failed");
});

test("a refused connection whose fresh probe fails is 503, or the other region", () => {
  using w = world({ dials: ["refused"] });
  w.say(w.client, POST);
  judge(w, "unhealthy");
  assert.equal(answer(w), "503 vm_unhealthy");

  using failOver = world({ endpoints: [VM, REGION], dials: ["refused", "open"] });
  failOver.say(failOver.client, POST);
  judge(failOver, "unhealthy");
  assert.deepEqual(failOver.dialled, [VM.key, REGION.key]);
  assert.match(failOver.vm[0]!.take().toString(), /\r\n\r\nabc$/);
});

test("regions that cannot be reached are tried in turn, then it is 502", () => {
  using w = world({ endpoints: [REGION, FAR_REGION], dials: ["refused", "refused"] });
  w.say(w.client, POST);
  assert.deepEqual([answer(w), w.dialled.length, new Set(w.dialled).size], ["502 connect_failed", 2, 2]);
  assert.deepEqual(w.requests, [], "regions are not probed");

  using second = world({ endpoints: [REGION, FAR_REGION], dials: ["refused", "open"] });
  second.say(second.client, POST);
  assert.match(second.vm[0]!.take().toString(), /\r\n\r\nabc$/);
});

test("an unhealthy VM and an unreachable region are 502", () => {
  using w = world({ verdict: "unhealthy", endpoints: [VM, REGION], dials: ["refused"] });
  w.say(w.client, GET);
  assert.equal(answer(w), "502 connect_failed");
});

test("a request is not sent again to a VM that has been cordoned meanwhile", () => {
  using probed = world({ endpoints: [VM, REGION], dials: ["refused", "open"] });
  probed.say(probed.client, POST);
  probed.endpoint.cordon();
  judge(probed, "healthy");
  assert.deepEqual(probed.dialled, [VM.key, REGION.key]);

  using alone = world({ idle: 1 });
  alone.say(alone.client, GET);
  alone.say(alone.vm[0]!, OK);
  alone.client.take();
  alone.say(alone.client, GET);
  alone.endpoint.cordon();
  alone.vm[0]!.finish();
  alone.network.settle();
  assert.deepEqual([answer(alone), alone.dialled], ["503 vm_cordoned", []]);
});

test("a stale connection is replaced and the request sent again, when that is safe", () => {
  const stale = (request: string): World => {
    const w = world({ idle: 1, dials: ["open"] });
    w.say(w.client, GET);
    w.say(w.vm[0]!, OK);
    assert.equal(answer(w), "200");
    w.say(w.client, request);
    w.vm[0]!.finish();
    w.network.settle();
    return w;
  };
  using safe = stale(GET);
  assert.match(safe.vm[1]!.take().toString(), /^GET \/ HTTP\/1\.1\r\n/);
  safe.say(safe.vm[1]!, OK);
  assert.equal(answer(safe), "200");
  for (const request of [POST, POST.replace("POST", "PUT"), "POST / HTTP/1.1\r\nHost: app.test\r\n\r\n"]) {
    using unsafe = stale(request);
    assert.deepEqual([answer(unsafe), unsafe.vm.length], ["502 upstream_reset", 1], request);
    assert.deepEqual(unsafe.requests, [], "servers close idle connections: that says nothing of their health");
  }
});

test("a VM that breaks a new connection is 502, and asked about before the next request", () => {
  using w = world({ dials: ["open"] });
  w.say(w.client, GET);
  w.vm[0]!.abort();
  w.network.settle();
  assert.deepEqual([answer(w), w.requests, w.endpoint.verdict], ["502 upstream_reset", [`failed ${VM.key}`], "unprobed"]);
});

test("a request waits for a verdict only so long; then it is answered without that VM", async () => {
  for (const [what, given] of [["first", { verdict: "unprobed" }], ["fresh", { dials: ["refused"] }]] as const) {
    using w = world(given);
    const ended = Promise.withResolvers<void>();
    w.environment.exchangeEnded = () => ended.resolve();
    w.say(w.client, GET);
    assert.equal(answer(w), "nothing", what);
    await ended.promise;
    w.network.settle();
    assert.equal(answer(w), "503 vm_unhealthy", what);
    w.say(w.client, GET);
    assert.equal(w.requests.filter((request) => request === `wanted ${VM.key}`).length, 2, "nobody waited any more");
    judge(w, "unhealthy");
    assert.equal(answer(w), "503 vm_unhealthy", what);
  }

  using failOver = world({ verdict: "unprobed", endpoints: [VM, REGION], dials: ["open"] });
  const dialled = Promise.withResolvers<void>();
  failOver.dialled.push = (...keys) => {
    dialled.resolve();
    return Array.prototype.push.apply(failOver.dialled, keys);
  };
  failOver.say(failOver.client, GET);
  await dialled.promise;
  failOver.network.settle();
  assert.match(failOver.vm[0]!.take().toString(), /^GET/);
});

test("requests that wait for the same VM are answered by one probe", () => {
  using w = world({ idle: 1, verdict: "unprobed", endpoints: [VM, vm("10.0.0.2")] });
  w.say(w.client, GET);
  assert.deepEqual(w.requests, ["wanted vm/10.0.0.2:8080", `wanted ${VM.key}`]);
  judge(w, "healthy");
  assert.match(w.vm[0]!.take().toString(), /^GET/, "the first verdict decides");
  w.endpoints.judge("vm/10.0.0.2:8080", "healthy");
  w.network.settle();
  w.say(w.vm[0]!, OK);
  assert.equal(answer(w), "200");
});

test("a request whose VM leaves the table while it connects is decided anew", () => {
  for (const [what, returns] of [["for good", false], ["and comes back", true]] as const) {
    using w = world({ dials: ["refused", "open"] });
    w.client.send(Buffer.from(GET));
    w.leaveTable();
    if (returns) w.enterTable();
    w.network.settle();
    if (!returns) {
      assert.equal(answer(w), "404 no_route", what);
      continue;
    }
    assert.deepEqual([answer(w), w.requests], ["nothing", [`wanted ${VM.key}`]], what);
    w.endpoints.judge(VM.key, "healthy");
    w.network.settle();
    assert.match(w.vm[0]!.take().toString(), /^GET/, what);
  }
});

const BEFORE = vm("10.0.0.2");

/** The domain has just moved from BEFORE, which is healthy, to the VM. */
function moved(given: Given): World {
  const w = world(given);
  w.previous = { endpoints: [BEFORE] };
  w.endpoints.of(BEFORE).judge("healthy");
  return w;
}

/** Lets the sweep tick until something is dialled. */
async function dialled(of: World): Promise<void> {
  for (const deadlineMs = performance.now() + 10_000; of.dialled.length === 0 && performance.now() < deadlineMs;) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  of.network.settle();
}

test("a request for a domain that has moved goes to the new VM when its probe passes soon", () => {
  using w = moved({ verdict: "unprobed", dials: ["open"] });
  w.say(w.client, POST);
  assert.deepEqual([w.requests, w.dialled], [[`wanted ${VM.key}`], []]);
  judge(w, "healthy");
  assert.deepEqual(w.dialled, [VM.key]);
  assert.match(w.vm[0]!.take().toString(), /\r\n\r\nabc$/);
});

test("a request for a domain that has moved goes to the old VM when the probe of the new one fails, or takes its time", async () => {
  using failed = moved({ verdict: "unprobed", dials: ["open"] });
  failed.say(failed.client, POST);
  judge(failed, "unhealthy");
  assert.deepEqual(failed.dialled, [BEFORE.key]);
  assert.match(failed.vm[0]!.take().toString(), /\r\n\r\nabc$/);

  using slow = moved({ verdict: "unprobed", dials: ["open", "open"] });
  slow.say(slow.client, GET);
  await dialled(slow);
  assert.deepEqual(slow.dialled, [BEFORE.key]);
  slow.say(slow.vm[0]!, OK);
  assert.equal(answer(slow), "200");
  slow.say(slow.client, GET);
  assert.equal(slow.endpoints.of(BEFORE).inFlight, 1, "the next one goes there at once");
  slow.say(slow.vm[0]!, OK);
  assert.equal(answer(slow), "200");
  judge(slow, "healthy");
  slow.say(slow.client, GET);
  assert.deepEqual(slow.dialled, [BEFORE.key, VM.key], "the probe has passed after all");
});

test("a new VM that refuses is given up for the old one once its fresh probe fails, or when it refuses again", () => {
  using failed = moved({ dials: ["refused", "open"] });
  failed.say(failed.client, POST);
  assert.deepEqual(failed.requests, [`failed ${VM.key}`, `wanted ${VM.key}`]);
  judge(failed, "unhealthy");
  assert.deepEqual(failed.dialled, [VM.key, BEFORE.key]);
  assert.match(failed.vm[0]!.take().toString(), /\r\n\r\nabc$/);

  using again = moved({ dials: ["refused", "refused", "open"] });
  again.say(again.client, POST);
  judge(again, "healthy");
  assert.deepEqual(again.dialled, [VM.key, VM.key, BEFORE.key]);
  assert.match(again.vm[0]!.take().toString(), /\r\n\r\nabc$/);
});

test("an old VM that refuses is left out without a probe; what becomes of the new one decides", () => {
  using w = moved({ verdict: "unhealthy", dials: ["refused"] });
  w.say(w.client, GET);
  assert.deepEqual([answer(w), w.dialled, w.requests], ["503 vm_unhealthy", [BEFORE.key], [`failed ${BEFORE.key}`]]);

  using both = moved({ dials: ["refused", "refused"] });
  both.say(both.client, GET);
  judge(both, "unhealthy");
  assert.deepEqual([answer(both), both.dialled], ["503 vm_unhealthy", [VM.key, BEFORE.key]]);

  using odd = moved({ dials: ["refused", "refused", "refused"] });
  odd.say(odd.client, GET);
  judge(odd, "healthy");
  assert.deepEqual(
    [answer(odd), odd.dialled],
    ["502 connect_failed", [VM.key, VM.key, BEFORE.key]],
    "it passes probes, and refuses",
  );
});

test("nothing that an old VM may have got is sent again", () => {
  using w = moved({ verdict: "unhealthy", dials: ["open"] });
  w.say(w.client, POST);
  w.vm[0]!.abort();
  w.network.settle();
  assert.deepEqual([answer(w), w.dialled], ["502 upstream_reset", [BEFORE.key]]);
});

test("a request that only a table of another time can have sent here waits for ours to change", async () => {
  const fromThere = GET.replace("\r\n\r\n", `\r\nVia: 1.1 edgeproxy-${ELSEWHERE}\r\n\r\n`);
  using w = world({ endpoints: [REGION], dials: ["open"] });
  w.say(w.client, fromThere);
  assert.deepEqual([answer(w), w.requests, w.dialled], ["nothing", ["contradicted"], []]);
  w.enterTable([VM]);
  await dialled(w);
  assert.deepEqual(w.dialled, [VM.key]);
  assert.match(w.vm[0]!.take().toString(), /^GET/);

  using never = world({ endpoints: [REGION] });
  const ended = Promise.withResolvers<void>();
  never.environment.exchangeEnded = () => ended.resolve();
  never.say(never.client, fromThere);
  await ended.promise;
  never.network.settle();
  assert.equal(answer(never), "508 loop");

  using left = world({ endpoints: [REGION] });
  left.say(left.client, fromThere);
  left.client.abort();
  left.enterTable([VM]);
  await new Promise<void>((resolve) => left.sweep.watch({ deadlineAtMs: left.sweep.nowMs + 100, onDeadline: resolve }));
  left.network.settle();
  assert.deepEqual([left.dialled, left.outcomes], [[], ["aborted 0"]]);
});

/** What another region's edge says by itself. */
function refusal(code: string): string {
  return `HTTP/1.1 503 Service Unavailable\r\nX-Edgeproxy-Error: ${code}\r\nContent-Length: 4\r\n\r\nsick`;
}

test("a request that the region to which its domain has moved refuses goes to the old VM, if it is harmless to repeat", () => {
  for (const code of ["vm_unhealthy", "loop", "no_table"]) {
    using w = moved({ endpoints: [REGION], dials: ["open", "open"] });
    w.say(w.client, GET);
    w.say(w.vm[0]!, refusal(code).slice(0, -2));
    assert.deepEqual([answer(w), w.dialled], ["nothing", [REGION.key, BEFORE.key]], code);
    w.say(w.vm[0]!, "ck");
    assert.match(w.vm[1]!.take().toString(), /^GET/);
    w.say(w.vm[1]!, OK);
    assert.equal(answer(w), "200");
    const states = [w.endpoints.of(REGION), w.endpoints.of(BEFORE)];
    assert.deepEqual(states.map(({ idle, inFlight }) => [idle.length, inFlight]), [[1, 0], [1, 0]], "both can be used again");
  }
  for (const [request, code] of [[POST, "vm_unhealthy"], [POST.replace("POST", "PUT"), "loop"], [GET, "connect_failed"]] as const) {
    using w = moved({ endpoints: [REGION], dials: ["open"] });
    w.say(w.client, request);
    w.say(w.vm[0]!, refusal(code));
    assert.deepEqual([answer(w), w.dialled], [`503 ${code}`, [REGION.key]], request);
  }
  using stayed = world({ endpoints: [REGION, FAR_REGION], dials: ["open"] });
  stayed.say(stayed.client, GET);
  stayed.say(stayed.vm[0]!, refusal("vm_unhealthy"));
  assert.deepEqual(
    [answer(stayed), stayed.dialled.length],
    ["503 vm_unhealthy", 1],
    "nothing has moved: what the region says is the answer",
  );
});

test("an answer that is given up is read to its end, and not for ever", () => {
  for (const ending of ["abort", "deadline"]) {
    using w = moved({ endpoints: [REGION], dials: ["open", "open"] });
    w.say(w.client, GET);
    w.say(w.vm[0]!, refusal("vm_unhealthy").slice(0, -2));
    if (ending === "abort") w.vm[0]!.abort();
    else (w.vm[0]!.handler as H1UpstreamConnection).onDeadline();
    w.say(w.vm[1]!, OK);
    assert.deepEqual([answer(w), w.endpoints.of(REGION).idle.length, w.vm[0]!.state === "open"], ["200", 0, false], ending);
  }
});

test("a VM that has come from another region and is ill is 503, also when that region refuses", () => {
  using w = world({ verdict: "unhealthy", dials: ["open"] });
  w.previous = { endpoints: [REGION] };
  w.say(w.client, GET);
  assert.deepEqual(w.dialled, [REGION.key]);
  w.say(w.vm[0]!, refusal("loop").replace("503", "508"));
  assert.equal(answer(w), "503 vm_unhealthy");
});
