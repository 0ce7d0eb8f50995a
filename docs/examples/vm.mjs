// A server that tells who it is and what it received, and fails when asked to; the examples of docs/routes.md lead to four of them:
//
//   node vm.mjs blue=127.0.0.5:8080 green=127.0.0.6:8080 red=127.0.0.7:8080 gold=127.0.0.8:8080
//
// /x?fail=blue,green   those two answer with 503          /x?slow=300   all wait for so many ms
// /x?drop=blue         it closes the connection instead of an answer
import { createServer } from "node:http";
import process from "node:process";

/** Fields that every request has are not told. */
const USUAL = /^(host|user-agent|accept|connection|content-(length|type)|via|traceparent|x-(forwarded-.*|real-ip|request-id))$/i;

export function sampleVm(name) {
  return createServer((request, response) => {
    const query = new URL(request.url, "http://vm").searchParams;
    const named = (parameter) => query.get(parameter)?.split(",").includes(name) ?? false;
    const told = `${name}: ${request.method} ${request.url}\n${fieldsOf(request.rawHeaders)}`;
    request.resume().on("end", () => {
      if (named("drop")) request.socket.destroy();
      else setTimeout(() => response.writeHead(named("fail") ? 503 : 200).end(told), Number(query.get("slow") ?? 0));
    });
  });
}

function fieldsOf(raw) {
  let lines = "";
  for (let at = 0; at < raw.length; at += 2) if (!USUAL.test(raw[at])) lines += `  ${raw[at]}: ${raw[at + 1]}\n`;
  return lines;
}

if (process.argv[1]?.endsWith("vm.mjs")) {
  for (const argument of process.argv.slice(2)) {
    const [, name, host, port] = /^(\w+)=(.+):(\d+)$/.exec(argument) ?? [];
    sampleVm(name).listen(Number(port), host, () => process.stdout.write(`${name} listens on ${host}:${port}\n`));
  }
}
