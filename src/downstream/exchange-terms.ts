/** What the policy of its route says of an exchange, as far as the client's side carries it out. */
import type { AnswerCode } from "../observation/proxy-error.ts";
import type { FieldChanges } from "../wire/field-edits.ts";
import type { OwnAnswer, OwnWords } from "./own-answer.ts";

export interface ExchangeTerms {
  /** Of the request body, 0 = no limit; null: as the settings say. */
  readonly maxBodyBytes: number | null;
  /** No byte in either direction for so long ends it; null: as the settings say. */
  readonly idleMs: number | null;
  /** Of what an endpoint answers; names are left out of interim answers and trailers too. null: none. */
  readonly responseFields: FieldChanges | null;
  /** Of every answer of the proxy's own: lines, each with its CRLF; empty: none. */
  readonly ownFields: string;
  /** What is answered in the place of a refusal; null: the refusal. */
  answerInsteadOf(code: AnswerCode): OwnAnswer | OwnWords | null;
}
