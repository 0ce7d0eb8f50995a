/*  The conformance table of docs/http.md, made from the tests: a rule without its test is gone from it.
 *
 *  A dialogue is one rule: its heading, the RFC sections beneath it, and what its steps say happens. Where time or real sockets are
 *  needed, an end-to-end test is one rule: its name, with a comment right above it that is read here:
 *
 *      // rule: RFC 9110, 15.5.9 | `408 head_timeout`, client connection closed
 *      test("header timeout: ...", ...);
 *
 *  What stands in back quotes must occur in that test.
 */
import { readdirSync, readFileSync } from "node:fs";
import { type ConnectionState, type Dialogue, parseDialogues, type Party, SECTION, type Step } from "../fixtures/dialogue.ts";

const DIALOGUES = new URL("../dialogue/", import.meta.url);
const END_TO_END = new URL("../end-to-end/", import.meta.url);

/** The files of dialogues in the order of the document; what the fuzzer has found belongs to rules that stand elsewhere. */
const CHAPTERS: Readonly<Record<string, readonly string[]>> = {
  "Requests: nothing ambiguous passes": [
    "request-line",
    "host",
    "request-lines",
    "request-framing",
    "request-chunks",
    "trailers",
    "limits",
    "smuggling",
    "pipelining",
  ],
  "Answers: the same strictness": ["vm-framing", "vm-heads", "vm-bodies", "vm-connections"],
  "What passes, and how": [
    "fields",
    "forwarding-fields",
    "traces",
    "bodies",
    "answers",
    "interim",
    "expectations",
    "early-answers",
    "own-answers",
  ],
  "Connections": ["keep-alive", "http-1.0", "closing"],
  "Upgrades": ["upgrades", "upgrade-refusals", "tunnels"],
};
/** The files of end-to-end tests that carry marks. */
const END_TO_END_CHAPTERS: Readonly<Record<string, readonly string[]>> = {
  "Timeouts": ["timeouts", "slow-bodies"],
  "Limits and floods": ["limits", "abuse-floods"],
  "Strictness and smuggling": ["strictness", "smuggling"],
  "Faults and retries": ["faults", "fault-matrix-connect", "abuse"],
  "Clients that leave": ["leaving-clients"],
  "Streams and tunnels": ["http", "backpressure", "tunnels"],
  "Answers of the proxy": ["answers"],
  "Shutdown": ["shutdown"],
};
export const WITHOUT_RULES: readonly string[] = ["found"];

interface Row {
  readonly rule: string;
  readonly behaviour: string;
  readonly sections: readonly string[];
  /** File and place of the test, as a link. */
  readonly test: string;
}

/** All chapters, as Markdown. Throws when a test does not say what the table needs. */
export function conformanceTables(): string {
  const inNoChapter = [
    ...missing(DIALOGUES, ".md", [...Object.values(CHAPTERS).flat(), ...WITHOUT_RULES]),
    ...missing(END_TO_END, ".test.ts", Object.values(END_TO_END_CHAPTERS).flat()).filter((name) => endToEndRows(name).length > 0),
  ];
  if (inNoChapter.length > 0) throw new Error(`In no chapter of the conformance table: ${inNoChapter.join()}`);
  const chapters = Object.entries(CHAPTERS).map(([chapter, names]) => `## ${chapter}\n\n${names.map(dialogueTable).join("\n\n")}`);
  const rest = Object.entries(END_TO_END_CHAPTERS).map(([chapter, names]) =>
    `### ${chapter}\n\n${table(names.flatMap(endToEndRows))}`
  );
  return [...chapters, "## What needs time or real sockets", ...rest].join("\n\n");
}

/** Files of a folder, without their extension, that are not among the names. */
function missing(folder: URL, extension: string, names: readonly string[]): string[] {
  const files = readdirSync(folder).filter((file) => file.endsWith(extension)).map((file) => file.slice(0, -extension.length));
  return files.filter((file) => !names.includes(file));
}

function dialogueTable(name: string): string {
  const text = readFileSync(new URL(`${name}.md`, DIALOGUES), "utf8");
  const [, title, introduction] = /^# (.+)\n\n([\s\S]+?)\n\n## /.exec(text)!;
  return `### ${title}\n\n${introduction}\n\n${table(dialogueRows(name, parseDialogues(text)))}`;
}

function dialogueRows(name: string, dialogues: readonly Dialogue[]): Row[] {
  return [...Map.groupBy(dialogues, (dialogue) => dialogue.rule)].map(([rule, cases]) => {
    const variants = cases.flatMap(({ variant }) => variant ?? []);
    return {
      rule: variants.length === 0 ? rule : `${rule}: ${variants.join("; ")}`,
      behaviour: behaviourOf(cases),
      sections: cases[0]!.sections,
      test: `[${name}.md](../tests/dialogue/${name}.md#${slug(rule)})`,
    };
  });
}

/** What happens, in the same words for all cases; where they differ in the status, without it. */
function behaviourOf(cases: readonly Dialogue[]): string {
  for (const withStatus of [true, false]) {
    const behaviours = new Set(cases.map((dialogue) => behaviour(dialogue, withStatus)));
    if (behaviours.size === 1) return [...behaviours][0]!;
  }
  throw new Error(`The cases of ${JSON.stringify(cases[0]!.rule)} do not end alike`);
}

