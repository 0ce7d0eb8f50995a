/** One service: its endpoints with what keeps requests away from each, who leads there, and what its policy says. */
import type { ServiceDetails, ServiceMember } from "../answers.ts";
import { count, shortId, UNKNOWN } from "../format.ts";
import { Badge, Verdict } from "../parts/badge.tsx";
import { CordonButton } from "../parts/cordon-dialog.tsx";
import { Moment } from "../parts/moment.tsx";
import { OrderButtons } from "../parts/order-dialog.tsx";
import { type Fact, Facts, Panel } from "../parts/panel.tsx";
import { Shown } from "../parts/states.tsx";
import { type Column, Table } from "../parts/table.tsx";
import { linkTo } from "../place.ts";
import { usePolled } from "../polled.ts";
import type { ViewProps } from "../views.tsx";
import { ServiceState } from "./services.tsx";

const EVERY_MS = 3000;

function columnsOf(again: () => void): readonly Column<ServiceMember>[] {
  return [
    {
      title: "Endpoint",
      names: true,
      cell: ({ key }) => (
        <a href={linkTo("endpoint", key)}>
          <code>{key}</code>
        </a>
      ),
    },
    { title: "Region", cell: ({ region }) => shortId(region) },
    { title: "Health", cell: (member) => <MemberState of={member} /> },
    { title: "Why", wide: true, cell: ({ cordon, reason }) => <span class="muted">{cordon?.reason ?? reason}</span> },
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
            <ul class="hosts">
              {service.routes.map((id) => (
                <li key={id}>
                  <a href={linkTo("policy-routes", "", { q: id.slice(id.indexOf("/") + 1) })}>{id}</a>
                </li>
              ))}
            </ul>
          )}
        </Panel>
        <Panel title="Policy">
          <Facts
            of={Object.entries(service.policy).filter(([, value]) => value !== null).map(([name, value]) => [name, textOf(value)])}
          />
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

function MemberState({ of: { verdict, cordon, hindrance, breaker } }: { of: ServiceMember }) {
  return (
    <>
      {cordon !== null && <Badge tone="warning">cordoned</Badge>}{" "}
      {hindrance !== null && hindrance !== "open" && <Badge tone={hindrance === "busy" ? "neutral" : "bad"}>{hindrance}</Badge>}
      {" "}
      {breaker !== null && breaker !== "closed" && <Badge tone="bad">breaker {breaker}</Badge>}{" "}
      {verdict === null ? <Badge tone="neutral">not probed</Badge> : <Verdict of={verdict} />}
    </>
  );
}

function textOf(value: unknown): string {
  if (typeof value === "string") return value;
  const text = JSON.stringify(value);
  return text === "{}" ? UNKNOWN : text;
}
