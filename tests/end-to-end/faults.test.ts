/** Endpoints and clients that break: the right answer, no repetition that could do harm, and nothing left behind. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { DataPlane, metric, settled } from "../fixtures/served-vms.ts";
import { fieldValue } from "../fixtures/http1.ts";
import { getRequest, type RawConnection, rawRequest, type RawResponse } from "../fixtures/raw-client.ts";
import { hang, resetConnection, respond, sendRaw, type Vm, type VmConnection, type VmScript } from "../fixtures/vm.ts";

let plane: DataPlane;
before(async () => plane = await DataPlane.start({ EDGEPROXY_HEALTH_INTERVAL: "200ms" }));
after(() => plane[Symbol.asyncDispose]());

function verdict(response: RawResponse): string {
  const code = fieldValue(response, "x-edgeproxy-error");
  return code === undefined ? `${response.status}` : `${response.status} ${code}`;
}

/** A VM that has already answered once, so that the pool has a connection to it. */
async function pooled(client: RawConnection): Promise<{ readonly vm: Vm; readonly host: string }> {
  const { vm, host } = await plane.vm();
  client.send(getRequest(host, "/warm"));
  assert.equal((await client.readResponse()).status, 200);
  return { vm, host };
}

/** Ends the connection with the first request that it gets; answers everything on other connections. */
function endOnce(how: "end" | "reset"): VmScript {
  let ended = false;
  return (request, connection) => {
    if (ended) return respond(200, "second try")(request, connection);
    ended = true;
    if (how === "end") connection.end();
    else connection.reset();
  };
}

const NO_BODY = "\r\n";
const LENGTH_BODY = "Content-Length: 4\r\n\r\nbody";
const CHUNKED_BODY = "Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n";

/** First, while nothing else is in the pool. */
test("idle connections that the VM closes leave the pool", async () => {
  await using client = await plane.open();
  const { vm, host } = await pooled(client);
  vm.resetConnections();
  await vm.until(() => vm.open === 0);
  await plane.proxy.waitFor(async () => await metric(plane.proxy, 'edgeproxy_upstream_connections{state="idle"}') === 0);
  client.send(`POST / HTTP/1.1\r\nHost: ${host}\r\n${LENGTH_BODY}`);
  assert.equal((await client.readResponse()).status, 200);
});

for (const how of ["end", "reset"] as const) {
  const cases = [
    ["GET", NO_BODY, "200"],
    ["HEAD", NO_BODY, "200"],
    ["OPTIONS", NO_BODY, "200"],
    ["DELETE", NO_BODY, "200"],
    ["PUT", "Content-Length: 0\r\n\r\n", "200"],
    ["PUT", LENGTH_BODY, "502 upstream_reset"],
    ["GET", LENGTH_BODY, "502 upstream_reset"],
    ["PUT", CHUNKED_BODY, "502 upstream_reset"],
    ["POST", NO_BODY, "502 upstream_reset"],
    ["POST", LENGTH_BODY, "502 upstream_reset"],
    ["POST", CHUNKED_BODY, "502 upstream_reset"],
    ["PATCH", NO_BODY, "502 upstream_reset"],
    ["BREW", NO_BODY, "502 upstream_reset"],
  ] as const;
  // rule: RFC 9110, 9.2.2 | idempotent methods without a body are sent again on a fresh connection, all others `502 upstream_reset`
  test(`a pooled connection that the VM closes (${how}) as the request leaves: only what is safe is sent again`, async () => {
    for (const [method, rest, expected] of cases) {
      await using client = await plane.open();
      const { vm, host } = await pooled(client);
      vm.script = endOnce(how);
      client.send(`${method} / HTTP/1.1\r\nHost: ${host}\r\n${rest}`);
      const what = `${method} with ${JSON.stringify(rest)}`;
      assert.equal(verdict(await client.readResponse({ toHead: method === "HEAD" })), expected, what);
      const times = vm.requests.filter((request) => request.target === "/").length;
      assert.equal(times, expected === "200" ? 2 : 1, what);
      assert.equal(vm.transcripts.length, expected === "200" ? 2 : 1, what);
    }
  });
}

