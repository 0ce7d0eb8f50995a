/** What this edge was started with, and the few things that can be changed while it runs. */
import { useState } from "hono/jsx/dom";
import type { LogLevel, Overview, Setting } from "../answers.ts";
import { ApiFailure, change, forgetToken, hasToken } from "../api-client.ts";
import { count, milliseconds } from "../format.ts";
import { Badge } from "../parts/badge.tsx";
import { Choice } from "../parts/choice.tsx";
import { Dialog } from "../parts/dialog.tsx";
import { Moment } from "../parts/moment.tsx";
import { Panel } from "../parts/panel.tsx";
import { Shown } from "../parts/states.tsx";
import { type Column, Table } from "../parts/table.tsx";
import { usePolled } from "../polled.ts";
import type { ViewProps } from "../views.tsx";

const EVERY_MS = 10_000;

const COLUMNS: readonly Column<Setting>[] = [
  { title: "Variable", names: true, cell: ({ variable }) => <code>{variable}</code> },
  {
    title: "Value",
    cell: ({ value, default: usual, masked }) => (
      <>
        <code>{value === "" ? "(empty)" : value}</code> {masked && <Badge tone="plain">masked</Badge>}{" "}
        {value !== usual && <Badge tone="accent">set</Badge>}
      </>
    ),
  },
  { title: "Default", cell: ({ default: usual }) => <code class="muted">{usual === "" ? "–" : usual}</code> },
  { title: "Meaning", wide: true, cell: ({ meaning }) => <Meaning of={meaning} /> },
];

export function SettingsView({ overview }: ViewProps) {
  const settings = usePolled<{ readonly settings: readonly Setting[] }>("/api/settings", 0);
  return (
    <div class="view">
      <div class="view-head">
        <h1 tabindex={-1}>Settings</h1>
        <span class="actions">{hasToken() && <button type="button" onClick={forgetToken}>Sign out</button>}</span>
      </div>
      <div class="columns three">
        <LogLevelPanel />
        <RefreshPanel />
        <DrainPanel overview={overview.answer} />
      </div>
      <Panel title="Started with" aside="Fixed until a restart">
        <Shown what="settings" polled={settings}>
          {(answer) => (
            <Table
              caption="Settings"
              columns={COLUMNS}
              rows={answer.settings}
              keyOf={({ variable }) => variable}
              empty="There are none."
            />
          )}
        </Shown>
      </Panel>
    </div>
  );
}

/** Written for a document: `code` in backticks. */
function Meaning({ of }: { of: string }) {
  return <>{of.split("`").map((part, index) => index % 2 === 1 ? <code key={String(index)}>{part}</code> : part)}</>;
}

const LEVELS = [["debug", "debug"], ["info", "info"], ["warn", "warn"], ["error", "error"]] as const;
const EXPIRIES = [["15m", "15 minutes"], ["1h", "1 hour"], ["4h", "4 hours"], ["1d", "1 day"]] as const;

function LogLevelPanel() {
  const level = usePolled<LogLevel>("/api/log-level", EVERY_MS);
  const [wish, setWish] = useState<string | null>(null);
  const [expires, setExpires] = useState<string>(EXPIRIES[0][0]);
  const [problem, setProblem] = useState("");
  const set = async (event: Event): Promise<void> => {
    event.preventDefault();
    try {
      await change<unknown>("PUT", "/api/log-level", { level: wish ?? level.answer?.level, expires });
      setProblem("");
      setWish(null);
      level.again();
    } catch (error) {
      setProblem(error instanceof ApiFailure ? error.message : String(error));
    }
  };
  return (
    <Panel title="Log level">
      <Shown what="the log level" polled={level}>
        {(answer) => (
          <form class="panel-body" onSubmit={set}>
            <p>
              <b>{answer.level}</b>, {answer.until === null ? "as configured" : (
                <>
                  until <Moment at={answer.until} />, then {answer.configured}
                </>
              )}
            </p>
            <div class="pair">
              <Choice label="Level" value={wish ?? answer.level} options={LEVELS} onChoice={setWish} />
              <Choice label="For" value={expires} options={EXPIRIES} onChoice={setExpires} />
            </div>
            <p class="problem" role="alert">{problem}</p>
            <button type="submit">Set level</button>
          </form>
        )}
      </Shown>
    </Panel>
  );
}

interface Refreshed {
  readonly changed: boolean;
  readonly revision: number;
  readonly routes: number;
  readonly "duration_ms": number;
}

function RefreshPanel() {
  const [told, setTold] = useState("");
  const [busy, setBusy] = useState(false);
  const refresh = async (): Promise<void> => {
    setBusy(true);
    try {
      const answer = await change<Refreshed>("POST", "/api/refresh");
      setTold(
        `${answer.changed ? "Changed" : "Nothing new"}: revision ${count(answer.revision)} with ${
          count(answer.routes)
        } routes, read in ${milliseconds(answer.duration_ms)}.`,
      );
    } catch (error) {
      setTold(error instanceof ApiFailure ? error.message : String(error));
    }
    setBusy(false);
  };
  return (
    <Panel title="Routes">
      <div class="panel-body">
        <p>Read the database now, without waiting for the next refresh.</p>
        <p role="status">{told}</p>
        <button type="button" onClick={refresh} disabled={busy}>{busy ? "Reading…" : "Refresh now"}</button>
      </div>
    </Panel>
  );
}

const WORD = "drain";

function DrainPanel({ overview }: { overview: Overview | null }) {
  const [asking, setAsking] = useState(false);
  const [typed, setTyped] = useState("");
  const [reason, setReason] = useState("");
  const drain = (): Promise<unknown> => change<unknown>("POST", "/api/drain", reason === "" ? {} : { reason });
  const draining = overview !== null && overview.drain !== null;
  return (
    <Panel title="Drain">
      <div class="panel-body">
        <p>
          {draining
            ? "This edge drains."
            : "Take no new connections, finish what runs, then end: the same as SIGTERM. It cannot be taken back."}
        </p>
        <button type="button" class="grave" disabled={draining} onClick={() => setAsking(true)}>Drain this edge…</button>
      </div>
      {asking && (
        <Dialog
          title="Drain and end this edge?"
          action="Drain"
          dangerous
          blocked={typed !== WORD}
          onClose={() => setAsking(false)}
          onAction={drain}
        >
          <p>
            Clients must find another edge. To go on, type <b>{WORD}</b>.
          </p>
          <label class="field">
            <span class="field-name">Type {WORD}</span>
            <input
              autocomplete="off"
              autocapitalize="off"
              onInput={(event: Event) => setTyped((event.target as HTMLInputElement).value.trim())}
            />
          </label>
          <label class="field">
            <span class="field-name">Reason, for the log</span>
            <input maxlength={200} onInput={(event: Event) => setReason((event.target as HTMLInputElement).value.trim())} />
          </label>
        </Dialog>
      )}
    </Panel>
  );
}
