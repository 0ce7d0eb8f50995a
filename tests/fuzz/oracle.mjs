/*  The second reader of the differential fuzzer: llhttp, through the public API of Node.js' `node:http`. Plain JavaScript,
 *  since it runs on whatever Node.js the machine has.
 *
 *  Each line of stdin is a JSON list of jobs, each line of stdout the list of their readings; bytes are Latin-1 strings.
 *  Nothing listens and nothing connects: bytes are handed to node:http as the `data` of duplex streams, so that a reading is
 *  there when the bytes are in. Bodies are taken where node:http pushes them, before its streams have queued anything.
 */
import http from "node:http";
import process from "node:process";
import { createInterface } from "node:readline";
import { Duplex } from "node:stream";
import { setImmediate } from "node:timers/promises";

/** No stricter than the proxy under test in what is a matter of limits, strict in everything else. */
const STRICT = { maxHeaderSize: 1024 * 1024, insecureHTTPParser: false };

class RecordedRequest extends http.IncomingMessage {
  recorded = null;

  push(chunk) {
    const { recorded } = this;
    if (recorded === null) return true; // CONNECT: node:http has emitted no request
    if (chunk !== null) recorded.body += chunk.toString("latin1");
    else {
      recorded.complete = true;
      recorded.trailers = this.rawTrailers;
    }
    return true;
  }
}

const server = http.createServer({ ...STRICT, requireHostHeader: false, IncomingMessage: RecordedRequest });
server.maxHeadersCount = 0;
for (const event of ["request", "checkContinue", "checkExpectation"]) {
  server.on(event, (request, response) => {
    request.recorded = { ...headOf(request), method: request.method, target: request.url, keepAlive: response.shouldKeepAlive };
    request.socket.reading.messages.push(request.recorded);
  });
}
server.on("clientError", (error, socket) => {
  socket.reading.error = described(error);
});

for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(`${JSON.stringify(await readBatch(JSON.parse(line)))}\n`);
}

async function readBatch(jobs) {
  const begun = jobs.map((job) => job.kind === "requests" ? null : beginAnswers(job));
  await setImmediate(); // requests are on their sockets now
  const readings = jobs.map((job, i) => job.kind === "requests" ? readRequests(job) : readAnswers(job, begun[i]));
  await setImmediate(); // and the sockets gone
  return readings;
}

function silentSocket() {
  return new Duplex({
    read() {},
    write(_chunk, _encoding, done) {
      done();
    },
  }).on("error", () => {});
}

function readRequests(job) {
  const socket = silentSocket();
  socket.reading = { messages: [], error: null };
  server.emit("connection", socket);
  socket.emit("data", Buffer.from(job.bytes, "latin1"));
  socket.destroy();
  return socket.reading;
}

/** One client request per answer that may come. */
function beginAnswers(job) {
  return job.methods.map((method) => {
    const socket = silentSocket();
    const request = http.request({
      ...STRICT,
      method,
      setHost: false,
      headers: { Connection: "keep-alive" },
      createConnection: () => socket,
    });
    const answer = { informational: [], message: null, error: null, tunnel: false };
    request.shouldKeepAlive = true;
    request.on("information", (head) => answer.informational.push({ status: head.statusCode, fields: head.rawHeaders }));
    request.on("response", (response) => recordAnswer(answer, request, response));
    request.on("upgrade", (head) => {
      answer.tunnel = true;
      answer.message = { ...headOf(head), status: head.statusCode, reason: head.statusMessage, complete: true, keepAlive: false };
    });
    request.on("error", (error) => answer.error ??= described(error));
    request.end();
    return { socket, request, answer };
  });
}

function recordAnswer(answer, request, response) {
  const message = answer.message = { ...headOf(response), status: response.statusCode, reason: response.statusMessage };
  response.push = (chunk) => {
    if (chunk !== null) message.body += chunk.toString("latin1");
    else {
      message.complete = true;
      message.trailers = response.rawTrailers;
      message.keepAlive = request.shouldKeepAlive;
    }
    return true;
  };
}

/** Answers one after the other, byte by byte: so it is known where each ends. */
function readAnswers(job, begun) {
  const bytes = Buffer.from(job.bytes, "latin1");
  const answers = [];
  let at = 0;
  for (const { socket, answer } of begun) {
    if (at === bytes.length && answers.length > 0) break;
    const started = at;
    while (at < bytes.length && !answer.message?.complete && answer.error === null) {
      socket.emit("data", bytes.subarray(at, at + 1));
      at++;
    }
    const open = answer.message !== null && !answer.message.complete;
    if (job.ended && open && answer.error === null) socket.emit("end");
    // Copies: a socket that is destroyed below counts for node:http as the end of an answer without length
    answers.push({
      ...answer,
      message: answer.message && { ...answer.message },
      start: started,
      end: at,
      untilClose: open && answer.message.complete,
    });
    if (!answer.message?.complete || answer.tunnel || answer.untilClose) break;
  }
  for (const { socket, request } of begun) {
    request.destroy();
    socket.destroy();
  }
  return { answers, length: bytes.length };
}

function headOf(message) {
  return {
    minor: message.httpVersionMinor,
    fields: message.rawHeaders,
    body: "",
    trailers: [],
    complete: false,
    keepAlive: false,
  };
}

/** llhttp's code and its words: `HPE_STRICT: Expected LF after CR`. */
function described(error) {
  return error.reason === undefined ? error.code : `${error.code}: ${error.reason}`;
}
