/** One case of the fuzzer: bytes, and what must be known to read them. */
import type { Manner } from "./answering-vm.ts";

/**
 *  requests      bytes of a client, read by our parser and by llhttp
 *  answers       bytes of a server, likewise
 *  from-client   bytes of a client through the whole data plane; what the VM got is read by llhttp
 *  from-vm       bytes of a VM through the whole data plane; what the client got is read by llhttp
 */
export const CASE_KINDS = ["requests", "answers", "from-client", "from-vm"] as const;
export type CaseKind = (typeof CASE_KINDS)[number];

export interface FuzzCase {
  readonly kind: CaseKind;
  readonly bytes: Buffer;
  /** `answers`: methods of the requests that are answered, in order. */
  readonly methods: readonly string[];
  /** `from-vm`: what the client has asked. */
  readonly request: string;
  /** What the sender does behind the bytes. */
  readonly ending: Ending;
  /** `from-client`: how the VM answers. */
  readonly manner: Manner;
}

export const ENDINGS = ["stays", "ends", "resets"] as const;
export type Ending = (typeof ENDINGS)[number];

/** A difference, a crash or a broken rule. `rule` names it: a case is shrunk as long as the same rule is broken. */
export interface Failure {
  readonly rule: string;
  readonly details: string;
}

/** Latin-1 bytes as printable text; a backslash escape for everything else, as in dialogues. */
export function escaped(bytes: Buffer): string {
  return bytes.toString("latin1").replaceAll(/[\\\r\n\t\0]|[^ -~]/g, (c) => {
    const named: Readonly<Record<string, string>> = { "\\": "\\\\", "\r": "\\r", "\n": "\\n", "\t": "\\t", "\0": "\\0" };
    return named[c] ?? `\\x${c.charCodeAt(0).toString(16).padStart(2, "0")}`;
  });
}

export function unescaped(text: string): Buffer {
  const bytes = text.replaceAll(/\\(r|n|t|0|\\|x([0-9a-fA-F]{2}))/g, (_, name: string, hex: string | undefined) => {
    if (hex !== undefined) return String.fromCharCode(Number.parseInt(hex, 16));
    return { r: "\r", n: "\n", t: "\t", "0": "\0", "\\": "\\" }[name]!;
  });
  return Buffer.from(bytes, "latin1");
}

/** As the body of a dialogue's fenced block: a line per CRLF, a backslash where a line has none. */
export function asBlock(bytes: Buffer): string {
  // A backslash at the end of a line would be read as "no CRLF here"
  const lines = bytes.toString("latin1").split("\r\n").map((line) =>
    escaped(Buffer.from(line, "latin1")).replace(/\\\\$/, "\\x5c")
  );
  const rest = lines.pop();
  if (rest !== "") lines.push(`${rest}\\`);
  return ["```http", ...lines, "```"].join("\n");
}

/** What to run to see the case again. */
export function replayCommand(fuzzCase: FuzzCase): string {
  const flags = [`--kind ${fuzzCase.kind}`];
  if (fuzzCase.kind === "answers") flags.push(`--methods ${fuzzCase.methods.join(",")}`);
  if (fuzzCase.kind === "from-vm") flags.push(`--request ${quoted(Buffer.from(fuzzCase.request, "latin1"))}`);
  if (fuzzCase.manner !== "prompt") flags.push(`--manner ${fuzzCase.manner}`);
  if (fuzzCase.ending !== "stays") flags.push(`--ending ${fuzzCase.ending}`);
  return `deno task fuzz ${flags.join(" ")} --replay ${quoted(fuzzCase.bytes)}`;
}

/** For a shell. */
function quoted(bytes: Buffer): string {
  return `'${escaped(bytes).replaceAll("'", "\\x27")}'`;
}