const CLIENT_CONNECTION = { open: "kept", idle: "kept", ended: "closed", closed: "closed", reset: "reset" } as const;
const VM_CONNECTION = { open: "open", idle: "kept", ended: "half-closed", closed: "never used again", reset: "reset" } as const;

/** What the client gets, and what becomes of the connections, as the steps say it. */
export function behaviour(dialogue: Dialogue, withStatus = true): string {
  const { steps } = dialogue;
  const parts = [answers(steps, withStatus), `client connection ${CLIENT_CONNECTION[lastState(dialogue, "client", 1)]}`];
  const connections = new Set(steps.flatMap((step) => step.party === "VM" ? [step.connection] : []));
  if (connections.size === 0) parts.push("nothing reaches the VM");
  const states = [...connections].map((connection) => VM_CONNECTION[lastState(dialogue, "VM", connection)]);
  if (connections.size > 0) parts.push(`VM connection ${states.join(", the next ")}`);
  return parts.join(", ");
}

/** What a dialogue says of a connection last; it must say something. */
function lastState({ title, steps }: Dialogue, party: Party, connection: number): ConnectionState {
  const last = steps.findLast((step) => step.kind === "connection" && step.party === party && step.connection === connection);
  if (last?.kind !== "connection") throw new Error(`${JSON.stringify(title)} does not say what becomes of ${party} ${connection}`);
  return last.is;
}

function answers(steps: readonly Step[], withStatus: boolean): string {
  const text = steps.map((step) => step.kind === "receives" && step.party === "client" ? step.text : "").join("");
  const said: string[] = [];
  for (const [, status, fields] of text.matchAll(/HTTP\/1\.1 (\d{3}) [^\r]*\r\n((?:[^\r]+\r\n)*)\r\n/g)) {
    const code = /^X-Edgeproxy-Error: (\w+)\r$/m.exec(fields!)?.[1];
    const relayed = status === "101" ? "relayed, tunnel" : "relayed";
    const words = code !== undefined ? `\`${status} ${code}\`` : withStatus ? `\`${status}\` ${relayed}` : relayed;
    if (said.at(-1) !== words) said.push(words);
    if (status === "101") break; // behind it come raw bytes
  }
  return said.length === 0 ? "no answer" : said.join(", ");
}

/** The marked tests of a file of tests/end-to-end. */
function endToEndRows(name: string): Row[] {
  return rulesOf(`${name}.test.ts`, readFileSync(new URL(`${name}.test.ts`, END_TO_END), "utf8"));
}

export function rulesOf(name: string, source: string): Row[] {
  const rows = [...source.matchAll(/^ *\/\/ rule: (.+) \| (.+)\n *test\(\s*(["`])([^\n]+)\3,/gm)].map((match) => {
    const [whole, sections = "", behaviour = "", , title = ""] = match;
    const body = scopeOf(source, match.index, match.index + whole.length);
    for (const [, quoted = ""] of behaviour.matchAll(/`([^`]+)`/g)) {
      const missing = quoted.split(" ").filter((word) => !body.includes(word));
      if (missing.length > 0) {
        throw new Error(`${name}: ${JSON.stringify(title)} says ${quoted}, and does not test ${missing.join()}`);
      }
    }
    const list = sections.split("; ");
    if (!list.every((section) => SECTION.test(section))) {
      throw new Error(`${name}: ${JSON.stringify(sections)} are no RFC sections`);
    }
    return {
      rule: title.replaceAll(/\$\{[^}]+\}/g, "…"),
      behaviour,
      sections: list,
      test: `[${name}](../tests/end-to-end/${name})`,
    };
  });
  const marks = source.match(/\/\/ rule:/g)?.length ?? 0;
  if (marks !== rows.length) throw new Error(`${name}: ${marks} rules, but ${rows.length} with a test right below`);
  return rows;
}

/** The text of the test whose mark lies at [start, end), with the loop that it stands in. */
function scopeOf(source: string, start: number, end: number): string {
  const loop = source[start] === " " ? Math.max(source.lastIndexOf("\nfor (", start), 0) : end;
  const rest = source.slice(end);
  return source.slice(loop, end + (/^ *(?:\/\/ rule:|test\()/m.exec(rest)?.index ?? rest.length)).replace(/\/\/ rule:.*/g, "");
}

function table(rows: readonly Row[]): string {
  const lines = rows.map(({ rule, behaviour, sections, test }) => {
    return `| ${cell(rule)} | ${cell(behaviour)} | ${sections.map(reference).join(", ")} | ${test} |`;
  });
  return ["| rule | our behaviour | RFC | test |", "| --- | --- | --- | --- |", ...lines].join("\n");
}

function cell(text: string): string {
  return text.replaceAll("|", "\\|").replaceAll("*", "\\*");
}

/** `RFC 9112, 6.3` as a link. */
function reference(section: string): string {
  const [, rfc, part] = /^RFC (\d+), (.+)$/.exec(section) ?? [];
  if (rfc === undefined) return `[${section}](https://www.w3.org/TR/trace-context-2/)`;
  return `[${rfc}, ${part}](https://www.rfc-editor.org/rfc/rfc${rfc}#section-${part})`;
}

/** The anchor that Markdown readers give a heading. */
function slug(heading: string): string {
  return heading.toLowerCase().replaceAll(/[^\w\- ]/g, "").replaceAll(" ", "-");
}
