/** Signatures of texts that clients keep for us, or are given by operators: of who knows the secret. */
import { createHmac, timingSafeEqual } from "node:crypto";

/** 100 bits, in lower-case letters and the digits 2 to 7: they can stand in a host name, and in any field. */
export const SIGNATURE_LENGTH = 20;

const LETTERS = "abcdefghijklmnopqrstuvwxyz234567";

/** `purpose`: a signature made for one is none for another. */
export function signatureOf(text: string, purpose: string, secret: string): string {
  const digest = createHmac("sha256", secret).update(`${purpose}\0${text}`).digest();
  let signature = "";
  let bits = 0, held = 0;
  for (let at = 0; signature.length < SIGNATURE_LENGTH;) {
    if (held < 5) {
      bits = (bits << 8 | digest[at++]!) & 0xffff;
      held += 8;
    }
    held -= 5;
    signature += LETTERS[bits >> held & 31];
  }
  return signature;
}

/** Without a secret nothing is signed. */
export function isSignatureOf(signature: string, text: string, purpose: string, secret: string): boolean {
  if (secret === "" || signature.length !== SIGNATURE_LENGTH) return false;
  const given = Buffer.from(signature), right = Buffer.from(signatureOf(text, purpose, secret));
  return given.length === right.length && timingSafeEqual(given, right);
}
