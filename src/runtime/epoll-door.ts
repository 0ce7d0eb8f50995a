/** The socket door on Linux under Bun, if the machine lets us: the kernel's own calls through `libc`. */
import { epollConnect } from "./epoll-connect.ts";
import { epollListen } from "./epoll-listener.ts";
import { EpollSystem } from "./epoll-system.ts";
import { bindLibc, type Libc } from "./libc.ts";
import type { SocketDoor } from "./sockets.ts";

let opened: EpollSystem | null | undefined;

/** What all sockets of the process share. Null on other systems and runtimes, and where a sandbox keeps us from what it takes. */
export function epollSystem(): EpollSystem | null {
  return opened ??= openSystem(bindLibc());
}

/** Null without a system. */
export function openEpollDoor(system: EpollSystem | null = epollSystem()): SocketDoor | null {
  if (system === null) return null;
  return {
    name: "epoll",
    listen: (options) => Promise.resolve().then(() => epollListen(system, options)),
    connect: (options) => epollConnect(system, options),
  };
}

/** As `epollSystem`, with these calls. */
export function openSystem(libc: Libc | null): EpollSystem | null {
  if (libc === null) return null;
  try {
    return new EpollSystem(libc);
  } catch {
    return null;
  }
}
