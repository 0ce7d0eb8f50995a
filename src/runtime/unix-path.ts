/*  A listener at a path of the file system, for whoever the permissions of its file let in.
 *
 *      bind PATH.PID (mode 0660) ---> rename over PATH ---> serving ---> close: removed, unless PATH is another's by now
 *
 *  So the path leads to somebody at every moment: while the next generation takes over, and where a process that was killed has left
 *  its file behind. A path at which a program answers that is not ours is refused, and so is a file that is no socket.
 */
import { lstatSync, renameSync, rmSync, statSync } from "node:fs";
import { connect } from "node:net";
import process from "node:process";

/** Of `sun_path`, with its end and what is added to the path while it is bound. */
export const MOST_PATH_BYTES = 107 - ".4194304".length;
/** Of who binds: only owner and group may connect, from the first moment on. */
const UMASK = 0o117;

export interface PlacedListener<Listener> {
  readonly listener: Listener;
  readonly remove: () => void;
}

/** Rejects when the path is somebody else's. */
export async function refuseTakenPath(path: string): Promise<void> {
  const file = lstatSync(path, { throwIfNoEntry: false });
  if (file === undefined) return;
  if (!file.isSocket()) throw systemError("EADDRINUSE", "there is a file that is no socket");
  if (await isAnswered(path)) throw systemError("EADDRINUSE", "another program listens there");
}

/** `listen` binds the path that it is given before it returns. What was at the path before is replaced. */
export function placeListener<Listener>(path: string, listen: (path: string) => Listener): PlacedListener<Listener> {
  const aside = `${path}.${process.pid}`;
  rmSync(aside, { force: true });
  const before = process.umask(UMASK);
  let listener: Listener;
  try {
    listener = listen(aside);
  } finally {
    process.umask(before);
  }
  const { ino, dev } = statSync(aside);
  renameSync(aside, path);
  const remove = () => {
    const there = lstatSync(path, { throwIfNoEntry: false });
    if (there?.ino === ino && there.dev === dev) rmSync(path, { force: true });
  };
  return { listener, remove };
}

/** Who may not connect cannot know; then somebody may be there. */
function isAnswered(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ path });
    const end = (answered: boolean) => {
      socket.destroy();
      resolve(answered);
    };
    socket.on("connect", () => end(true));
    socket.on("error", (error: Error & { code?: string }) => end(error.code !== "ECONNREFUSED" && error.code !== "ENOENT"));
  });
}

function systemError(code: string, message: string): Error {
  return Object.assign(new Error(message), { code });
}
