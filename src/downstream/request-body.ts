/** The body of the request under way: what has come of it, how fast, and whether its rest is worth reading when nobody wants it. */
import { BodyReader } from "../wire/h1/body-reader.ts";
import { type BodyLength, CHUNKED } from "../wire/h1/framing.ts";
import type { HeadLimits } from "../wire/h1/message-head.ts";
import { BodyPace, type PaceLimit } from "./body-pace.ts";

/** Rest of a request body that is read and dropped after an early answer to keep the connection. */
const MAX_DISCARD_BYTES = 64 * 1024;

export class RequestBody extends BodyReader {
  receivedBytes = 0;
  /** Of those, dropped since the exchange ended. */
  discardedBytes = 0;
  readonly pace: BodyPace;

  constructor(limits: HeadLimits, pace: PaceLimit) {
    super(limits);
    this.pace = new BodyPace(pace);
  }

  override begin(length: BodyLength): void {
    super.begin(length);
    this.receivedBytes = 0;
    if (length !== 0) this.pace.begin();
  }

  get started(): boolean {
    return this.receivedBytes > 0;
  }

  /** Whether the rest is short, as far as its length tells. */
  get shortRest(): boolean {
    return this.left <= MAX_DISCARD_BYTES;
  }

  /** Whether the rest is known to be short. */
  get knownShortRest(): boolean {
    return this.length !== CHUNKED && this.shortRest;
  }

  /** More has been dropped than a connection is worth. */
  get undiscardable(): boolean {
    return this.discardedBytes > MAX_DISCARD_BYTES;
  }
}
