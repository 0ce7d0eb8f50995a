/*  A large routes file is read by a process of its own: to understand YAML takes half a second per MB and more, and nobody's requests or probes
 *  are to wait for that.
 *
 *    this process                                    `edgeproxy read-routes-file PATH REGION`
 *    starts it          ---------------------------> begun; reads, parses
 *    gathers            <-- part, "next", part, … -- records and text in pieces, none of which takes long
 *    takes the reading  <--------- good or bad ----- ends
 *
 *  Where no process can be started the file is read here after all. One that dies on the way has taken the file for bad: here it might do
 *  the same to this process.
 */
import { stat } from "node:fs/promises";
import { type ChildOptions, type ParentChannel, startChild } from "../runtime/child-process.ts";
import { later } from "../runtime/later.ts";
import type { Timers } from "../runtime/timers.ts";
import type { PolicyRoute, SandboxPolicy, ServiceRecord } from "../table/policy.ts";
import { type FileReading, readConfigFile } from "./file-reading.ts";

/** Up to that many bytes it is not worth a process: some 0.1 s. */
export const MOST_BYTES_HERE = 256 * 1024;
/** The word that starts this program as one that reads a file. */
export const READ_ROUTES_FILE = "read-routes-file";

/** Of 16 MiB, on a machine that has other things to do. */
const MOST_MS = 5 * 60_000;
/** Records per message. */
const PART = 100;
const PART_CHARACTERS = 64 * 1024;

interface Part {
  readonly type: "part";
  readonly text: string;
  readonly services: readonly ServiceRecord[];
  readonly routes: readonly PolicyRoute[];
}

type ReadingMessage =
  | { readonly type: "begun" }
  | Part
  | { readonly type: "good"; readonly sandbox: SandboxPolicy; readonly warnings: readonly string[]; readonly digest: string }
  | { readonly type: "bad"; readonly problems: readonly string[] };

export interface AsideOptions {
  readonly path: string;
  readonly regionId: string;
  readonly timers: Timers;
  /** Nobody wants to know any more: the answer is a problem then. */
  readonly signal: AbortSignal;
  readonly start?: (options: ChildOptions) => Pick<ReturnType<typeof startChild>, "send" | "kill">;
}

/** As `readConfigFile`; this process is not held up for long, however large the file is. */
export async function readAside(options: AsideOptions): Promise<FileReading> {
  const { path, regionId } = options;
  const size = await stat(path).then((found) => found.size, () => 0); // whoever reads it tells what is wrong
  return (size > MOST_BYTES_HERE ? await readByChild(options) : null) ?? await readConfigFile(path, { regionId });
}

/** null: no process could be started. */
export function readByChild({ path, regionId, timers, signal, start = startChild }: AsideOptions): Promise<FileReading | null> {
  const { promise, resolve } = Promise.withResolvers<FileReading | null>();
  const parts: Part[] = [];
  let begun = false;
  const child = start({
    parameters: [READ_ROUTES_FILE, path, regionId],
    descriptors: [],
    onMessage: (received) => {
      const message = received as ReadingMessage;
      begun = true;
      if (message.type === "begun") return;
      if (message.type === "part") parts.push(message);
      else resolve(message.type === "bad" ? { problems: message.problems } : gathered(parts, message));
      later(() => child.send("next")); // in a turn of its own
    },
    onExit: (reason) => resolve(begun ? { problems: [`${path}: the process that read it has ended: ${reason}`] } : null),
  });
  const kill = (problem: string) => {
    resolve({ problems: [`${path}: ${problem}`] });
    child.kill("SIGKILL");
  };
  const cancel = timers.after(MOST_MS, () => kill(`is not understood after ${MOST_MS / 60_000} minutes`));
  const stop = () => kill("is not needed any more");
  signal.addEventListener("abort", stop, { once: true });
  if (signal.aborted) stop();
  return promise.finally(() => {
    cancel();
    signal.removeEventListener("abort", stop);
  });
}

function gathered(parts: readonly Part[], end: Extract<ReadingMessage, { readonly type: "good" }>): FileReading {
  const services = parts.flatMap((part) => part.services), routes = parts.flatMap((part) => part.routes);
  const text = parts.map((part) => part.text).join("");
  return { policies: { services, routes, sandbox: end.sandbox }, warnings: end.warnings, digest: end.digest, text };
}

/** The other end. Resolves when everything has been said, or nobody listens any more. */
export async function tellReading(path: string, regionId: string, parent: Omit<ParentChannel, "close">): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  let messages: Iterator<ReadingMessage> | null = null;
  const sayNext = (): void => {
    const message = messages?.next();
    if (message === undefined || message.done === true) return resolve();
    parent.send(message.value);
  };
  parent.onMessage(sayNext);
  parent.onClose(resolve);
  parent.send({ type: "begun" });
  messages = messagesOf(await readConfigFile(path, { regionId }));
  sayNext();
  await promise;
}

function* messagesOf(reading: FileReading): Generator<ReadingMessage> {
  if ("problems" in reading) return yield { type: "bad", problems: reading.problems };
  const { digest, policies: { services, routes, sandbox }, text, warnings } = reading;
  const nothing: Part = { type: "part", text: "", services: [], routes: [] };
  for (let at = 0; at < text.length; at += PART_CHARACTERS) yield { ...nothing, text: text.slice(at, at + PART_CHARACTERS) };
  for (let at = 0; at < services.length; at += PART) yield { ...nothing, services: services.slice(at, at + PART) };
  for (let at = 0; at < routes.length; at += PART) yield { ...nothing, routes: routes.slice(at, at + PART) };
  yield { type: "good", sandbox, warnings, digest };
}
