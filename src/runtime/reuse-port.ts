/*  Who of several sockets of one address (SO_REUSEPORT) gets the connections that come in. The kernel shares them out by a hash; a
 *  filter, one instruction of classic BPF, can name the one instead, by its place in the order in which they were bound.
 *
 *  When a server closes its socket, the connections in its queue are reset. One that is to be succeeded by another process, and has a
 *  listener that cannot be handed over (`Bun.serve`), therefore gets none any more before it closes.
 */
import { readdirSync } from "node:fs";
import { bindLibc, type Libc, SOCKET } from "./libc.ts";
import { ADDRESS_BYTES, encodeAddress } from "./socket-address.ts";

/** `BPF_RET | BPF_K`: the answer is the constant. */
const RETURN = 0x06;
const FILTER_BYTES = 8;
const PROGRAM_BYTES = 16;

/**
 * From now on the socket of this address that was bound second gets everything, as long as there are two; one that is alone gets it
 * anyway. To be called by whoever has bound that one. `host`: IP literal, or empty for all addresses. False where it cannot be done.
 */
export function preferSecond(host: string, port: number): boolean {
  const libc = bindLibc();
  const fd = libc === null ? undefined : listeningAt(libc, host, port);
  if (libc === null || fd === undefined) return false;
  const filter = Buffer.alloc(FILTER_BYTES);
  filter.writeUInt16LE(RETURN, 0);
  filter.writeUInt32LE(1, 4); // counted from 0
  const program = Buffer.alloc(PROGRAM_BYTES);
  program.writeUInt16LE(1, 0); // instructions
  program.writeBigUInt64LE(BigInt(libc.addressOf(filter)), 8);
  return libc.setOption(fd, SOCKET.SOL_SOCKET, SOCKET.ATTACH_REUSEPORT_CBPF, program, program.length) === 0;
}

/** The runtime does not tell the descriptor of its server. */
function listeningAt(libc: Libc, host: string, port: number): number | undefined {
  const wanted = encodeAddress(libc, host === "" ? "::" : host, port);
  if (wanted === null) return undefined;
  const accepting = Int32Array.of(0);
  const address = Buffer.alloc(ADDRESS_BYTES);
  return readdirSync("/proc/self/fd").map(Number).find((fd) => {
    if (libc.getOption(fd, SOCKET.SOL_SOCKET, SOCKET.ACCEPTCONN, accepting, Int32Array.of(4)) !== 0 || accepting[0] !== 1) {
      return false;
    }
    if (libc.socketName(fd, address, Int32Array.of(ADDRESS_BYTES)) !== 0) return false;
    return address.subarray(0, wanted.bytes.length).equals(wanted.bytes);
  });
}
