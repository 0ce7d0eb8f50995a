/*  The memory file behind the numbers that all workers share (`CellTable`). The first supervisor makes it, each worker inherits it, and each
 *  generation is handed that of the one before: rate limits, breakers and ejections go on where they were, also while two generations
 *  serve side by side. Where it cannot be had, each worker counts for itself, and the log says so.
 */
import { fstatSync } from "node:fs";
import type { Log } from "../observation/log.ts";
import { closeDescriptor } from "../runtime/listening-sockets.ts";
import { createMemoryFile, mapMemoryFile, type MemoryFile } from "../runtime/memory-file.ts";
import { machineClock } from "../runtime/machine-clock.ts";
import { CellMemory, MEMORY_BYTES } from "../upstream/cell-memory.ts";
import { CellTable, type MappedCells } from "../upstream/cell-table.ts";

/** The supervisor's end of it. */
export interface CellFile {
  /** For workers and successors. */
  readonly descriptor: number;
  /** A worker has ended: what it has counted counts no more. */
  vacate(pid: number): void;
  close(): void;
}

/** `handedOver`: those of the generation before, as many as its processes have sent; they are ours to close. */
export function openCellFile(handedOver: readonly number[], workers: number, log: Log): CellFile | null {
  try {
    const { descriptor, memory } = adopt(handedOver, log) ?? createMemoryFile("edgeproxy-cells", MEMORY_BYTES);
    const cells = new CellMemory(memory);
    return { descriptor, vacate: (pid) => cells.vacate(pid), close: () => closeDescriptor(descriptor) };
  } catch (error) {
    const level = workers > 1 ? "warn" : "debug"; // one needs nobody to share with
    log[level]("workers cannot share memory, each counts for itself", { error: (error as Error).message });
    return null;
  }
}

/** A worker's own table: over the memory that it has inherited, else over its own. */
export function cellTable(descriptor: number | null, log: Log): CellTable {
  const cells = new CellTable(descriptor === null ? null : mappedCells(descriptor, log));
  let told = false;
  cells.onFull = (name) => {
    if (!told) log.warn("no memory left for numbers that workers share, each counts for itself", { name });
    told = true;
  };
  return cells;
}

/** Null if another release has made it, with another layout: its numbers mean nothing to us. */
function mappedCells(descriptor: number, log: Log): MappedCells | null {
  const nowMs = machineClock();
  if (nowMs === null) return null;
  try {
    return { memory: mapMemoryFile(descriptor, MEMORY_BYTES), nowMs };
  } catch (error) {
    log.warn("cannot share memory with other workers, counting alone", { error: (error as Error).message });
    return null;
  }
}

/** The first of them that we can use; the others are closed. */
function adopt(descriptors: readonly number[], log: Log): MemoryFile | null {
  let found: MemoryFile | null = null;
  for (const descriptor of descriptors) {
    if (found === null) found = adoptOne(descriptor, log);
    if (found?.descriptor !== descriptor) closeDescriptor(descriptor);
  }
  return found;
}

function adoptOne(descriptor: number, log: Log): MemoryFile | null {
  try {
    if (!fstatSync(descriptor).isFile()) throw new Error("Cannot map what is no file");
    const memory = mapMemoryFile(descriptor, MEMORY_BYTES);
    new CellMemory(memory); // throws if it has another layout
    return { descriptor, memory };
  } catch (error) {
    log.info("the generation before counts in another way, counts begin anew", { reason: (error as Error).message });
    return null;
  }
}
