/** One exchange after the other that does not end as it should: on the client's side, on the VM's, at every phase. */
import { connect } from "node:net";

/** What a client does, and when it leaves. */
interface Abort {
  readonly name: string;
  /** HOST stands for the domain of a VM that only its clients leave, BROKEN for that of one that breaks off by itself. */
  readonly send: string;
  /** It leaves when its bytes are sent, when something has come back, or when the proxy has ended the connection. */
  readonly until: "sent" | "answer" | "end";
  readonly how: "RST" | "FIN";
}

const HALF_BODY = "Content-Length: 100000\r\n\r\nhalf";
const HALF_CHUNKS = "Transfer-Encoding: chunked\r\n\r\n400\r\nhalf";
const UPGRADE = "Connection: Upgrade\r\nUpgrade: raw\r\n\r\n";

function line(method: string, target: string, rest = "\r\n", host = "HOST"): string {
  return `${method} ${target} HTTP/1.1\r\nHost: ${host}\r\n${rest}`;
}

export const ABORTS: readonly Abort[] = [
  { name: "says nothing", send: "", until: "sent", how: "RST" },
  { name: "half a head", send: "GET / HTTP/1.1\r\nHost: ", until: "sent", how: "RST" },
  { name: "half a head, FIN", send: "GET / HTTP/1.1\r\nHost: ", until: "sent", how: "FIN" },
  { name: "malformed", send: line("GET", "/ok", "Content-Length: x\r\n\r\n"), until: "answer", how: "FIN" },
  { name: "GET, no answer", send: line("GET", "/silent"), until: "sent", how: "RST" },
  { name: "GET, a late answer", send: line("GET", "/late"), until: "sent", how: "FIN" },
  { name: "GET, whole, kept alive", send: line("GET", "/ok"), until: "answer", how: "RST" },
  { name: "GET, a large answer", send: line("GET", "/large"), until: "answer", how: "RST" },
  { name: "GET, a large answer in chunks", send: line("GET", "/chunked"), until: "answer", how: "RST" },
  { name: "three large answers, pipelined", send: line("GET", "/large").repeat(3), until: "answer", how: "RST" },
  { name: "half an upload", send: line("POST", "/silent", HALF_BODY), until: "sent", how: "RST" },
  { name: "half an upload, FIN", send: line("POST", "/silent", HALF_BODY), until: "sent", how: "FIN" },
  { name: "half a chunked upload", send: line("PUT", "/silent", HALF_CHUNKS), until: "sent", how: "RST" },
  { name: "half a chunked upload, FIN", send: line("PUT", "/silent", HALF_CHUNKS), until: "sent", how: "FIN" },
  { name: "an early answer mid-upload", send: line("POST", "/early", HALF_BODY), until: "answer", how: "RST" },
  { name: "waiting for 100", send: line("POST", "/silent", `Expect: 100-continue\r\n${HALF_BODY}`), until: "sent", how: "RST" },
  { name: "a tunnel", send: line("GET", "/tunnel", UPGRADE), until: "answer", how: "RST" },
  { name: "a tunnel, FIN", send: line("GET", "/tunnel", UPGRADE), until: "answer", how: "FIN" },
  { name: "VM: RST, POST", send: line("POST", "/reset", "Content-Length: 4\r\n\r\nbody", "BROKEN"), until: "answer", how: "RST" },
  { name: "VM: RST, GET", send: line("GET", "/reset", "\r\n", "BROKEN"), until: "answer", how: "RST" },
  { name: "VM: RST in the answer", send: line("GET", "/half-reset", "\r\n", "BROKEN"), until: "end", how: "RST" },
  { name: "VM: FIN in the answer", send: line("GET", "/half-end", "\r\n", "BROKEN"), until: "end", how: "RST" },
  { name: "VM: garbage", send: line("POST", "/garbage", HALF_BODY, "BROKEN"), until: "answer", how: "RST" },
  { name: "no route", send: line("GET", "/", "\r\n", "nowhere.example.com"), until: "answer", how: "RST" },
];

export interface AbortTarget {
  readonly host: string;
  readonly port: number;
  /** Domains for HOST and BROKEN. */
  readonly calm: string;
  readonly broken: string;
}

/** Resolves when the client's socket is closed. */
export function abortExchange({ send, until, how }: Abort, target: AbortTarget): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const socket = connect({ host: target.host, port: target.port, noDelay: true, allowHalfOpen: true });
  const leave = (): void => void (how === "RST" ? socket.resetAndDestroy() : socket.end());
  socket.on("connect", () => {
    socket.write(send.replaceAll("HOST", target.calm).replaceAll("BROKEN", target.broken));
    if (until === "sent") setImmediate(leave);
  });
  socket.on("data", () => until === "answer" && leave());
  socket.on("end", () => socket.destroy());
  socket.on("error", () => {});
  socket.on("close", () => resolve());
  return promise;
}
