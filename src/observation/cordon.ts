/** An operator's wish that an endpoint gets no new requests for a while. Plain JSON; moments since 1970. */
export interface Cordon {
  /** Of the endpoint. */
  readonly key: string;
  readonly sinceAtMs: number;
  readonly untilAtMs: number;
  /** As the operator says; may be empty. */
  readonly reason: string;
  /** Address of the operator, or `unix socket`. */
  readonly by: string;
}
