/** The tables that were served, one after the other: what each changed, and the way back to one. */
import { useState } from "hono/jsx/dom";
import type { Revision, RevisionsPage } from "../answers.ts";
import { change, pathOf } from "../api-client.ts";
import { count } from "../format.ts";
import { Badge } from "../parts/badge.tsx";
import { Choice } from "../parts/choice.tsx";
import { Dialog } from "../parts/dialog.tsx";
import { List } from "../parts/list.tsx";
import { Moment } from "../parts/moment.tsx";
import type { Column } from "../parts/table.tsx";
import { linkTo } from "../place.ts";
import { usePolled } from "../polled.ts";
import type { ViewProps } from "../views.tsx";

const LIMIT = 50;
const EVERY_MS = 5000;

export function RevisionsView({ place }: ViewProps) {
  const { after = "" } = place.query;
  const revisions = usePolled<RevisionsPage>(pathOf("/api/revisions", { limit: LIMIT, after }), EVERY_MS);
  const pinned = revisions.answer?.pinned ?? null;
  return (
    <div class="view">
      <div class="view-head">
        <h1 tabindex={-1}>Revisions</h1>
        <p>Of the routing table, newest first</p>
        <span class="actions">{pinned !== null && <UnpinButton revision={pinned.revision} onDone={revisions.again} />}</span>
      </div>
      <div class="panel">
        <List
          what="revisions"
          polled={revisions}
          rowsOf={(answer) => answer.revisions}
          after={after}
          caption="Revisions"
          columns={columnsOf(pinned?.revision ?? null, revisions.again)}
          keyOf={({ revision }) => String(revision)}
          empty="No table has been loaded yet."
        />
      </div>
    </div>
  );
}

function columnsOf(pinned: number | null, again: () => void): readonly Column<Revision>[] {
  return [
    {
      title: "Revision",
      names: true,
      cell: ({ revision, current }) => (
        <>
          <a href={linkTo("revision", String(revision))}>{count(revision)}</a> {current && <Badge tone="good">served</Badge>}{" "}
          {revision === pinned && <Badge tone="warning">pinned</Badge>}
        </>
      ),
    },
    { title: "When", number: true, cell: ({ time }) => <Moment at={time} /> },
    {
      title: "Because",
      wide: true,
      cell: ({ reason, source }) => (
        <>
          {reason} <span class="muted">from {source}</span>
        </>
      ),
    },
    { title: "Routes", number: true, cell: ({ routes }) => count(routes) },
    { title: "Added", number: true, cell: ({ added }) => <Delta sign="+" number={added} /> },
    { title: "Removed", number: true, cell: ({ removed }) => <Delta sign="−" number={removed} /> },
    { title: "Changed", number: true, cell: ({ changed }) => <Delta sign="~" number={changed} /> },
    {
      title: "Action",
      cell: ({ revision, restorable }) =>
        restorable
          ? <PinButton revision={revision} onDone={again} />
          : <span class="muted" title="Its routes are no longer kept">gone</span>,
    },
  ];
}

function Delta({ sign, number }: { sign: string; number: number }) {
  return number === 0
    ? <span class="muted">0</span>
    : <span class={`delta ${sign === "+" ? "added" : sign === "−" ? "removed" : "changed"}`}>{sign}{count(number)}</span>;
}

const EXPIRIES = [["1h", "1 hour"], ["15m", "15 minutes"], ["4h", "4 hours"], ["1d", "1 day"], ["7d", "7 days"]] as const;

interface PinProps {
  readonly revision: number;
  readonly onDone: () => void;
}

export function PinButton({ revision, onDone }: PinProps) {
  const [asking, setAsking] = useState(false);
  const [expires, setExpires] = useState<string>(EXPIRIES[0][0]);
  const pin = (): Promise<void> => change<unknown>("POST", `/api/revisions/${revision}/pin`, { expires }).then(onDone);
  return (
    <>
      <button type="button" class="small" aria-label={`Pin revision ${revision}`} onClick={() => setAsking(true)}>Pin</button>
      {asking && (
        <Dialog
          title={`Serve revision ${revision}?`}
          action="Pin"
          dangerous
          onClose={() => setAsking(false)}
          onAction={pin}
        >
          <p>Traffic goes by that table, whatever changes in the database, until the time is over or somebody unpins it.</p>
          <Choice label="For" value={expires} options={EXPIRIES} onChoice={setExpires} />
        </Dialog>
      )}
    </>
  );
}

export function UnpinButton({ revision, onDone }: PinProps) {
  const [asking, setAsking] = useState(false);
  const unpin = (): Promise<void> => change<unknown>("DELETE", "/api/revisions/pin").then(onDone);
  return (
    <>
      <button type="button" onClick={() => setAsking(true)}>Unpin revision {count(revision)}</button>
      {asking && (
        <Dialog title="Follow the database again?" action="Unpin" onClose={() => setAsking(false)} onAction={unpin}>
          <p>Revision {count(revision)} is served no longer; what has changed in the database since then takes effect at once.</p>
        </Dialog>
      )}
    </>
  );
}
