/** One endpoint: how its probes went, which hosts lead there, and whether it is cordoned. */
import type { EndpointDetails } from "../answers.ts";
import { count, milliseconds, UNKNOWN } from "../format.ts";
import { Verdict } from "../parts/badge.tsx";
import { CordonButton } from "../parts/cordon-dialog.tsx";
import { Moment } from "../parts/moment.tsx";
import { Facts, Panel } from "../parts/panel.tsx";
import { ProbeTimeline } from "../parts/probe-timeline.tsx";
import { Shown } from "../parts/states.tsx";
import { type Column, Table } from "../parts/table.tsx";
import { linkTo } from "../place.ts";
import { usePolled } from "../polled.ts";
import type { ViewProps } from "../views.tsx";
import { State } from "./endpoints.tsx";

const EVERY_MS = 3000;

type Change = EndpointDetails["changes"][number];

const CHANGE_COLUMNS: readonly Column<Change>[] = [
  { title: "Verdict", names: true, cell: ({ verdict }) => <Verdict of={verdict} /> },
  { title: "Why", wide: true, cell: ({ reason }) => reason || UNKNOWN },
  { title: "When", number: true, cell: ({ time }) => <Moment at={time} /> },
];

export function EndpointView({ place }: ViewProps) {
  const key = place.subject;
  const endpoint = usePolled<EndpointDetails>(`/api/endpoints/${encodeURIComponent(key)}`, EVERY_MS);
  const { answer } = endpoint;
  return (
    <div class="view">
      <div class="view-head">
        <h1 tabindex={-1}>{key}</h1>
        {answer !== null && <State of={answer} />}
        <span class="actions">
          {answer !== null && <CordonButton endpoint={key} cordoned={answer.cordon !== null} onDone={endpoint.again} />}
        </span>
      </div>
      <Shown what={`endpoint ${key}`} polled={endpoint}>{(details) => <Details of={details} />}</Shown>
    </div>
  );
}

function Details({ of: endpoint }: { of: EndpointDetails }) {
  const { cordon, probes, changes, hosts } = endpoint;
  return (
    <>
      <Panel title="State">
        <Facts
          of={[
            ["Kind", endpoint.kind === "vm" ? "VM of this region" : "Edge of another region"],
            ["Region", <code key="region">{endpoint.region}</code>],
            ["Verdict since", <Moment at={endpoint.since} key="since" />],
            ["Why", endpoint.reason || UNKNOWN],
            ["Latency of the last probe", milliseconds(endpoint.latency_ms)],
            ["Requests under way", count(endpoint.in_flight)],
            ["Last failed connection", <LastFailure of={endpoint} key="failure" />],
            ...cordon === null ? [] : [
              ["Cordoned until", <Moment at={cordon.until} key="until" />] as const,
              ["Cordoned by", `${cordon.by}: ${cordon.reason || "no reason given"}`] as const,
            ],
          ]}
        />
      </Panel>
      <Panel title="Probes">
        {endpoint.kind === "vm"
          ? <ProbeTimeline probes={probes} />
          : <p class="state">Other regions are not probed; requests that fail there tell.</p>}
      </Panel>
      <div class="columns">
        <Panel title="Changes of the verdict">
          <Table
            caption="Changes, newest first"
            columns={CHANGE_COLUMNS}
            rows={changes}
            keyOf={({ time, verdict }) => time + verdict}
            empty="None yet."
          />
        </Panel>
        <Panel title="Hosts that lead there" aside={count(endpoint.routes)}>
          {hosts.length === 0 ? <p class="state">No route leads there now.</p> : (
            <ul class="hosts">
              {hosts.map((host) => (
                <li key={host}>
                  <a href={linkTo("route", host)}>{host}</a>
                </li>
              ))}
            </ul>
          )}
        </Panel>
      </div>
    </>
  );
}

function LastFailure({ of: { last_failure: failure } }: { of: EndpointDetails }) {
  return failure === null ? <>none</> : (
    <>
      <Moment at={failure.time} />: {failure.reason}
    </>
  );
}
