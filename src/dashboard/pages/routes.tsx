/** All routes, however many: the server searches and gives out pages. Beside them the domains that are not served, with the reason. */
import type { Child } from "hono/jsx";
import type { ExcludedPage, Exclusion, Overview, Route, RouteEndpoint, RoutesPage } from "../answers.ts";
import { pathOf } from "../api-client.ts";
import { count, shortId, words } from "../format.ts";
import { Badge } from "../parts/badge.tsx";
import { Choice, Tabs } from "../parts/choice.tsx";
import { List } from "../parts/list.tsx";
import { SearchField } from "../parts/search-field.tsx";
import type { Column } from "../parts/table.tsx";
import { changeQuery, linkTo } from "../place.ts";
import { usePolled } from "../polled.ts";
import type { ViewProps } from "../views.tsx";

const LIMIT = 50;
const EVERY_MS = 15_000;

const ROUTE_COLUMNS: readonly Column<Route>[] = [
  { title: "Host", names: true, wide: true, sort: "host", cell: ({ host }) => <a href={linkTo("route", host)}>{host}</a> },
  { title: "Leads to", cell: ({ endpoints }) => <Endpoints of={endpoints} /> },
  { title: "Endpoints", number: true, cell: ({ endpoints }) => endpoints.length },
];

export function RoutesView({ place, overview }: ViewProps) {
  const { q = "", after = "", kind = "", wildcard = "", sort = "host" } = place.query;
  const routes = usePolled<RoutesPage>(pathOf("/api/routes", { limit: LIMIT, q, after, kind, wildcard, sort }), EVERY_MS);
  return (
    <RoutesFrame current="routes" overview={overview.answer}>
      <div class="filters">
        <SearchField
          label="Part of a host"
          value={q}
          placeholder="shop, .example.com, *."
          onSearch={(text) => changeQuery({ q: text, after: "" }, true)}
          main
        />
        <Choice
          label="Leads to"
          value={kind}
          options={[["", "any"], ["vm", "VMs here"], ["region", "other regions"]]}
          onChoice={(next) => changeQuery({ kind: next, after: "" })}
        />
        <Choice
          label="Wildcards"
          value={wildcard}
          options={[["", "any"], ["true", "only wildcards"], ["false", "none"]]}
          onChoice={(next) => changeQuery({ wildcard: next, after: "" })}
        />
      </div>
      <List
        what="routes"
        polled={routes}
        rowsOf={(answer) => answer.routes}
        after={after}
        caption="Routes by host"
        columns={ROUTE_COLUMNS}
        keyOf={({ host }) => host}
        sort={sort}
        empty={q + kind + wildcard === "" ? "The routing table is empty." : "No route suits."}
      />
    </RoutesFrame>
  );
}

const EXCLUDED_COLUMNS: readonly Column<Exclusion>[] = [
  { title: "Domain", names: true, cell: ({ domain }) => domain },
  { title: "Why", cell: ({ code }) => <Badge tone="warning">{words(code)}</Badge> },
  { title: "Reason", wide: true, cell: ({ reason }) => reason },
];

export function ExcludedView({ place, overview }: ViewProps) {
  const { q = "", after = "", code = "" } = place.query;
  const excluded = usePolled<ExcludedPage>(pathOf("/api/excluded", { limit: LIMIT, q, after, code }), EVERY_MS);
  return (
    <RoutesFrame current="excluded" overview={overview.answer}>
      <div class="filters">
        <SearchField label="Part of a domain" value={q} onSearch={(text) => changeQuery({ q: text, after: "" }, true)} main />
        <Choice
          label="Why"
          value={code}
          options={[["", "any"], ["bad_row", "bad row"], ["conflict", "conflict"], ["flapping", "flapping"], [
            "bad_policy",
            "bad policy",
          ]]}
          onChoice={(next) => changeQuery({ code: next, after: "" })}
        />
      </div>
      <List
        what="excluded domains"
        polled={excluded}
        rowsOf={(answer) => answer.excluded}
        after={after}
        caption="Domains that are not served as their rows say"
        columns={EXCLUDED_COLUMNS}
        keyOf={({ domain, code: why, reason }) => `${domain} ${why} ${reason}`}
        empty={q === "" && code === "" ? "Every domain is served as its rows say." : "None of the excluded domains suits."}
      />
    </RoutesFrame>
  );
}

function RoutesFrame(
  { current, overview, children }: { current: "routes" | "excluded"; overview: Overview | null; children?: Child },
) {
  return (
    <div class="view">
      <div class="view-head">
        <h1 tabindex={-1}>{current === "routes" ? "Routes" : "Excluded domains"}</h1>
        {overview !== null && <p>{count(overview.routes)} routes, revision {count(overview.revision)}</p>}
      </div>
      <Tabs
        label="Routes"
        tabs={[[linkTo("routes"), "Served", current === "routes"], [linkTo("excluded"), "Excluded", current === "excluded"]]}
      />
      <div class="panel">{children}</div>
    </div>
  );
}

const FEW = 2;

function Endpoints({ of }: { of: readonly RouteEndpoint[] }) {
  return (
    <>
      {of.slice(0, FEW).map(({ kind, address, port, region }) => (
        <span class="target" key={`${address}:${port}`}>
          <code>{address}:{port}</code> <span class="muted">{kind === "vm" ? "VM here" : `region ${shortId(region)}`}</span>
        </span>
      ))}
      {of.length > FEW && <span class="muted">and {of.length - FEW} more</span>}
    </>
  );
}
