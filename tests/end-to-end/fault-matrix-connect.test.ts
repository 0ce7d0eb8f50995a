/*  The fault matrix where no request has reached the VM yet: connections that are refused or never answered, here and in another
 *  region; and where the VM takes no more of an upload. Beside that, uploads that wait for 100: with no body sent, a PUT may be
 *  sent again.
 */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { askAgain, FAULT_REQUESTS, finalAnswer } from "../fixtures/fault-cell.ts";
import type { Edgeproxy } from "../fixtures/edgeproxy.ts";
import { loopbackAddress } from "../fixtures/ports.ts";
import { insertRegion, insertRoute } from "../fixtures/postgres.ts";
import { getRequest, type RawConnection } from "../fixtures/raw-client.ts";
import { DataPlane, type RoutedVm, settled } from "../fixtures/served-vms.ts";
import { UnresponsiveListener } from "../fixtures/unresponsive-listener.ts";
import { respond } from "../fixtures/vm.ts";

const MIB = 2 ** 20;

let plane: DataPlane;
let silentRegion: UnresponsiveListener;
before(async () => {
  silentRegion = await UnresponsiveListener.start(loopbackAddress());
  plane = await DataPlane.start({
    EDGEPROXY_REGION_PORT: String(silentRegion.port),
    EDGEPROXY_CONNECT_TIMEOUT: "1s",
    EDGEPROXY_HEALTH_INTERVAL: "1h",
    EDGEPROXY_RESPONSE_TIMEOUT: "1s",
    EDGEPROXY_STREAM_TIMEOUT: "2s",
  });
});
after(async () => {
  await plane[Symbol.asyncDispose]();
  await silentRegion[Symbol.asyncDispose]();
});

/** Every request to `host` at once: its answer, and whether the client's connection is of use afterwards. */
async function askAll(host: string, usableHost: string, proxy: Edgeproxy = plane.proxy): Promise<Record<string, string>> {
  const results = await Promise.all(FAULT_REQUESTS.map(async (request): Promise<[string, string]> => {
    await using client = await plane.open(proxy);
    client.send(request.begin.replace("HOST", host) + request.rest);
    const { answer, persistent } = await finalAnswer(client);
    if (persistent) await askAgain(client, getRequest(usableHost));
    else assert.equal(await client.ended, "end");
    return [request.name, `${answer}, ${persistent ? "usable" : "closed"}`];
  }));
  return Object.fromEntries(results);
}

/** What is left of a chunked body when the answer is already known could be endless, so the connection closes. */
function expected(answer: string): Record<string, string> {
  return Object.fromEntries(
    FAULT_REQUESTS.map(({ name, body }) => [name, `${answer}, ${body === "chunks" ? "closed" : "usable"}`]),
  );
}

async function farRoute(name: string, publicIpv4: string): Promise<void> {
  const regionId = await insertRegion(plane.database, { publicIpv4 });
  await insertRoute(plane.database, { name, regionId, privateIp: "10.255.255.1", port: 80 });
  await plane.refresh();
}

// rule: RFC 9110, 15.6.4 | `503 vm_unhealthy`, and no second request
test("connect refused by a VM that was healthy: 503 for every request, without a second VM request", async () => {
  const fine = await plane.vm();
  const { vm, host } = await plane.vm({ script: respond(200, "", "Connection: close") }); // so that nothing rests in the pool
  await using client = await plane.open();
  await askAgain(client, getRequest(host));
  await vm.until(() => vm.open === 0);
  await vm.die();
  assert.deepEqual(await askAll(host, fine.host), expected("503 vm_unhealthy"));
  assert.equal(vm.requests.length, 1);
});

// rule: RFC 9110, 15.6.4 | `503 vm_unhealthy`
test("connect unanswered by a VM that was healthy: 503 for every request", async () => {
  // The request waits for a connection and for another probe: both in less than its stream may rest
  await using proxy = await plane.another({
    EDGEPROXY_CONNECT_TIMEOUT: "1s",
    EDGEPROXY_HEALTH_TIMEOUT: "2s",
    EDGEPROXY_HEALTH_INTERVAL: "1h",
    EDGEPROXY_RESPONSE_TIMEOUT: "1s",
    EDGEPROXY_STREAM_TIMEOUT: "10s",
  });
  const fine = await plane.vm();
  await using late = await UnresponsiveListener.startLate(loopbackAddress());
  const host = await plane.route(late.host, late.port);
  // This request waits for the first probe, which passes; its own connection is the last that the queue takes.
  const first = plane.open(proxy).then(async (client) => {
    await using _ = client;
    client.send(getRequest(host));
    return (await finalAnswer(client)).answer;
  });
  await late.silent();
  assert.deepEqual(await askAll(host, fine.host, proxy), expected("503 vm_unhealthy"));
  assert.equal(await first, "504 response_timeout");
});

