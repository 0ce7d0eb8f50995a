/** Services of policies: how they are, what operators have ordered, and whether the routes file is good. */
import type { PolicyState, Service, ServicesPage } from "../answers.ts";
import { pathOf } from "../api-client.ts";
import { count } from "../format.ts";
import { Badge } from "../parts/badge.tsx";
import { Tabs } from "../parts/choice.tsx";
import { List } from "../parts/list.tsx";
import { Moment } from "../parts/moment.tsx";
import { OrderButtons } from "../parts/order-dialog.tsx";
import { Facts, Panel } from "../parts/panel.tsx";
import { SearchField } from "../parts/search-field.tsx";
import type { Column } from "../parts/table.tsx";
import { changeQuery, linkTo } from "../place.ts";
import { usePolled } from "../polled.ts";
import type { ViewProps } from "../views.tsx";

const LIMIT = 50;
const EVERY_MS = 3000;
/** More of them is for an editor. */
const MOST_LINES = 20;

function columnsOf(again: () => void): readonly Column<Service>[] {
  return [
    { title: "Service", names: true, sort: "name", cell: ({ name }) => <a href={linkTo("service", name)}>{name}</a> },
    { title: "Of", cell: ({ domain }) => domain === null ? "file" : <a href={linkTo("route", domain)}>{domain}</a> },
    { title: "State", wide: true, cell: (service) => <ServiceState of={service} /> },
    { title: "Healthy", number: true, cell: ({ healthy, endpoints }) => `${count(healthy)} of ${count(endpoints)}` },
    { title: "In flight", number: true, cell: (service) => count(service.in_flight) },
    { title: "Balance", cell: ({ balance }) => balance },
    {
      title: "Action",
      cell: ({ name, maintenance, order }) => (
        <OrderButtons kind="service" name={name} maintained={maintenance !== null} order={order} onDone={again} />
      ),
    },
  ];
}

export function ServicesView({ place }: ViewProps) {
  const { q = "", after = "", sort = "name" } = place.query;
  const services = usePolled<ServicesPage>(pathOf("/api/services", { limit: LIMIT, q, after, sort }), EVERY_MS);
  return (
    <div class="view">
      <div class="view-head">
        <h1 tabindex={-1}>Services</h1>
        <p>What routes of the file and of domains lead to</p>
      </div>
      <PolicyTabs current="services" />
      <FileState />
      <div class="panel">
        <div class="filters">
          <SearchField label="Part of a name" value={q} onSearch={(text) => changeQuery({ q: text, after: "" }, true)} main />
        </div>
        <List
          what="services"
          polled={services}
          rowsOf={(answer) => answer.services}
          after={after}
          caption="Services"
          columns={columnsOf(services.again)}
          keyOf={({ name }) => name}
          sort={sort}
          empty={q === "" ? "There are no services: neither the file nor a domain has a policy." : "No service suits."}
        />
      </div>
    </div>
  );
}

export function PolicyTabs({ current }: { current: "services" | "policy-routes" }) {
  return (
    <Tabs
      label="Policies"
      tabs={[
        [linkTo("services"), "Services", current === "services"],
        [linkTo("policy-routes"), "Their routes", current === "policy-routes"],
      ]}
    />
  );
}

/** Why requests are not served as usual, in words. */
export function ServiceState({ of: { maintenance, share, breaker, cordoned, ejected, endpoints, healthy } }: { of: Service }) {
  const usual = maintenance === null && share === 1 && cordoned + ejected === 0 && (breaker ?? "closed") === "closed" &&
    healthy === endpoints;
  return (
    <>
      {maintenance !== null && <Badge tone="warning">maintenance</Badge>}{" "}
      {share < 1 && <Badge tone="warning">drains, {Math.round(share * 100)} % left</Badge>}{" "}
      {breaker !== null && breaker !== "closed" && <Badge tone="bad">breaker {breaker}</Badge>}{" "}
      {ejected > 0 && <Badge tone="bad">{count(ejected)} ejected</Badge>}{" "}
      {cordoned > 0 && <Badge tone="warning">{count(cordoned)} cordoned</Badge>}{" "}
      {healthy < endpoints && <Badge tone={healthy === 0 ? "bad" : "warning"}>{count(endpoints - healthy)} not healthy</Badge>}{" "}
      {usual && <Badge tone="good">serving</Badge>}
    </>
  );
}

/** Nothing where there is no file, and all is well. */
function FileState() {
  const { answer } = usePolled<PolicyState>("/api/policies", EVERY_MS);
  if (answer === null) return null;
  const unusable = answer.unusable_services.map(({ name, why }) => [name, why] as const);
  return (
    <>
      {unusable.length > 0 && (
        <Panel title="Services that nobody can serve">
          <Facts wide of={unusable} />
        </Panel>
      )}
      {answer.file !== null && <RoutesFile file={answer.file} state={answer} />}
    </>
  );
}

function RoutesFile({ file, state }: { file: NonNullable<PolicyState["file"]>; state: PolicyState }) {
  const { path, ok, problems, warnings, loaded, bad_since: badSince } = file;
  const hidden = state.hidden_routes.map(({ id, origin, host }) => `${id} (${origin}) for ${host}`);
  return (
    <Panel title="Routes file" aside={<Badge tone={ok ? "good" : "bad"}>{ok ? "in force" : "refused"}</Badge>}>
      <Facts
        of={[
          ["File", <code key="path">{path}</code>],
          ["In force since", <Moment at={loaded} key="loaded" />],
          ...badSince === null ? [] : [["Wrong since", <Moment at={badSince} key="bad" />] as const],
          ["Services and routes", `${count(state.services)} and ${count(state.routes)}`],
          ["Domains with a policy", count(state.domains)],
        ]}
      />
      {problems.length > 0 && <Findings title="Problems: what was in force before stays" of={problems} />}
      {warnings.length > 0 && <Findings title="Warnings" of={warnings} />}
      {hidden.length > 0 && <Findings title="Routes that never apply, since the database's come before" of={hidden} />}
    </Panel>
  );
}

function Findings({ title, of }: { title: string; of: readonly string[] }) {
  const more = of.length - MOST_LINES;
  return (
    <Facts
      wide
      of={[[title, <Lines key="lines" of={more > 0 ? [...of.slice(0, MOST_LINES), `and ${count(more)} more`] : of} />]]}
    />
  );
}

export function Lines({ of }: { of: readonly string[] }) {
  return (
    <ul class="lines">
      {of.map((line) => <li key={line}>{line}</li>)}
    </ul>
  );
}
