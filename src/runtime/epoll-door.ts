/** The socket door on Linux under Bun, if the machine lets us: the kernel's own calls through `libc`. */
import { epollConnect } from "./epoll-connect.ts";
import { epollListen } from "./epoll-listener.ts";
import { EpollSystem } from "./epoll-system.ts";
import { bindLibc, type Libc } from "./libc.ts";
import type { SocketDoor } from "./sockets.ts";

/** Null on other systems and runtimes, and where a sandbox keeps us from what it takes. */
export function openEpollDoor(libc: Libc | null = bindLibc()): SocketDoor | null {
  if (libc === null) return null;
  try {
    const system = new EpollSystem(libc);
    return {
      name: "epoll",
      listen: (options) => Promise.resolve().then(() => epollListen(system, options)),
      connect: (options) => epollConnect(system, options),
    };
  } catch {
    return null;
  }
}
