/*  Memory that several processes share: a file without a name (memfd_create(2)), inherited or handed over as a descriptor and mapped by
 *  each. It needs no folder, no /dev/shm and no /proc, so no sandbox of a service manager hides it; it ends with the last process that has
 *  it. Its length is fixed for good: nobody can pull pages away from under somebody else's reads.
 *
 *  Bound apart from the socket calls (libc.ts): an old C library without memfd_create must cost us this only.
 */
import { fstatSync } from "node:fs";
import { constants } from "node:os";
import process from "node:process";
import { bindLibc, errorName, LIBC_NAMES } from "./libc.ts";
import { BUN } from "./which.ts";

export interface MemoryFile {
  readonly descriptor: number;
  readonly memory: ArrayBuffer;
}

interface Calls {
  create(name: Uint8Array, flags: number): number;
  resize(fd: number, length: number): number;
  map(address: null, length: number, protection: number, flags: number, fd: number, offset: number): number | bigint;
  view(address: number, offset: number, length: number): ArrayBuffer;
}

interface Ffi {
  dlopen(path: string, symbols: Record<string, { args: string[]; returns: string }>): { symbols: Record<string, unknown> };
  toArrayBuffer(address: number, offset: number, length: number): ArrayBuffer;
}

const MFD = { CLOEXEC: 1, ALLOW_SEALING: 2, NOEXEC_SEAL: 8 } as const;
const ADD_SEALS = 1033;
const SEALS = 1 | 2 | 4; // no other seals, no shrinking, no growing
const PROT_READ_WRITE = 1 | 2;
const MAP_SHARED = 1;

let bound: Calls | null | undefined;

/** Zeroed. `name` is for /proc/PID/maps. Throws with the reason where there is none. */
export function createMemoryFile(name: string, length: number): MemoryFile {
  const calls = memoryCalls();
  const fd = createFile(calls, name);
  if (fd < 0) throw failure("create a memory file");
  try {
    if (calls.resize(fd, length) < 0) throw failure("resize a memory file");
    bindLibc()!.control(fd, ADD_SEALS, SEALS); // one that cannot be sealed serves as well
    return { descriptor: fd, memory: mapMemoryFile(fd, length) };
  } catch (error) {
    bindLibc()?.close(fd);
    throw error;
  }
}

/** Not executable: with vm.memfd_noexec=2 no others are made, and Linux before 6.3 does not know the flag. */
function createFile(calls: Calls, name: string): number {
  const text = Buffer.from(`${name}\0`);
  const fd = calls.create(text, MFD.CLOEXEC | MFD.ALLOW_SEALING | MFD.NOEXEC_SEAL);
  return fd >= 0 || bindLibc()!.errno() !== constants.errno.EINVAL ? fd : calls.create(text, MFD.CLOEXEC | MFD.ALLOW_SEALING);
}

/** One that another process has made. Throws if it has not this length, or cannot be had. */
export function mapMemoryFile(descriptor: number, length: number): ArrayBuffer {
  const calls = memoryCalls();
  const { size } = fstatSync(descriptor);
  if (size !== length) throw new Error(`Cannot map a memory file of ${size} bytes, where ${length} are meant`);
  const address = calls.map(null, length, PROT_READ_WRITE, MAP_SHARED, descriptor, 0);
  if (typeof address !== "number" || address <= 0) throw failure("map a memory file");
  return calls.view(address, 0, length);
}

function failure(act: string): Error {
  return new Error(`Cannot ${act}: ${errorName(bindLibc()!.errno())}`);
}

function memoryCalls(): Calls {
  bound ??= bind();
  if (bound === null) throw new Error("Cannot share memory on this runtime or machine");
  return bound;
}

function bind(): Calls | null {
  if (BUN === undefined || bindLibc() === null) return null;
  const { getBuiltinModule } = process as unknown as { getBuiltinModule(name: string): Ffi };
  const ffi = getBuiltinModule("bun:ffi");
  for (const name of LIBC_NAMES) {
    try {
      const { symbols } = ffi.dlopen(name, {
        "memfd_create": { args: ["ptr", "u32"], returns: "i32" },
        ftruncate: { args: ["i32", "i64"], returns: "i32" },
        mmap: { args: ["ptr", "usize", "i32", "i32", "i32", "i64"], returns: "ptr" },
      });
      return {
        create: symbols["memfd_create"] as Calls["create"],
        resize: symbols["ftruncate"] as Calls["resize"],
        map: symbols["mmap"] as Calls["map"],
        view: ffi.toArrayBuffer,
      };
    } catch {
      continue;
    }
  }
  return null;
}
