/** The first screen: is anything wrong, how much goes through, and what state the parts are in. */
import type { Alert, HostsPage, Overview, PoliciesAtWork, Worker } from "../answers.ts";
import { bytes, count, milliseconds, plural, rate, share, shortCount, UNKNOWN } from "../format.ts";
import { Badge, Verdict } from "../parts/badge.tsx";
import { Icon } from "../parts/icon.tsx";
import { Moment } from "../parts/moment.tsx";
import { Facts, Panel } from "../parts/panel.tsx";
import { Shown } from "../parts/states.tsx";
import { type Column, Table } from "../parts/table.tsx";
import { linkTo } from "../place.ts";
import { usePolled } from "../polled.ts";
import type { ViewProps } from "../views.tsx";
import { TrafficCharts } from "./traffic-charts.tsx";

const WORKERS_MS = 5000;
const HOSTS_MS = 5000;

export function OverviewView({ overview }: ViewProps) {
  return (
    <div class="view">
      <h1 class="unseen" tabindex={-1}>Overview</h1>
      <Shown what="the overview" polled={overview}>{(answer) => <Glance overview={answer} />}</Shown>
      <TrafficCharts />
      <div class="columns">
        <BusiestHosts />
        <Workers />
      </div>
      {overview.answer !== null && <Parts overview={overview.answer} />}
    </div>
  );
}

function Glance({ overview }: { overview: Overview }) {
  const { traffic } = overview;
  return (
    <>
      <Alerts alerts={overview.alerts} />
      <dl class="tiles" aria-label="Last 10 seconds">
        <Tile name="Requests/s" value={rate(traffic.requests_per_second)} note="last 10 s" />
        <Tile
          name="Errors/s"
          value={rate(traffic.errors_per_second)}
          note={blames(traffic.by_blame) || share(traffic.errors_per_second, traffic.requests_per_second)}
          tone={faults(traffic.by_blame) > 0 ? "bad" : ""}
        />
        <Tile
          name="Latency p95"
          value={milliseconds(traffic.p95_ms)}
          note={`p50 ${milliseconds(traffic.p50_ms)} · p99 ${milliseconds(traffic.p99_ms)}`}
        />
        <Tile name="Connections" value={shortCount(overview.connections)} note={plural(overview.tunnels, "tunnel")} />
        <Tile name="Routes" value={count(overview.routes)} note={`revision ${count(overview.revision)}`} />
        <Tile
          name="Workers"
          value={`${overview.workers.up} of ${overview.workers.total}`}
          note="serving"
          tone={overview.workers.up < overview.workers.total ? "warning" : ""}
        />
      </dl>
    </>
  );
}

function Tile({ name, value, note, tone = "" }: { name: string; value: string; note: string; tone?: string }) {
  return (
    <div class={`tile ${tone}`}>
      <dt>{name}</dt>
      <dd>{value}</dd>
      <dd class="note">{note}</dd>
    </div>
  );
}

function Alerts({ alerts }: { alerts: readonly Alert[] }) {
  return (
    <section class="alerts" aria-label="Alerts">
      {alerts.length === 0 && (
        <p class="banner good">
          <Icon name="good" />Nothing needs attention.
        </p>
      )}
      <ul>
        {alerts.map(({ severity, name, what, since }) => (
          <li class={`banner ${severity === "critical" ? "bad" : severity}`} key={what}>
            <Icon name="warning" />
            <span>
              <b>{severity}</b> {what}{" "}
              {name !== null && <code title="Its rule, and its section in docs/operations.md">{name}</code>}
            </span>
            {typeof since === "string" && (
              <span class="when">
                <Moment at={since} />
              </span>
            )}
          </li>
        ))}
      </ul>
    </section>
  );
}

/** Whatever somebody here has to act on. */
function faults(byBlame: Readonly<Record<string, number>>): number {
  return Object.entries(byBlame).reduce((sum, [blame, value]) => blame === "client" ? sum : sum + value, 0);
}

function blames(byBlame: Readonly<Record<string, number>>): string {
  return Object.entries(byBlame).filter(([, value]) => value > 0).map(([blame, value]) => `${blame} ${rate(value)}`).join(" · ");
}

const HOST_COLUMNS: readonly Column<HostsPage["hosts"][number]>[] = [
  {
    title: "Host",
    names: true,
    wide: true,
    cell: ({ host }) => host === "other" ? "other" : <a href={linkTo("route", host)}>{host}</a>,
  },
  { title: "Requests/s", number: true, cell: (host) => rate(host.requests_per_second) },
  { title: "Errors/s", number: true, cell: (host) => rate(host.errors_per_second) },
  { title: "p95", number: true, cell: (host) => milliseconds(host.p95_ms) },
];