// rule: RFC 9110, 9.2.2 | `502 upstream_reset` after one repetition
test("a request is sent again once, not for ever", async () => {
  await using client = await plane.open();
  const { vm, host } = await pooled(client);
  vm.script = resetConnection();
  client.send(getRequest(host));
  assert.equal(verdict(await client.readResponse()), "502 upstream_reset");
  assert.equal(vm.requests.length, 3, "the first, the one on the pooled connection, the one on a fresh connection");
});

// rule: RFC 9110, 9.2.2 | `502 upstream_reset`
test("a request is not sent again when a byte of an answer has come", async () => {
  await using client = await plane.open();
  const { vm, host } = await pooled(client);
  vm.script = sendRaw("HTTP/1.1 2", "end");
  client.send(getRequest(host));
  assert.equal(verdict(await client.readResponse()), "502 upstream_reset");
  assert.equal(vm.requests.length, 2);
});

test("a VM that dies is answered for with 503, and served again once it is back", async () => {
  const { vm, host } = await plane.vm();
  const ask = (): Promise<RawResponse> => rawRequest(plane.proxy.port, getRequest(host));
  assert.equal((await ask()).status, 200);
  await vm.die();
  const refused = await ask();
  assert.equal(verdict(refused), "503 vm_unhealthy");
  assert.equal(refused.body.toString(), "Service Unavailable - VM not responding");
  await vm.listen();
  await plane.proxy.waitFor(async () => (await ask()).status === 200);
});

