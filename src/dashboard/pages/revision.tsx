/** What one revision changed, page by page. */
import type { RevisionDetails, RouteChange, RouteEndpoint } from "../answers.ts";
import { pathOf } from "../api-client.ts";
import { count } from "../format.ts";
import { Badge, type Tone } from "../parts/badge.tsx";
import { Moment } from "../parts/moment.tsx";
import { Facts, Panel } from "../parts/panel.tsx";
import { Shown } from "../parts/states.tsx";
import { type Column, Pager, Table } from "../parts/table.tsx";
import { changeQuery, linkTo } from "../place.ts";
import { usePolled } from "../polled.ts";
import type { ViewProps } from "../views.tsx";
import { PinButton } from "./revisions.tsx";

const LIMIT = 100;

const TONES: Readonly<Record<RouteChange["change"], Tone>> = { added: "good", removed: "bad", changed: "warning" };

const COLUMNS: readonly Column<RouteChange>[] = [
  { title: "Host", names: true, wide: true, cell: ({ host }) => <a href={linkTo("route", host)}>{host}</a> },
  { title: "Change", cell: ({ change }) => <Badge tone={TONES[change]}>{change}</Badge> },
  { title: "Before", cell: ({ before }) => <Targets of={before} tone="removed" /> },
  { title: "After", cell: ({ after }) => <Targets of={after} tone="added" /> },
];

export function RevisionView({ place }: ViewProps) {
  const { after = "" } = place.query;
  const revision = usePolled<RevisionDetails>(
    pathOf(`/api/revisions/${encodeURIComponent(place.subject)}`, { limit: LIMIT, after }),
    0,
  );
  const { answer } = revision;
  return (
    <div class="view">
      <div class="view-head">
        <h1 tabindex={-1}>Revision {place.subject}</h1>
        {answer?.current === true && <Badge tone="good">served</Badge>}
        <span class="actions">
          {answer?.restorable === true && <PinButton revision={answer.revision} onDone={revision.again} />}
        </span>
      </div>
      <Shown what={`revision ${place.subject}`} polled={revision}>
        {(details) => (
          <>
            <Panel title="Summary">
              <Facts
                of={[
                  ["When", <Moment at={details.time} key="when" />],
                  ["Because", `${details.reason}, from ${details.source}`],
                  ["Routes", count(details.routes)],
                  ["Added, removed, changed", `${count(details.added)}, ${count(details.removed)}, ${count(details.changed)}`],
                ]}
              />
            </Panel>
            <Panel title="Changes">
              {details.changes === null ? <p class="state">What it changed is no longer kept.</p> : (
                <>
                  <Table
                    caption="Hosts that it changed"
                    columns={COLUMNS}
                    rows={details.changes}
                    keyOf={({ host }) => host}
                    busy={revision.busy}
                    empty="It changed no host."
                  />
                  <Pager
                    shown={details.changes.length}
                    total={null}
                    noun="changes"
                    after={after}
                    next={details.next}
                    onPage={(next) => changeQuery({ after: next })}
                  />
                </>
              )}
            </Panel>
          </>
        )}
      </Shown>
    </div>
  );
}

const FEW = 3;

function Targets({ of, tone }: { of: readonly RouteEndpoint[] | null; tone: "added" | "removed" }) {
  if (of === null) return <span class="muted">–</span>;
  return (
    <>
      {of.slice(0, FEW).map(({ kind, address, port }) => (
        <code class={`target delta ${tone}`} key={`${kind}${address}:${port}`}>{kind}/{address}:{port}</code>
      ))}
      {of.length > FEW && <span class="muted">and {of.length - FEW} more</span>}
    </>
  );
}