function BusiestHosts() {
  const hosts = usePolled<HostsPage>("/api/hosts?limit=6&sort=-requests", HOSTS_MS);
  return (
    <Panel title="Busiest hosts" aside={<a href={linkTo("hosts")}>All hosts</a>}>
      <Shown what="hosts" polled={hosts}>
        {(answer) => (
          <Table
            caption="Busiest hosts of the last minute"
            columns={HOST_COLUMNS}
            rows={answer.hosts}
            keyOf={({ host }) => host}
            empty="No requests yet."
          />
        )}
      </Shown>
    </Panel>
  );
}

const WORKER_COLUMNS: readonly Column<Worker>[] = [
  {
    title: "Worker",
    names: true,
    cell: ({ worker, pid }) => (
      <>
        {worker} <span class="muted">{pid !== null && `pid ${pid}`}</span>
      </>
    ),
  },
  { title: "State", cell: ({ state }) => <Verdict of={state} /> },
  { title: "Connections", number: true, cell: ({ connections }) => shortCount(connections) },
  { title: "Memory", number: true, cell: (worker) => bytes(worker.memory_bytes) },
  { title: "Restarts", number: true, cell: ({ restarts }) => count(restarts) },
  { title: "Since", number: true, cell: ({ since }) => <Moment at={since} /> },
];

function Workers() {
  const workers = usePolled<{ readonly workers: readonly Worker[] }>("/api/workers", WORKERS_MS);
  return (
    <Panel title="Workers">
      <Shown what="workers" polled={workers}>
        {(answer) => (
          <Table
            caption="Workers"
            columns={WORKER_COLUMNS}
            rows={answer.workers}
            keyOf={({ worker }) => String(worker)}
            empty="No worker has started."
          />
        )}
      </Shown>
    </Panel>
  );
}

function Parts({ overview }: { overview: Overview }) {
  const { endpoints, cordons } = overview;
  const verdicts = Object.entries(endpoints).filter(([, number]) => number > 0).map(([verdict, number]) =>
    `${count(number)} ${verdict}`
  );
  return (
    <Panel title="State">
      <Facts
        of={[
          ["Database", <DatabaseState of={overview.database} key="database" />],
          ["Table as of", overview.table_age_s === null ? UNKNOWN : `${milliseconds(overview.table_age_s * 1000)} ago`],
          [
            "Endpoints",
            <a href={linkTo("endpoints")} key="endpoints">{verdicts.length === 0 ? "none in use" : verdicts.join(", ")}</a>,
          ],
          ["Cordoned", <a href={linkTo("endpoints", "", { cordoned: "true" })} key="cordons">{count(cordons)}</a>],
          ["Policies", <a href={linkTo("services")} key="policies">{atWork(overview.policies)}</a>],
          ["Serving since", <Moment at={overview.since} key="since" />],
          ["Region", <code key="region">{overview.region}</code>],
        ]}
      />
    </Panel>
  );
}

/** What keeps requests of services from going as usual. */
function atWork(policies: PoliciesAtWork): string {
  const parts: readonly (readonly [number: number, what: string])[] = [
    [policies.breakers_open, "open breakers"],
    [policies.breakers_half_open, "breakers on trial"],
    [policies.ejected, "ejected endpoints"],
    [policies.unusable.length, "services without an endpoint"],
    [policies.queued, "requests in queues"],
    [policies.maintained, "in maintenance"],
    [policies.draining, "draining"],
    [policies.hidden_routes, "routes that never apply"],
  ];
  const told = parts.filter(([number]) => number > 0).map(([number, what]) => `${count(number)} ${what}`);
  return told.length === 0 ? "nothing stands out" : told.join(", ");
}

const DATABASE_STATES = { ok: ["good", "answers"], away: ["bad", "away"], unread: ["warning", "not read yet"] } as const;

function DatabaseState({ of: { state, problem, following, server } }: { of: Overview["database"] }) {
  if (state === "none") return <span class="muted">none: all routes are those of the routes file</span>;
  const [tone, text] = DATABASE_STATES[state];
  return (
    <>
      <Badge tone={tone}>{text}</Badge> {server} <span class="muted">by {following}</span>
      {problem !== null && <span class="problem">{problem}</span>}
    </>
  );
}
