/** Routes of the file and of domains' policies: what they match, where they lead, and what operators have ordered. */
import type { PolicyOrder, PolicyRouteRow, PolicyRoutesPage } from "../answers.ts";
import { pathOf } from "../api-client.ts";
import { count } from "../format.ts";
import { Badge } from "../parts/badge.tsx";
import { List } from "../parts/list.tsx";
import { OrderButtons } from "../parts/order-dialog.tsx";
import { SearchField } from "../parts/search-field.tsx";
import type { Column } from "../parts/table.tsx";
import { changeQuery } from "../place.ts";
import { usePolled } from "../polled.ts";
import type { ViewProps } from "../views.tsx";
import { PolicyTraffic } from "./policy-traffic.tsx";
import { PolicyTabs } from "./services.tsx";

const LIMIT = 50;
const EVERY_MS = 5000;

/** Under which it is ordered about. */
function nameOf({ id, domain }: PolicyRouteRow): string {
  return domain === null ? id : `${domain}/${id}`;
}

function columnsOf(orders: readonly PolicyOrder[], again: () => void): readonly Column<PolicyRouteRow>[] {
  const orderOf = (row: PolicyRouteRow): PolicyOrder | null =>
    orders.find(({ kind, name }) => kind === "route" && name === nameOf(row)) ?? null;
  return [
    { title: "Route", names: true, sort: "id", cell: ({ id }) => id },
    {
      title: "Hosts",
      cell: ({ hosts }) => hosts.length === 0 ? "any" : hosts.slice(0, 3).join(", ") + (hosts.length > 3 ? ", …" : ""),
    },
    { title: "Path", cell: ({ path }) => <code>{path}</code> },
    {
      title: "Leads to",
      wide: true,
      cell: (row) => (
        <>
          {row.leads_to} <Ordered order={orderOf(row)} />
        </>
      ),
    },
    { title: "Priority", number: true, sort: "-priority", cell: ({ priority }) => count(priority) },
    { title: "Written in", sort: "place", cell: ({ origin }) => <span class="muted">{origin}</span> },
    {
      title: "Action",
      cell: (row) => {
        const order = orderOf(row);
        const maintained = order?.maintenance?.enabled === true;
        return <OrderButtons kind="route" name={nameOf(row)} maintained={maintained} order={order} onDone={again} />;
      },
    },
  ];
}

export function PolicyRoutesView({ place }: ViewProps) {
  const { q = "", after = "", sort = "place" } = place.query;
  const routes = usePolled<PolicyRoutesPage>(pathOf("/api/policies/routes", { limit: LIMIT, q, after, sort }), EVERY_MS);
  const orders = usePolled<{ readonly orders: readonly PolicyOrder[] }>("/api/policies/orders", EVERY_MS);
  return (
    <div class="view">
      <div class="view-head">
        <h1 tabindex={-1}>Routes of policies</h1>
        <p>Of the file and of domains; those of the database alone are under Routes</p>
      </div>
      <PolicyTabs current="policy-routes" />
      <PolicyTraffic />
      <div class="panel">
        <div class="filters">
          <SearchField
            label="Part of an id, a host or a service"
            value={q}
            onSearch={(text) => changeQuery({ q: text, after: "" }, true)}
            main
          />
        </div>
        <List
          what="routes"
          polled={routes}
          rowsOf={(answer) => answer.routes}
          after={after}
          caption="Routes of policies"
          columns={columnsOf(orders.answer?.orders ?? [], orders.again)}
          keyOf={nameOf}
          sort={sort}
          empty={q === "" ? "There are none: neither the file nor a domain has a policy." : "No route suits."}
        />
      </div>
    </div>
  );
}

function Ordered({ order }: { order: PolicyOrder | null }) {
  if (order === null) return null;
  return (
    <>
      {order.maintenance !== null && <Badge tone="warning">{order.maintenance.enabled ? "maintenance" : "no maintenance"}</Badge>}
      {" "}
      {order.drain !== null && <Badge tone="warning">drains, {Math.round(order.drain.share * 100)} % left</Badge>}
    </>
  );
}
