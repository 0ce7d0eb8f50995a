/** Exchanges that ended badly: one line each, and on request everything that is known of one. */
import { absolute, bytes, count, milliseconds, shortId, UNKNOWN } from "../format.ts";
import type { BadEnd, ListedBadEnd } from "../happenings.ts";
import { linkTo } from "../place.ts";
import { Blame, Status } from "./badge.tsx";
import { Moment } from "./moment.tsx";
import { type Fact, Facts } from "./panel.tsx";
import { type Column, Table } from "./table.tsx";

const COLUMNS: readonly Column<ListedBadEnd>[] = [
  {
    title: "Request",
    names: true,
    wide: true,
    cell: ({ method, host, target }) => (
      <>
        <b>{method || "?"}</b> {host || "(no host)"}
        <span class="muted">{target}</span>
      </>
    ),
  },
  { title: "Status", cell: ({ status }) => <Status of={status} /> },
  { title: "Code", cell: ({ error }) => <code>{error ?? UNKNOWN}</code> },
  { title: "Blame", cell: ({ blame }) => <Blame of={blame} /> },
  { title: "Upstream", cell: ({ upstream }) => upstream === "" ? UNKNOWN : <code>{upstream}</code> },
  { title: "Took", number: true, cell: (end) => milliseconds(end.duration_ms) },
  { title: "When", number: true, cell: ({ time }) => <Moment at={time} /> },
];

interface BadEndsProps {
  readonly ends: readonly ListedBadEnd[];
  readonly empty: string;
  readonly busy?: boolean;
}

export function BadEnds({ ends, empty, busy = false }: BadEndsProps) {
  return (
    <Table
      caption="Exchanges that ended badly, newest first"
      columns={COLUMNS}
      rows={ends}
      keyOf={keyOf}
      detailsOf={(end) => <Everything of={end} />}
      empty={empty}
      busy={busy}
    />
  );
}

/** Ids count anew in each generation. */
export function keyOf({ id, time }: { id: number; time: string }): string {
  return `${id} ${time}`;
}

function Everything({ of }: { of: BadEnd }) {
  const times: readonly Fact[] = [
    ["Head wait", milliseconds(of.head_wait_ms)],
    ["Probe wait", milliseconds(of.probe_wait_ms)],
    ["Connect", milliseconds(of.connect_ms)],
    ["First byte", milliseconds(of.first_byte_ms)],
  ];
  return (
    <div class="everything">
      {of.problem !== "" && <p>{of.problem}</p>}
      <Facts
        of={[
          ["Ended", absolute(Date.parse(of.time))],
          ["Client", `${of.client} ${of.protocol}`],
          ["Request id", <code key="id">{of.request_id || UNKNOWN}</code>],
          ["Trace id", <code key="trace">{of.trace_id || UNKNOWN}</code>],
          ["Route", of.route === "" ? "none" : <a key="route" href={linkTo("route", of.route)}>{of.route}</a>],
          ["Region", of.region === "" ? UNKNOWN : shortId(of.region)],
          ["Attempts", count(of.attempts)],
          ["Bytes in, out", `${bytes(of.bytes_in)}, ${bytes(of.bytes_out)}`],
          ...times,
          ["Worker", String(of.worker)],
        ]}
      />
      {of.host !== "" && (
        <a href={linkTo("explain", "", { url: `http://${of.host}${of.target}` })}>Explain this request as of now</a>
      )}
    </div>
  );
}
