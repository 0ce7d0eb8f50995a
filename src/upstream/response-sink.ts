/** Who receives an endpoint's answer. */
import type { ProxyError } from "../observation/proxy-error.ts";
import type { HeaderList } from "../wire/header-list.ts";
import type { BodyLength } from "../wire/h1/framing.ts";
import type { ResponseHead } from "../wire/h1/message-head.ts";

/** `onEnd` and `onFailure` are final. */
export interface ResponseSink {
  onInformational(head: ResponseHead): void;
  onHead(head: ResponseHead, length: BodyLength): void;
  onBody(chunk: Buffer): void;
  onEnd(trailers: HeaderList | null): void;
  /** No more events for now: what was gathered may be written. */
  onReadPause(): void;
  /** The endpoint has taken some of what waited. */
  onRequestProgress(): void;
  /** Everything sent so far has left; only after a send that answered false. */
  onRequestDrain(): void;
  onFailure(error: ProxyError): void;
}

/** For an answer that nobody wants, though its connection can be used again. */
export const DISCARD: ResponseSink = {
  onInformational() {},
  onHead() {},
  onBody() {},
  onEnd() {},
  onReadPause() {},
  onRequestProgress() {},
  onRequestDrain() {},
  onFailure() {},
};
