/** Who is connected right now, and what their exchanges are doing. */
import type { Connection, ConnectionsPage } from "../answers.ts";
import { pathOf } from "../api-client.ts";
import { bytes, count, milliseconds, UNKNOWN } from "../format.ts";
import { Badge } from "../parts/badge.tsx";
import { Choice } from "../parts/choice.tsx";
import { List } from "../parts/list.tsx";
import { Moment } from "../parts/moment.tsx";
import { SearchField } from "../parts/search-field.tsx";
import type { Column } from "../parts/table.tsx";
import { changeQuery, linkTo } from "../place.ts";
import { usePolled } from "../polled.ts";
import type { ViewProps } from "../views.tsx";

const LIMIT = 50;
const EVERY_MS = 3000;

const COLUMNS: readonly Column<Connection>[] = [
  { title: "Client", names: true, cell: ({ client }) => <code>{client}</code> },
  { title: "State", cell: ({ state }) => <Badge tone={state === "idle" ? "neutral" : "accent"}>{state}</Badge> },
  {
    title: "Exchange",
    wide: true,
    cell: ({ method, host, target }) =>
      host === "" ? UNKNOWN : (
        <>
          <b>{method}</b> <a href={linkTo("route", host)}>{host}</a>
          <span class="muted">{target}</span>
        </>
      ),
  },
  { title: "Upstream", cell: ({ upstream }) => upstream === "" ? UNKNOWN : <code>{upstream}</code> },
  { title: "Lasts", number: true, cell: (connection) => milliseconds(connection.exchange_ms) },
  { title: "Requests", number: true, cell: ({ requests }) => count(requests) },
  { title: "In", number: true, cell: (connection) => bytes(connection.bytes_in) },
  { title: "Out", number: true, cell: (connection) => bytes(connection.bytes_out) },
  { title: "Open since", number: true, sort: "-age", cell: ({ since }) => <Moment at={since} /> },
  { title: "Worker", number: true, cell: ({ worker }) => String(worker) },
];

export function ConnectionsView({ place }: ViewProps) {
  const { q = "", kind = "", after = "", sort = "-age" } = place.query;
  const connections = usePolled<ConnectionsPage>(pathOf("/api/connections", { limit: LIMIT, q, kind, after, sort }), EVERY_MS);
  return (
    <div class="view">
      <div class="view-head">
        <h1 tabindex={-1}>Connections</h1>
        <p>Of clients, open right now</p>
      </div>
      <div class="panel">
        <div class="filters">
          <SearchField
            label="Client, host, upstream…"
            value={q}
            onSearch={(text) => changeQuery({ q: text, after: "" }, true)}
            main
          />
          <Choice
            label="Kind"
            value={kind}
            options={[["", "any"], ["connection", "connections"], ["tunnel", "tunnels"]]}
            onChoice={(next) => changeQuery({ kind: next, after: "" })}
          />
        </div>
        <List
          what="connections"
          polled={connections}
          rowsOf={(answer) => answer.connections}
          after={after}
          caption="Connections of clients"
          columns={COLUMNS}
          keyOf={({ worker, id }) => `${worker} ${id}`}
          sort={sort}
          empty={q + kind === "" ? "Nobody is connected." : "No connection suits."}
        />
      </div>
    </div>
  );
}