// rule: RFC 9110, 15.6.3 | `502 connect_failed`
test("connect refused by another region: 502 for every request", async () => {
  const fine = await plane.vm();
  await farRoute("refused.example.com", loopbackAddress());
  assert.deepEqual(await askAll("refused.example.com", fine.host), expected("502 connect_failed"));
});

// rule: RFC 9110, 15.6.3 | `502 connect_timeout`
test("connect unanswered by another region: 502 for every request", async () => {
  const fine = await plane.vm();
  await farRoute("silent.example.com", silentRegion.host);
  assert.deepEqual(await askAll("silent.example.com", fine.host), expected("502 connect_timeout"));
});

// rule: RFC 9110, 15.6.5 | 504, sent once, both connections closed
test("an upload that its VM takes no more of, PUT and POST, by length and in chunks: 504, sent once, both connections closed", async () => {
  const framings = [["Content-Length", `${64 * MIB}`, ""], ["Transfer-Encoding", "chunked", `${(64 * MIB).toString(16)}\r\n`]];
  const uploads = ["PUT", "POST"].flatMap((method) => framings.map((framing) => [method, ...framing] as const));
  const part = Buffer.alloc(32 * MIB); // more than the kernel holds on the way
  const vms = await Promise.all(uploads.map(() => plane.vm()));
  await using warm = await plane.open(); // a probe could be late beside what is sent then
  for (const { host } of vms) await askAgain(warm, getRequest(host));
  await Promise.all(uploads.map(async ([method, name, value, begin], i) => {
    const { vm, host } = vms[i]!;
    vm.onHead = (_head, connection) => {
      connection.takeOver(() => {});
      connection.socket.pause();
    };
    await using client = await plane.open();
    client.send(`${method} / HTTP/1.1\r\nHost: ${host}\r\n${name}: ${value}\r\n\r\n${begin}`);
    client.send(part);
    assert.deepEqual(await finalAnswer(client), { answer: "504 stream_timeout", persistent: false }, `${method} ${value}`);
    await client.ended;
    assert.equal(vm.transcripts.length, 1, "one connection beside the probe's");
    vm.resetConnections(); // it does not read, so it would never see the end
  }));
});

describe("an upload that waits for 100", () => {
  /** The VM breaks off when it gets the head; answers 100 and then the request on every later connection. */
  async function breakOnce(how: "end" | "reset", client: RawConnection): Promise<RoutedVm & { readonly heads: string[] }> {
    const routed = await plane.vm();
    const { vm, host } = routed;
    await askAgain(client, getRequest(host, "/warm"));
    const heads: string[] = [];
    vm.onHead = (head, connection) => {
      heads.push(head.startLine);
      if (heads.length === 1) connection[how]();
      else connection.write("HTTP/1.1 100 Continue\r\n\r\n");
    };
    return { ...routed, heads };
  }

  const upload = (method: string, host: string): string =>
    `${method} /fault HTTP/1.1\r\nHost: ${host}\r\nExpect: 100-continue\r\nContent-Length: 8\r\n\r\n`;

  for (const how of ["end", "reset"] as const) {
    // rule: RFC 9110, 9.2.2 | sent again on a fresh connection
    test(`PUT, pooled connection gone (${how}): nothing of its body has left, so it is sent again`, async () => {
      await using client = await plane.open();
      const { vm, host, heads } = await breakOnce(how, client);
      client.send(upload("PUT", host));
      assert.equal(await client.readUntil("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
      client.send("all of it".slice(0, 8));
      assert.deepEqual(await finalAnswer(client), { answer: "200", persistent: true });
      assert.equal(heads.length, 2);
      assert.deepEqual(vm.requests.map(({ target }) => target), ["/warm", "/fault"]);
    });

    // rule: RFC 9110, 9.2.2 | 502, sent once, client connection closed
    test(`POST, pooled connection gone (${how}): 502, sent once, and the client's connection closes`, async () => {
      await using client = await plane.open();
      const { host, heads } = await breakOnce(how, client);
      client.send(upload("POST", host));
      // Whether the body still comes is up to the client, so nobody could tell what its next bytes are
      assert.deepEqual(await finalAnswer(client), { answer: "502 upstream_reset", persistent: false });
      assert.equal(await client.readToEnd(), "");
      assert.equal(heads.length, 1);
    });
  }
});

test("nothing is left in use when all clients have gone", () => settled(plane.proxy));
