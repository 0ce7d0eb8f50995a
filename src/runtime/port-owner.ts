/** Who listens at an address that we could not have, as far as Linux tells. Reads much of /proc: for errors of the start only. */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import process from "node:process";

const LISTEN = "0A";
/** All addresses of a family. */
const ALL: ReadonlySet<string> = new Set(["0.0.0.0", "::"]);

interface ListeningEntry {
  readonly host: string;
  readonly port: number;
  readonly uid: string;
  readonly inode: string;
}

/** The error of a listener; one of EADDRINUSE says by whom the address is taken, if that can be known. */
export function namingPortOwner(error: unknown, host: string, port: number): unknown {
  if (!(error instanceof Error) || (error as { code?: unknown }).code !== "EADDRINUSE") return error;
  const owner = portOwner(host, port);
  if (owner !== null) error.message += `, taken by ${owner}`;
  return error;
}

/** `nginx (pid 123)`; null if nobody is known to listen there. `host`: IP literal, or empty for all addresses. */
export function portOwner(host: string, port: number): string | null {
  try {
    const entry = entryOf(host, port);
    if (entry === undefined) return null;
    const pid = holderOf(entry);
    if (pid !== null) return `${readFileSync(`/proc/${pid}/comm`, "utf8").trim()} (pid ${pid})`;
    // One of ours has closed it while we looked, or is of another container
    const whose = Number(entry.uid) === process.geteuid?.() ? "a process that cannot be seen" : "another user's process";
    return `${whose} (uid ${entry.uid})`;
  } catch {
    return null; // no /proc
  }
}

/** The process that listens there; null: nobody, or that cannot be known. `host` as above. */
export function portHolder(host: string, port: number): number | null {
  try {
    const entry = entryOf(host, port);
    return entry === undefined ? null : holderOf(entry);
  } catch {
    return null; // no /proc
  }
}

function entryOf(host: string, port: number): ListeningEntry | undefined {
  const entries = [...entriesOf("/proc/net/tcp"), ...entriesOf("/proc/net/tcp6")];
  const here = host.includes(":") ? shortest(host) : host;
  return entries.find((each) => each.port === port && (here === "" || each.host === here || ALL.has(here) || ALL.has(each.host)));
}

/** The listening sockets of a table of the kernel. */
function entriesOf(path: string): ListeningEntry[] {
  return readFileSync(path, "latin1").split("\n").slice(1).flatMap((line) => {
    const [, local = "", , state, , , , uid = "", , inode = ""] = line.trim().split(/\s+/);
    const [address = "", port = ""] = local.split(":");
    return state === LISTEN ? [{ host: hostOf(address), port: Number.parseInt(port, 16), uid, inode }] : [];
  });
}

/** The kernel prints addresses as 32-bit numbers of the machine, which is little-endian wherever we run. */
function hostOf(hex: string): string {
  const bytes = (hex.match(/.{8}/g) ?? []).flatMap((word) => (word.match(/../g) ?? []).reverse());
  if (bytes.length === 4) return bytes.map((byte) => Number.parseInt(byte, 16)).join(".");
  return shortest(bytes.join("").match(/.{4}/g)?.join(":") ?? "");
}

/** One spelling of an IPv6 address. */
function shortest(host: string): string {
  return new URL(`http://[${host}]/`).hostname.slice(1, -1);
}

/** The process with the lowest pid that has this open: where several share a socket, the one that opened it. */
function holderOf({ inode }: ListeningEntry): number | null {
  const pids = readdirSync("/proc").map(Number).filter((pid) => pid > 0).sort((one, other) => one - other);
  return pids.find((pid) => holds(pid, `socket:[${inode}]`)) ?? null;
}

function holds(pid: number, link: string): boolean {
  try {
    const folder = `/proc/${pid}/fd`;
    return readdirSync(folder).some((fd) => linkOf(`${folder}/${fd}`) === link);
  } catch {
    return false; // gone, or not ours to look into
  }
}

function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return ""; // closed meanwhile
  }
}