/** Phase of the exchange × what the VM does then × what the client must see. */
const BREAKS: readonly (readonly [phase: string, script: VmScript, expected: string])[] = [
  ["after the request, by reset", resetConnection(), "502 upstream_reset"],
  ["after the request, by FIN", sendRaw([], "end"), "502 upstream_reset"],
  ["behind an interim answer, by reset", sendRaw("HTTP/1.1 103 Early Hints\r\n\r\n", "reset"), "502 upstream_reset"],
  ["within the head, by FIN", sendRaw("HTTP/1.1 200 OK\r\nContent-Le", "end"), "502 upstream_reset"],
  ["within the head, by reset", sendRaw("HTTP/1.1 200 OK\r\nContent-Le", "reset"), "502 upstream_reset"],
  ["within the body by length, by FIN", sendRaw("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", "end"), "reset"],
  ["within the body by length, by reset", sendRaw("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", "reset"), "reset"],
  ["within the chunks, by FIN", sendRaw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", "end"), "reset"],
  ["within the chunks, by reset", sendRaw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", "reset"), "reset"],
  ["within a body until close, by reset", sendRaw("HTTP/1.1 200 OK\r\n\r\nhalf", "reset"), "reset"],
];

for (
  const [what, rest] of [["without a body", NO_BODY], ["with a body", LENGTH_BODY], ["with a chunked body", CHUNKED_BODY]] as const
) {
  // rule: RFC 9112, 8 | `502` or client connection `reset`, not sent again
  test(`a VM that breaks off, at each phase of a request ${what}: 502 or a broken connection, and no second try`, async () => {
    for (const method of ["PUT", "POST"]) {
      for (const [phase, script, expected] of BREAKS) {
        const { vm, host } = await plane.vm({ script });
        await using client = await plane.open();
        client.send(`${method} / HTTP/1.1\r\nHost: ${host}\r\n${rest}`);
        if (expected === "reset") assert.equal(await client.ended, "reset", phase);
        else assert.equal(verdict(await client.readResponse()), expected, phase);
        assert.equal(vm.requests.length, 1, phase);
        await vm.until(() => vm.open === 0);
      }
    }
  });
}

test("a VM that resets the connection while a body is coming: 502, and the connection closes", async () => {
  const { vm, host } = await plane.vm();
  vm.onHead = (_head, connection) => connection.reset();
  await using client = await plane.open();
  client.send(`POST / HTTP/1.1\r\nHost: ${host}\r\nContent-Length: 10000000\r\n\r\n`);
  client.send(Buffer.alloc(100_000));
  assert.equal(verdict(await client.readResponse()), "502 upstream_reset");
  await client.ended;
  assert.equal(vm.transcripts.length, 1);
});

for (const how of ["reset", "end"] as const) {
  // rule: RFC 9112, 9.5 | VM connection closed
  test(`a client that leaves (${how}) in the middle of its request takes the VM's connection with it`, async () => {
    const { vm, host } = await plane.vm();
    for (const request of ["Content-Length: 9\r\n\r\nhalf", "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"]) {
      await using client = await plane.open();
      client.send(`POST / HTTP/1.1\r\nHost: ${host}\r\n${request}`);
      await vm.until(() => vm.transcripts.at(-1)?.includes("half") === true && vm.open === 1);
      client[how]();
      await vm.until(() => vm.open === 0);
    }
    assert.equal(vm.requests.length, 0);
  });
}

// rule: RFC 9112, 9.5 | VM connection closed
test("a client that leaves while its answer is awaited takes the VM's connection with it", async () => {
  for (const rest of [NO_BODY, LENGTH_BODY, CHUNKED_BODY]) {
    for (const warm of [false, true]) {
      await using other = await plane.open();
      const { vm, host } = warm ? await pooled(other) : await plane.vm();
      vm.script = hang();
      await using client = await plane.open();
      client.send(`POST / HTTP/1.1\r\nHost: ${host}\r\n${rest}`);
      await vm.until(() => vm.requests.at(-1)?.method === "POST");
      client.reset();
      await vm.until(() => vm.open === 0);
    }
  }
});

// rule: RFC 9112, 9.5 | VM connection closed
test("a client that leaves in the middle of its answer takes the VM's connection with it", async () => {
  const { vm, host } = await plane.vm();
  for (const framing of ["Content-Length: 100000000", "Transfer-Encoding: chunked"]) {
    const begun = Promise.withResolvers<VmConnection>();
    vm.script = (_request, connection) => {
      connection.write(`HTTP/1.1 200 OK\r\n${framing}\r\n\r\n5\r\nbegin\r\n`);
      begun.resolve(connection);
    };
    await using client = await plane.open();
    client.send(getRequest(host));
    await begun.promise;
    await client.readUntil("begin");
    client.reset();
    await vm.until(() => vm.open === 0);
  }
});

test("a client that leaves while its request waits for the first probe leaves nothing behind", async () => {
  const { vm, host } = await plane.vm();
  const probing = Promise.withResolvers<void>(), left = Promise.withResolvers<void>();
  vm.onProbe = () => {
    probing.resolve();
    return left.promise;
  };
  await using client = await plane.open();
  client.send(getRequest(host));
  await probing.promise;
  client.reset();
  await settled(plane.proxy);
  left.resolve();
  assert.equal((await rawRequest(plane.proxy.port, getRequest(host, "/other"))).status, 200);
  assert.deepEqual(vm.requests.map((request) => request.target), ["/other"]);
});

test("a thousand exchanges that break leave nothing behind", async () => {
  const broken = sendRaw("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", "reset");
  const [silent, resetting, breaking, fine] = await Promise.all([
    plane.vm({ script: hang() }),
    plane.vm({ script: resetConnection() }),
    plane.vm({ script: broken }),
    plane.vm(),
  ]);
  const bodies = [NO_BODY, LENGTH_BODY, CHUNKED_BODY];
  const exchange = async (host: string, body: string, until: (client: RawConnection) => Promise<unknown>): Promise<void> => {
    await using client = await plane.open();
    client.send(`POST / HTTP/1.1\r\nHost: ${host}\r\n${body}`);
    await until(client);
    client.reset();
  };
  for (let round = 0; round < 84; round++) {
    const asked = silent.vm.requests.length;
    await Promise.all(bodies.flatMap((body) => [
      exchange(silent.host, body, () => silent.vm.until((vm) => vm.requests.length > asked)),
      exchange(resetting.host, body, (client) => client.readResponse()),
      exchange(breaking.host, body, (client) => client.ended),
      exchange(fine.host, body, (client) => client.readResponse()),
    ]));
  }
  await settled(plane.proxy, "none");
  for (const { vm } of [silent, resetting, breaking, fine]) await vm.until(() => vm.open === 0);
});
