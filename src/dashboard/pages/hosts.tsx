/** The busiest hosts: who gets the traffic, the errors, the waiting. */
import type { HostsPage, HostTraffic } from "../answers.ts";
import { pathOf } from "../api-client.ts";
import { bytes, count, milliseconds, rate, share } from "../format.ts";
import { List } from "../parts/list.tsx";
import { SearchField } from "../parts/search-field.tsx";
import type { Column } from "../parts/table.tsx";
import { changeQuery, linkTo } from "../place.ts";
import { usePolled } from "../polled.ts";
import type { ViewProps } from "../views.tsx";

const LIMIT = 50;
const EVERY_MS = 4000;

const COLUMNS: readonly Column<HostTraffic>[] = [
  {
    title: "Host",
    names: true,
    wide: true,
    sort: "host",
    cell: ({ host }) => host === "other" ? <span class="muted">other hosts</span> : <a href={linkTo("route", host)}>{host}</a>,
  },
  { title: "Requests/s", number: true, sort: "-requests", cell: (host) => rate(host.requests_per_second) },
  { title: "Errors/s", number: true, sort: "-errors", cell: (host) => <Errors of={host} /> },
  { title: "Mean", number: true, cell: (host) => milliseconds(host.mean_ms) },
  { title: "p95", number: true, sort: "-latency", cell: (host) => milliseconds(host.p95_ms) },
  { title: "Requests", number: true, cell: ({ requests }) => count(requests) },
  { title: "Errors", number: true, cell: ({ errors, requests }) => <span title={share(errors, requests)}>{count(errors)}</span> },
  { title: "Bytes", number: true, sort: "-bytes", cell: (host) => bytes(host.bytes_in + host.bytes_out) },
];

export function HostsView({ place }: ViewProps) {
  const { q = "", after = "", sort = "-requests" } = place.query;
  const hosts = usePolled<HostsPage>(pathOf("/api/hosts", { limit: LIMIT, q, after, sort }), EVERY_MS);
  return (
    <div class="view">
      <div class="view-head">
        <h1 tabindex={-1}>Hosts</h1>
        <p>Rates and latency of the last minute, requests and errors in total</p>
      </div>
      <div class="panel">
        <div class="filters">
          <SearchField label="Part of a host" value={q} onSearch={(text) => changeQuery({ q: text, after: "" }, true)} main />
        </div>
        <List
          what="hosts"
          polled={hosts}
          rowsOf={(answer) => answer.hosts}
          after={after}
          caption="Busiest hosts"
          columns={COLUMNS}
          keyOf={({ host }) => host}
          sort={sort}
          empty={q === "" ? "No host has had a request yet." : `No busy host contains “${q}”.`}
        />
      </div>
    </div>
  );
}

function Errors({ of }: { of: HostTraffic }) {
  const perSecond = of.errors_per_second;
  return <span class={perSecond > 0 ? "problem" : ""}>{rate(perSecond)}</span>;
}
