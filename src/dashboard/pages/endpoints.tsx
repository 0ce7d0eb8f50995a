/** The endpoints in use: their verdicts, and the way to take one out of service. */
import type { Endpoint, EndpointsPage } from "../answers.ts";
import { pathOf } from "../api-client.ts";
import { count, milliseconds, shortId } from "../format.ts";
import { Badge, type Tone, Verdict } from "../parts/badge.tsx";
import { Choice } from "../parts/choice.tsx";
import { CordonButton } from "../parts/cordon-dialog.tsx";
import { EndpointName } from "../parts/endpoint-name.tsx";
import { List } from "../parts/list.tsx";
import { Moment } from "../parts/moment.tsx";
import { SearchField } from "../parts/search-field.tsx";
import type { Column } from "../parts/table.tsx";
import { changeQuery, linkTo } from "../place.ts";
import { usePolled } from "../polled.ts";
import type { ViewProps } from "../views.tsx";

const LIMIT = 50;
const EVERY_MS = 3000;

function columnsOf(again: () => void): readonly Column<Endpoint>[] {
  return [
    {
      title: "Endpoint",
      names: true,
      sort: "key",
      cell: ({ key }) => <EndpointName of={key} />,
    },
    {
      title: "Where",
      cell: ({ kind, region }) => kind === "vm" ? "VM here" : <a href={linkTo("regions")}>region {shortId(region)}</a>,
    },
    { title: "Health", cell: (endpoint) => <State of={endpoint} /> },
    {
      title: "Why",
      wide: true,
      cell: (endpoint) => <span class="muted">{whyOf(endpoint)}</span>,
    },
    { title: "Since", number: true, sort: "-since", cell: ({ since, cordon }) => <Moment at={cordon?.since ?? since} /> },
    { title: "Latency", number: true, sort: "-latency", cell: (endpoint) => milliseconds(endpoint.latency_ms) },
    { title: "In flight", number: true, sort: "-in_flight", cell: (endpoint) => count(endpoint.in_flight) },
    { title: "Routes", number: true, sort: "-routes", cell: ({ routes }) => count(routes) },
    { title: "Action", cell: ({ key, cordon }) => <CordonButton endpoint={key} cordoned={cordon !== null} onDone={again} /> },
  ];
}

export function EndpointsView({ place }: ViewProps) {
  const { q = "", verdict = "", kind = "", cordoned = "", after = "", sort = "key" } = place.query;
  const endpoints = usePolled<EndpointsPage>(
    pathOf("/api/endpoints", { limit: LIMIT, q, verdict, kind, cordoned, after, sort }),
    EVERY_MS,
  );
  const filtered = q + verdict + kind + cordoned !== "";
  return (
    <div class="view">
      <div class="view-head">
        <h1 tabindex={-1}>Endpoints</h1>
        <p>In use or cordoned: what requests are sent to</p>
      </div>
      <div class="panel">
        <div class="filters">
          <SearchField label="Part of an address" value={q} onSearch={(text) => changeQuery({ q: text, after: "" }, true)} main />
          <Choice
            label="Health"
            value={verdict}
            options={[["", "any"], ["healthy", "healthy"], ["unhealthy", "unhealthy"], ["unprobed", "unprobed"]]}
            onChoice={(next) => changeQuery({ verdict: next, after: "" })}
          />
          <Choice
            label="Kind"
            value={kind}
            options={[["", "any"], ["vm", "VMs"], ["region", "regions"]]}
            onChoice={(next) => changeQuery({ kind: next, after: "" })}
          />
          <Choice
            label="Cordon"
            value={cordoned}
            options={[["", "any"], ["true", "cordoned"], ["false", "not cordoned"]]}
            onChoice={(next) => changeQuery({ cordoned: next, after: "" })}
          />
        </div>
        <List
          what="endpoints"
          polled={endpoints}
          rowsOf={(answer) => answer.endpoints}
          after={after}
          caption="Endpoints in use"
          columns={columnsOf(endpoints.again)}
          keyOf={({ key }) => key}
          sort={sort}
          empty={filtered ? "No endpoint suits." : "No endpoint is in use: they appear with their first request."}
        />
      </div>
    </div>
  );
}

/** Of a region's edge, which is never probed, what requests met there. */
export function whyOf({ cordon, reason, hindrance, last_failure: failure = null }: WhyOf): string {
  if (cordon !== null) return cordon.reason;
  if (hindrance !== null && OUT.has(hindrance)) return `requests failed; last probe: ${reason || "none"}`;
  return reason === "" && failure !== null ? failure.reason : reason;
}

/** Because of what requests saw, whatever probes say. */
const OUT: ReadonlySet<string> = new Set(["ejected", "trial", "open"]);

type WhyOf = Pick<Endpoint, "cordon" | "reason" | "hindrance"> & Partial<Pick<Endpoint, "last_failure">>;
type StateOf = Pick<Endpoint, "verdict" | "cordon" | "hindrance"> & { readonly kind?: string; readonly breaker?: string | null };

const HINDRANCES: Readonly<Record<string, readonly [string, Tone]>> = {
  ejected: ["ejected", "bad"],
  trial: ["ejected", "bad"],
  open: ["breaker open", "bad"],
  full: ["full", "warning"],
  busy: ["busy", "neutral"],
};

/** `breaker`: where it is known that one is half-open, too. */
export function State({ of: { verdict, cordon, kind, hindrance, breaker = null } }: { of: StateOf }) {
  return (
    <>
      {cordon !== null && <Badge tone="warning">cordoned</Badge>}{" "}
      {hindrance !== null && <Badge tone={HINDRANCES[hindrance]?.[1] ?? "warning"}>{HINDRANCES[hindrance]?.[0] ?? hindrance}
      </Badge>} {breaker !== null && breaker !== "closed" && hindrance !== "open" && <Badge tone="bad">breaker {breaker}</Badge>}
      {" "}
      {verdict === null ? <Badge tone="neutral">{kind === "vm" ? "not in use" : "not probed"}</Badge> : <Verdict of={verdict} />}
    </>
  );
}
