/** Events over fetch: cut anywhere, and taken up again where they broke off. */
import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import { EventStream } from "../../src/dashboard/event-stream.ts";

interface Answer {
  readonly status: number;
  readonly pieces: readonly string[];
}

const globals = globalThis as unknown as { fetch: unknown; sessionStorage: unknown };
const before = { fetch: globals.fetch, storage: Object.getOwnPropertyDescriptor(globalThis, "sessionStorage") };

afterEach(() => {
  globals.fetch = before.fetch;
  if (before.storage === undefined) delete (globals as { sessionStorage?: unknown }).sessionStorage;
  else Object.defineProperty(globalThis, "sessionStorage", before.storage);
});

/** What `fetch` was asked with, one per try; the last answer stays open. */
function answering(answers: readonly Answer[]): Headers[] {
  const asked: Headers[] = [];
  const storage = { getItem: () => "a-token" };
  Object.defineProperty(globalThis, "sessionStorage", { value: storage, configurable: true, writable: true });
  globals.fetch = (_path: string, init: RequestInit): Promise<Response> => {
    const { status, pieces } = answers[asked.length] ?? { status: 200, pieces: [] };
    const isLast = asked.push(new Headers(init.headers)) >= answers.length;
    const body = new ReadableStream<Uint8Array>({
      start: (controller) => {
        for (const piece of pieces) controller.enqueue(new TextEncoder().encode(piece));
        if (!isLast) controller.close();
        init.signal?.addEventListener("abort", () => isLast && controller.error(init.signal?.reason));
      },
    });
    return Promise.resolve(new Response(body, { status }));
  };
  return asked;
}

/** The stream's first events, until there are as many. */
async function follow(count: number): Promise<string[]> {
  const events: string[] = [];
  const { promise, resolve } = Promise.withResolvers<void>();
  const stream = new EventStream("/api/events?types=error", "", {
    onEvent: (name, data) => {
      if (events.push(`${name} ${JSON.stringify(data)}`) === count) resolve();
    },
    onState: () => {},
  });
  await promise;
  stream.close();
  return events;
}

test("EventStream puts events together that come in pieces, and passes comments over", async () => {
  const text = ': hello\n\nid: 1\nevent: error\ndata: {"n":1}\n\nid: 2\r\nevent: lost\r\ndata: {"events":3}\r\n\r\n';
  answering([{ status: 200, pieces: [...text] }]);
  assert.deepEqual(await follow(2), ['error {"n":1}', 'lost {"events":3}']);
});

test("EventStream shows the token, and asks for what came after the last event it has seen", async () => {
  const asked = answering([
    { status: 200, pieces: ['id: 7\nevent: table\ndata: {"n":7}\n\n', 'id: 8\nevent: table\ndata: {"n"'] },
    { status: 503, pieces: ['{"error":"too_many_streams","message":"There are too many event streams"}'] },
    { status: 200, pieces: ['id: 8\nevent: table\ndata: {"n":8}\n\n'] },
  ]);
  assert.deepEqual(await follow(2), ['table {"n":7}', 'table {"n":8}']);
  assert.deepEqual(asked.map((headers) => headers.get("last-event-id")), [null, "7", "7"]);
  assert.deepEqual(asked.map((headers) => headers.get("authorization")), Array(3).fill("Bearer a-token"));
});
