/** One service: its endpoints with what keeps requests away from each, who leads there, and what its policy says. */
import type { ServiceDetails, ServiceMember } from "../answers.ts";
import { count, shortId } from "../format.ts";
import { CordonButton } from "../parts/cordon-dialog.tsx";
import { EndpointName } from "../parts/endpoint-name.tsx";
import { Moment } from "../parts/moment.tsx";
import { OrderButtons } from "../parts/order-dialog.tsx";
import { type Fact, Facts, Panel } from "../parts/panel.tsx";
import { Shown } from "../parts/states.tsx";
import { type Column, Table } from "../parts/table.tsx";
import { linkTo } from "../place.ts";
import { policyWords } from "../policy-words.ts";
import { usePolled } from "../polled.ts";
import type { ViewProps } from "../views.tsx";
import { State, whyOf } from "./endpoints.tsx";
import { Lines, ServiceState } from "./services.tsx";

const EVERY_MS = 3000;

function columnsOf(again: () => void): readonly Column<ServiceMember>[] {
  return [
    {
      title: "Endpoint",
      names: true,
      cell: ({ key }) => <EndpointName of={key} />,
    },
    { title: "Region", cell: ({ region }) => shortId(region) },
    { title: "Health", cell: (member) => <State of={member} /> },
    { title: "Why", wide: true, cell: (member) => <span class="muted">{whyOf(member)}</span> },
    { title: "Weight", number: true, cell: ({ weight }) => count(weight) },
    { title: "In flight", number: true, cell: (member) => count(member.in_flight) },
    { title: "Action", cell: ({ key, cordon }) => <CordonButton endpoint={key} cordoned={cordon !== null} onDone={again} /> },
  ];
}

export function ServiceView({ place }: ViewProps) {
  const name = place.subject;
  const service = usePolled<ServiceDetails>(`/api/services/${encodeURIComponent(name)}`, EVERY_MS);
  const { answer, again } = service;
  return (
    <div class="view">
      <div class="view-head">
        <h1 tabindex={-1}>{name}</h1>
        {answer !== null && <ServiceState of={answer} />}
        <span class="actions">
          {answer !== null && (
            <OrderButtons kind="service" name={name} maintained={answer.maintenance !== null} order={answer.order} onDone={again} />
          )}
        </span>
      </div>
      <Shown what={`service ${name}`} polled={service}>{(details) => <Details of={details} again={again} />}</Shown>
    </div>
  );
}

function Details({ of: service, again }: { of: ServiceDetails; again: () => void }) {
  return (
    <>
      <Panel title="State">
        <Facts of={factsOf(service)} />
      </Panel>
      <Panel title="Endpoints" aside={count(service.endpoints)}>
        <Table
          caption="Endpoints of the service"
          columns={columnsOf(again)}
          rows={service.members}
          keyOf={({ key }) => key}
          empty="It has none: none is written, its name is not resolved yet, or its domain has no VM."
        />
      </Panel>
      <div class="columns">
        <Panel title="Routes that lead there">
          {service.routes.length === 0 ? <p class="state">None.</p> : (
            <ul class="hosts long">
              {service.routes.map((id) => (
                <li key={id}>
                  <a href={linkTo("policy-routes", "", { q: id.slice(id.indexOf("/") + 1) })}>{id}</a>
                </li>
              ))}
            </ul>
          )}
        </Panel>
        <Panel title="Policy">
          <Facts of={policyWords(service.policy).map(([key, values]) => [key, <Lines of={values} key={key} />])} />
        </Panel>
      </div>
    </>
  );
}

function factsOf({ domain, balance, share, maintenance, order }: ServiceDetails): Fact[] {
  return [
    ["Written in", domain === null ? "the routes file" : `the policy of ${domain}`],
    ["Balance", balance],
    ["Takes", `${Math.round(share * 1000) / 10} % of its clients`],
    ["Maintenance", maintenance === null ? "none" : maintenance.service ?? `${maintenance.status} ${maintenance.body}`],
    ...order === null ? [] : [
      ["Ordered", <Moment at={order.since} key="since" />] as const,
      ["Until", order.until === null ? "taken back" : <Moment at={order.until} key="until" />] as const,
      ["Ordered by", `${order.by}: ${order.reason || "no reason given"}`] as const,
    ],
  ];
}
