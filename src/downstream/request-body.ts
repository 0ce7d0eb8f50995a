/** The body of the request under way: what has come of it, and whether its rest is worth reading when nobody wants it. */
import { BodyReader } from "../wire/h1/body-reader.ts";
import { CHUNKED } from "../wire/h1/framing.ts";

/** Rest of a request body that is read and dropped after an early answer to keep the connection. */
const MAX_DISCARD_BYTES = 64 * 1024;

export class RequestBody extends BodyReader {
  receivedBytes = 0;
  /** Of those, dropped since the exchange ended. */
  discardedBytes = 0;

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
