/** The answer to "what would become of this request": the conclusion first, then why. */
import type { Candidate, Conclusion, ExplainQuestion, Explanation, Field } from "../explanation.ts";
import { count, shortId, words } from "../format.ts";
import { linkTo } from "../place.ts";
import { Badge, Blame, type Tone, Verdict } from "./badge.tsx";
import { Icon } from "./icon.tsx";
import { Facts } from "./panel.tsx";
import { type Column, Table } from "./table.tsx";

type Suppose = ExplainQuestion["suppose"];

interface ExplanationViewProps {
  readonly of: Explanation;
  readonly suppose: Suppose;
  readonly onSuppose: (suppose: Suppose) => void;
}

const TONES: Readonly<Record<Conclusion["kind"], Tone>> = {
  forward: "good",
  "fall-back": "good",
  "probe-first": "warning",
  "table-first": "warning",
  queue: "warning",
  respond: "good",
  refuse: "bad",
};

export function ExplanationView({ of: explanation, suppose, onSuppose }: ExplanationViewProps) {
  const { conclusion, steps, candidates, request, route, policy, service, hop, fields } = explanation;
  const supposed = Object.entries(suppose);
  return (
    <div class="explanation">
      <Verdictline conclusion={conclusion} />
      {supposed.length > 0 && (
        <p class="supposed">
          Supposed: {supposed.map(([key, verdict]) => `${key} is ${verdict}`).join(", ")}{" "}
          <button type="button" class="small" onClick={() => onSuppose({})}>As it is</button>
        </p>
      )}
      <Facts
        of={[
          ["Host", request.host ?? "not readable"],
          ["Matched route", route ?? "none"],
          ...policy === null ? [] : [["Policy", service === null ? policy : `${policy}, to service ${service}`] as const],
          ["Table", revisionText(explanation)],
          ["Decided by", explanation.worker === null ? "the command line" : `worker ${explanation.worker}`],
          ...hop === null ? [] : [["Region hop", `${hop.address}:${hop.port}, Via: ${hop.via}`] as const],
        ]}
      />
      <h3>Steps</h3>
      <ol class="steps">{steps.map((step, index) => <li key={String(index)}>{step}</li>)}</ol>
      {candidates.length > 0 && <h3>Candidates</h3>}
      {candidates.length > 0 && <Candidates of={candidates} suppose={suppose} onSuppose={onSuppose} />}
      {fields !== null && <Fields of={fields} />}
    </div>
  );
}

function Verdictline({ conclusion }: { conclusion: Conclusion }) {
  const tone = TONES[conclusion.kind];
  return (
    <p class={`banner ${tone}`}>
      <Icon name={tone === "good" ? "good" : tone === "warning" ? "warning" : "bad"} />
      <span>
        <b>{words(conclusion.kind)}</b> {conclusion.text}
        {conclusion.code !== null && (
          <>
            (<code>{conclusion.code}</code>, blame <Blame of={conclusion.blame} />)
          </>
        )}
      </span>
    </p>
  );
}

function revisionText({ revision, current_revision: current }: Explanation): string {
  return revision === current ? `revision ${count(revision)}` : `revision ${count(revision)}, the newest is ${count(current)}`;
}

function Candidates(
  { of, suppose, onSuppose }: { of: readonly Candidate[]; suppose: Suppose; onSuppose: ExplanationViewProps["onSuppose"] },
) {
  const columns: readonly Column<Candidate>[] = [
    {
      title: "Endpoint",
      names: true,
      cell: ({ key, kind, region, when }) => (
        <>
          <a href={linkTo("endpoint", key)}>
            <code>{key}</code>
          </a>{" "}
          <span class="muted">
            {kind === "vm" ? "here" : `region ${shortId(region)}`}
            {when === "before" && ", led there before"}
          </span>
        </>
      ),
    },
    {
      title: "Outcome",
      cell: ({ outcome }) => (
        <Badge tone={outcome === "chosen" ? "good" : outcome === "lost" ? "neutral" : "warning"}>{outcome}</Badge>
      ),
    },
    { title: "Why", wide: true, cell: ({ why }) => why },
    { title: "State", cell: ({ availability }) => <Verdict of={availability} /> },
    { title: "Load", number: true, cell: ({ load }) => count(load) },
    {
      title: "What if",
      cell: ({ key, availability, kind }) => {
        if (kind === "region") return "–";
        const other = (suppose[key] ?? (availability === "unhealthy" ? "unhealthy" : "healthy")) === "healthy"
          ? "unhealthy"
          : "healthy";
        return <button type="button" class="small" onClick={() => onSuppose({ ...suppose, [key]: other })}>it were {other}</button>;
      },
    },
  ];
  return <Table caption="Candidates" columns={columns} rows={of} keyOf={({ key, when }) => key + when} empty="" />;
}

interface FieldRow extends Field {
  readonly change: string;
}

const FIELD_COLUMNS: readonly Column<FieldRow>[] = [
  { title: "Field", names: true, cell: ({ name }) => <code>{name}</code> },
  { title: "Change", cell: ({ change }) => <Badge tone={change === "removed" ? "warning" : "accent"}>{change}</Badge> },
  { title: "Value", wide: true, cell: ({ value }) => <code>{value}</code> },
];

function Fields({ of }: { of: NonNullable<Explanation["fields"]> }) {
  const rows = (["set", "added", "removed"] as const).flatMap((change) =>
    of[change].map((field): FieldRow => ({ ...field, change }))
  );
  return (
    <>
      <h3>Header fields on the way</h3>
      <Table
        caption="Header fields that change"
        columns={FIELD_COLUMNS}
        rows={rows}
        keyOf={({ name, change }) => name + change}
        empty="They go on as they came."
      />
    </>
  );
}
