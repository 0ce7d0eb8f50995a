/** A VM that reads requests as plainly as can be, and answers each with its number in the manner it is given. */
import { cutHead, cutMessage, fieldValue, type Head } from "../fixtures/http1.ts";
import type { MemorySocket } from "../fixtures/memory-socket.ts";

/**
 *  prompt      answers a request as soon as it is complete
 *  late        answers when the client has sent all that it sends
 *  early       answers as soon as the head is complete
 *  closing     answers a complete request, and ends its connection
 *  upgrading   like prompt, but grants every wish for another protocol
 *  stalling    like prompt, but neither it nor the client reads while the client sends
 */
export const MANNERS = ["prompt", "late", "early", "closing", "upgrading", "stalling"] as const;
export type Manner = (typeof MANNERS)[number];

interface Conversation {
  /** Where the request begins that comes next or is coming. */
  readAt: number;
  /** It has been answered before it was complete. */
  answered: boolean;
  tunnelAt: number | null;
}

export class AnsweringVm {
  readonly #manner: Manner;
  readonly #conversations: Map<MemorySocket, Conversation> = new Map();
  #answers = 0;

  constructor(manner: Manner) {
    this.#manner = manner;
  }

  /** Where the bytes of a tunnel begin among all that the connection got; null when it is none. */
  tunnelAt(socket: MemorySocket): number | null {
    return this.#conversations.get(socket)?.tunnelAt ?? null;
  }

  /** Answers at most one request of all that a connection has got; false when there was nothing to do. */
  react(socket: MemorySocket, received: Buffer): boolean {
    const conversation = this.#conversation(socket);
    if (socket.state !== "open" || conversation.tunnelAt !== null) return false;
    const rest = received.subarray(conversation.readAt);
    const complete = cutMessage(rest);
    if (complete !== null) {
      const answered = conversation.answered;
      conversation.readAt += complete.raw.length;
      conversation.answered = false;
      if (!answered) this.#answer(socket, complete, conversation);
      return true;
    }
    const head = this.#manner === "early" && !conversation.answered ? cutHead(rest) : null;
    if (head === null) return false;
    conversation.answered = true;
    this.#answer(socket, head, conversation);
    return true;
  }

  #answer(socket: MemorySocket, request: Pick<Head, "startLine" | "fields">, conversation: Conversation): void {
    const protocol = this.#manner === "upgrading" ? fieldValue(request, "upgrade")?.split(",", 1)[0] : undefined;
    if (protocol !== undefined) {
      conversation.tunnelAt = conversation.readAt;
      socket.send(Buffer.from(`HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: ${protocol}\r\n\r\n`, "latin1"));
      return;
    }
    const body = `answer ${++this.#answers}`;
    const close = this.#manner === "closing" ? "Connection: close\r\n" : "";
    const head = `HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n${close}\r\n`;
    socket.send(Buffer.from(request.startLine.startsWith("HEAD ") ? head : head + body));
    if (this.#manner === "closing") socket.finish();
  }

  #conversation(socket: MemorySocket): Conversation {
    let conversation = this.#conversations.get(socket);
    if (conversation === undefined) {
      conversation = { readAt: 0, answered: false, tunnelAt: null };
      this.#conversations.set(socket, conversation);
    }
    return conversation;
  }
}
