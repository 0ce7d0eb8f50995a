/*  Bytes to standard output that are taken at once or not at all (EAGAIN), however full it is: who waits there serves nobody.
 *
 *  That cannot be left to O_NONBLOCK. It belongs to the open file, which supervisor, workers and successors share, and Bun (1.4.5) takes
 *  it away whenever it starts a child that inherits the file; a child that is Bun's, too, brings it back when it is up, 50 to 200 ms
 *  later, and one that is not, never. So:
 *
 *  - a pipe is opened anew, with flags of its own;
 *  - a socket (systemd's journal) is told with each call;
 *  - where neither can be done (a pipe of another user's, no libc), and for files and terminals, the file is written to as it is.
 */
import { constants, fstatSync, openSync, type Stats, writeSync } from "node:fs";
import { bindLibc, errorName, SOCKET } from "./libc.ts";

const STANDARD_OUTPUT = 1;
/** What a pipe takes whole or not at all. */
const PIPE_BUF = 4096;

/** Nobody will ever read. */
const GONE: ReadonlySet<string> = new Set(["EPIPE", "ECONNRESET", "ENOTCONN", "EBADF"]);

type Write = (bytes: Uint8Array, offset: number) => number;

let chosen: Write | undefined;

/** Writes bytes [offset, end) and returns how many were taken; throws the system's error, as `fs.writeSync` does. */
export function writeOutput(bytes: Uint8Array, offset: number): number {
  chosen ??= choose();
  return chosen(bytes, offset);
}

/**
 * How many bytes are taken whole, however many processes write: of a pipe or a socket few, of a file all, since the kernel lets one write
 * at a time.
 */
export function wholeBytes(): number {
  return kindOf(STANDARD_OUTPUT)?.isFile() === true ? Infinity : PIPE_BUF;
}

function choose(): Write {
  const kind = kindOf(STANDARD_OUTPUT);
  if (kind?.isFIFO() === true) return writeTo(openAnew() ?? STANDARD_OUTPUT);
  return (kind?.isSocket() === true ? sendTo(STANDARD_OUTPUT) : null) ?? writeTo(STANDARD_OUTPUT);
}

function kindOf(fd: number): Stats | null {
  try {
    return fstatSync(fd);
  } catch {
    return null; // closed
  }
}

function openAnew(): number | null {
  try {
    return openSync(`/proc/self/fd/${STANDARD_OUTPUT}`, constants.O_WRONLY | constants.O_NONBLOCK);
  } catch {
    return null; // another user's, nobody reads it any more, or no /proc
  }
}

function writeTo(fd: number): Write {
  return (bytes, offset) => writeSync(fd, bytes, offset, bytes.length - offset);
}

function sendTo(fd: number): Write | null {
  const libc = bindLibc();
  if (libc === null) return null;
  return (bytes, offset) => {
    const taken = libc.send(fd, bytes.subarray(offset), bytes.length - offset, SOCKET.MSG_DONTWAIT | SOCKET.MSG_NOSIGNAL);
    if (taken >= 0) return taken;
    const errno = errorName(libc.errno());
    const code = GONE.has(errno) ? errno : "EAGAIN"; // the number may have been overwritten (libc.ts), and a log must not end by that
    throw Object.assign(new Error(`Cannot write to standard output: ${code}`), { code });
  };
}
