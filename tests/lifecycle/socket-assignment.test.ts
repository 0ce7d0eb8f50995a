/** Which worker accepts from which socket. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { assignSockets } from "../../src/lifecycle/socket-assignment.ts";

test("assignSockets() gives each worker its own socket while all serve", () => {
  assert.deepEqual(assignSockets(3, 3, [0, 1, 2]), [[0], [1], [2]]);
});

test("assignSockets() lets all who serve accept from the socket of a worker that does not", () => {
  assert.deepEqual(assignSockets(3, 3, [0, 2]), [[0, 1], [2, 1]]);
  assert.deepEqual(assignSockets(3, 3, [1]), [[1, 0, 2]]);
  assert.deepEqual(assignSockets(3, 3, []), []);
});

test("assignSockets() lets all accept from sockets beyond the number of workers", () => {
  assert.deepEqual(assignSockets(4, 2, [0, 1]), [[0, 2, 3], [1, 2, 3]]);
});

test("assignSockets() lets all accept from all sockets when there are fewer of them than workers", () => {
  assert.deepEqual(assignSockets(1, 2, [0, 1]), [[0], [0]]);
  assert.deepEqual(assignSockets(2, 3, [0, 2]), [[0, 1], [0, 1]]);
});

test("assignSockets() gives nothing where workers bind sockets of their own", () => {
  assert.deepEqual(assignSockets(0, 2, [0, 1]), [[], []]);
});
