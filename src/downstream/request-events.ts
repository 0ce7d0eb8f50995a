/** What a client's input tells the connection. */
import type { BodyLength } from "../wire/h1/framing.ts";
import type { HeadRefusal } from "../wire/h1/message-head.ts";

export interface RequestEvents {
  /** The first byte of a head, apart from empty lines. */
  onHeadBegun(): void;
  /** `more`: something has come behind the head. The exchange begins. */
  onRequest(length: BodyLength, more: boolean): void;
  onHeadRefused(code: HeadRefusal, problem: string): void;
  /** The next request may come. */
  onAwaitHead(): void;
  /** The rest of an answered request is neither short nor well-formed. */
  onUndiscardable(): void;
  /** The client has sent FIN, and all that came before it has been read. */
  onInputEnd(): void;
}
