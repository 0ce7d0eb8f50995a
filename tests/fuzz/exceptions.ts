/** Where llhttp may read otherwise than we do: each exception as narrow as it can be put, with its reason. */
import type { ReadMessage } from "./our-reading.ts";

export interface Difference {
  readonly our: ReadMessage;
  /** The message before on the same connection. */
  readonly before: ReadMessage | undefined;
  readonly rule: string;
  /** What llhttp has complained about. */
  readonly error: string | null;
  /** Of the request, or of the request that was answered. */
  readonly method: string;
  /** Of the message, as it was sent. */
  readonly head: string;
}

interface Exception {
  readonly reason: string;
  readonly applies: (difference: Difference) => boolean;
}

const CLOSED = "HPE_CLOSED_CONNECTION";

export const EXCEPTIONS: readonly Exception[] = [
  {
    reason:
      "chunk extensions: llhttp holds them to its grammar, we pass over any that hold no control byte, and never forward them",
    applies: ({ our, error }) => isChunked(our) && /chunk extension/.test(error ?? ""),
  },
  {
    reason: "framing fields in trailers: llhttp refuses them, we drop them before anybody behind us sees them",
    applies: ({ our, rule, error }) =>
      rule === "end of message" && has(our.trailers, "content-length", "transfer-encoding") &&
      /^HPE_(UNEXPECTED_CONTENT_LENGTH|INVALID_CONTENT_LENGTH|INVALID_TRANSFER_ENCODING|TRANSFER_ENCODING)/i.test(error ?? ""),
  },
  {
    reason: "connection options in trailers: llhttp obeys them, we drop them",
    applies: ({ our, before, rule, error }) =>
      (rule === "keep-alive" && has(our.trailers, "connection", "proxy-connection")) ||
      (error?.startsWith(CLOSED) === true && before !== undefined && has(before.trailers, "connection", "proxy-connection")),
  },
  {
    reason: "Proxy-Connection: llhttp reads it as Connection; RFC 9112, C.2.2 wants it ignored",
    applies: ({ our, rule }) => rule === "keep-alive" && has(our.fields, "proxy-connection"),
  },
  {
    reason: "close together with keep-alive in HTTP/1.0: we close, so nothing is read on",
    applies: ({ our, rule }) => rule === "keep-alive" && our.minor === 0 && !our.keepAlive,
  },
  {
    reason: "a tab behind a connection option: llhttp does not know the option then; RFC 9110, 5.6.1 allows the tab",
    applies: ({ rule, head }) => rule === "keep-alive" && /\r\nconnection:[^\r]*\t/i.test(head),
  },
  {
    reason: "answers to HEAD without framing: node:http asks llhttp for its verdict before it says that this was HEAD",
    applies: ({ our, method, rule }) =>
      rule === "keep-alive" && method === "HEAD" && our.keepAlive && !has(our.fields, "content-length", "transfer-encoding"),
  },
  {
    reason: "close in a 1xx, or one in HTTP/1.0: llhttp takes it for the end; RFC 9110, 15.2 has a final answer follow",
    applies: ({ before, error }) =>
      error?.startsWith(CLOSED) === true && before !== undefined && Number(before.start) < 200 &&
      (!before.keepAlive || has(before.fields, "proxy-connection")),
  },
];

function isChunked(message: ReadMessage): boolean {
  return has(message.fields, "transfer-encoding");
}

/** Names and values alternate; `names` are lower-case. */
function has(fields: readonly string[], ...names: readonly string[]): boolean {
  return fields.some((name, i) => i % 2 === 0 && names.includes(name.toLowerCase()));
}
