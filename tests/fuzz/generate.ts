/** Cases by number: seed and number alone decide what a case is, so any of them can be run again. */
import { readdirSync, readFileSync } from "node:fs";
import { parseDialogues, type Party } from "../fixtures/dialogue.ts";
import { type CaseKind, type FuzzCase, unescaped } from "./fuzz-case.ts";
import { MANNERS } from "./answering-vm.ts";
import { answerStream, requestStream } from "./grammar.ts";
import { mutated } from "./mutate.ts";
import type { Random } from "./random.ts";

/** What is started from besides the grammar, as Latin-1 text. */
export interface Corpus {
  readonly client: readonly string[];
  readonly server: readonly string[];
}

/** What clients ask where the answer is the VM's. */
const ASKED = [
  "GET / HTTP/1.1\r\nHost: app.test\r\n\r\n",
  "GET / HTTP/1.1\r\nHost: app.test\r\n\r\n",
  "GET / HTTP/1.1\r\nHost: app.test\r\nTE: trailers\r\n\r\n",
  "GET / HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n\r\n",
  "HEAD / HTTP/1.1\r\nHost: app.test\r\n\r\n",
  "POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 2\r\n\r\nhi",
  "POST / HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
  "GET / HTTP/1.0\r\nHost: app.test\r\n\r\n",
  "GET / HTTP/1.0\r\nHost: app.test\r\nConnection: keep-alive\r\n\r\n",
  "GET / HTTP/1.1\r\nHost: app.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
];

const MAX_CORPUS_BYTES = 4000;

/** All dialogues of the tests that are short enough, and corpus.txt. */
export function loadCorpus(): Corpus {
  const client: string[] = [], server: string[] = [];
  const folder = new URL("../dialogue/", import.meta.url);
  for (const name of readdirSync(folder).filter((each) => each.endsWith(".md")).sort()) {
    for (const { steps } of parseDialogues(readFileSync(new URL(name, folder), "utf8"))) {
      const said = (party: Party): string =>
        steps.map((step) => step.kind === "sends" && step.party === party ? step.bytes.toString("latin1") : "").join("");
      if (isShort(said("client"))) client.push(said("client"));
      if (isShort(said("VM"))) server.push(said("VM"));
    }
  }
  for (const line of readFileSync(new URL("corpus.txt", import.meta.url), "utf8").split("\n")) {
    const [, who, text] = /^(client|server) (.*)$/.exec(line) ?? [];
    if (text !== undefined) (who === "client" ? client : server).push(unescaped(text).toString("latin1"));
  }
  return { client, server };
}

/** Dialogues about limits hold bodies whose every cut would take minutes. */
function isShort(text: string): boolean {
  return text !== "" && text.length <= MAX_CORPUS_BYTES;
}

export function generate(kind: CaseKind, random: Random, corpus: Corpus): FuzzCase {
  const bytes = (text: string): Buffer => Buffer.from(text, "latin1");
  if (kind === "requests" || kind === "from-client") {
    const original = random.chance(0.75) ? requestStream(random) : random.pick(corpus.client);
    const manner = kind === "from-client" && random.chance(0.5) ? random.pick(MANNERS) : "prompt";
    const ending = kind === "from-client" && random.chance(0.3) ? "ends" : "stays";
    return { kind, bytes: bytes(mutated(original, random, corpus.client)), methods: [], request: "", ending, manner };
  }
  const request = kind === "from-vm" ? random.pick(ASKED) : "";
  const methods = kind === "from-vm" ? [request.split(" ", 1)[0]!] : random.several(2, () => random.pick(["GET", "HEAD", "POST"]));
  if (methods.length === 0) methods.push("GET");
  const original = random.chance(0.75) ? answerStream(random, methods) : random.pick(corpus.server);
  const ending = random.chance(0.5) ? "stays" : kind === "answers" || random.chance(0.7) ? "ends" : "resets";
  return { kind, bytes: bytes(mutated(original, random, corpus.server)), methods, request, ending, manner: "prompt" };
}
