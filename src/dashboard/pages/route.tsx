/** One host: where it leads and how that is, what goes through, what went wrong, and why a request would go where it goes. */
import type { EndpointDetails, HostsPage, Route, RouteEndpoint } from "../answers.ts";
import { pathOf } from "../api-client.ts";
import { bytes, count, milliseconds, plural, rate, shortId } from "../format.ts";
import type { ErrorsPage } from "../happenings.ts";
import { Badge } from "../parts/badge.tsx";
import { BadEnds } from "../parts/bad-ends.tsx";
import { CordonButton } from "../parts/cordon-dialog.tsx";
import { ExplainForm } from "../parts/explain-form.tsx";
import { Moment } from "../parts/moment.tsx";
import { Facts, Panel } from "../parts/panel.tsx";
import { ProbeTimeline } from "../parts/probe-timeline.tsx";
import { Shown } from "../parts/states.tsx";
import { linkTo } from "../place.ts";
import { usePolled } from "../polled.ts";
import type { ViewProps } from "../views.tsx";
import { State, whyOf } from "./endpoints.tsx";

const EVERY_MS = 4000;
/** A route may have very many. */
const MOST_ENDPOINTS = 8;

export function RouteView({ place }: ViewProps) {
  const host = place.subject;
  const route = usePolled<Route>(`/api/routes/${encodeURIComponent(host)}`, EVERY_MS);
  return (
    <div class="view">
      <div class="view-head">
        <h1 tabindex={-1}>{host}</h1>
        {route.answer !== null && <p>{plural(route.answer.endpoints.length, "endpoint")}</p>}
      </div>
      <Traffic host={host} />
      <Panel title="Endpoints">
        <Shown what={`the route of ${host}`} polled={route}>{(answer) => <Endpoints of={answer.endpoints} />}</Shown>
      </Panel>
      <Panel title="Explain a request" aside="Nothing is sent">
        <ExplainForm url={`http://${host.replace("*", "anything")}/`} atOnce />
      </Panel>
      <RecentErrors host={host} />
    </div>
  );
}

/** Only the busiest hosts are counted one by one. */
function Traffic({ host }: { host: string }) {
  const hosts = usePolled<HostsPage>(pathOf("/api/hosts", { q: host, limit: 50 }), EVERY_MS);
  const own = hosts.answer?.hosts.find((each) => each.host === host);
  return (
    <Panel title="Traffic" aside="Rates of the last minute">
      <Shown what="traffic" polled={hosts}>
        {() =>
          own === undefined ? <p class="state">No request lately.</p> : (
            <Facts
              of={[
                ["Requests per second", rate(own.requests_per_second)],
                ["Errors per second", rate(own.errors_per_second)],
                ["Latency, mean and p95", `${milliseconds(own.mean_ms)}, ${milliseconds(own.p95_ms)}`],
                ["Requests in total", count(own.requests)],
                ["Errors in total", count(own.errors)],
                ["Bytes in, out", `${bytes(own.bytes_in)}, ${bytes(own.bytes_out)}`],
              ]}
            />
          )}
      </Shown>
    </Panel>
  );
}

function Endpoints({ of }: { of: readonly RouteEndpoint[] }) {
  return (
    <ul class="endpoints">
      {of.slice(0, MOST_ENDPOINTS).map((endpoint) => <EndpointLine endpoint={endpoint} key={keyOf(endpoint)} />)}
      {of.length > MOST_ENDPOINTS && <li class="muted">and {of.length - MOST_ENDPOINTS} more</li>}
    </ul>
  );
}

/** As the API writes it. */
function keyOf({ kind, address, port }: RouteEndpoint): string {
  return `${kind}/${address.includes(":") ? `[${address}]` : address}:${port}`;
}

function EndpointLine({ endpoint }: { endpoint: RouteEndpoint }) {
  const key = keyOf(endpoint);
  const details = usePolled<EndpointDetails>(`/api/endpoints/${encodeURIComponent(key)}`, EVERY_MS);
  const { answer, failure } = details;
  return (
    <li>
      <div class="endpoint-line">
        <a href={linkTo("endpoint", key)}>
          <code>{key}</code>
        </a>
        <span class="muted">{endpoint.kind === "vm" ? "VM here" : `region ${shortId(endpoint.region)}`}</span>
        {answer !== null && <State of={answer} />}
        {answer !== null && (
          <span class="muted">
            {whyOf(answer)} <Moment at={answer.cordon?.since ?? answer.since} />
          </span>
        )}
        {answer === null && failure !== null && (
          <Badge tone="neutral">{failure.status === 404 ? "not in use" : failure.message}</Badge>
        )}
        {answer !== null && (
          <span class="actions">
            <CordonButton endpoint={key} cordoned={answer.cordon !== null} onDone={details.again} />
          </span>
        )}
      </div>
      {answer !== null && endpoint.kind === "vm" && <ProbeTimeline probes={answer.probes} />}
    </li>
  );
}

function RecentErrors({ host }: { host: string }) {
  const errors = usePolled<ErrorsPage>(pathOf("/api/errors", { host, limit: 20 }), EVERY_MS);
  return (
    <Panel title="Recent errors" aside={<a href={linkTo("errors", "", { q: host })}>Live</a>}>
      <Shown what="errors" polled={errors}>
        {(answer) => <BadEnds ends={answer.errors} empty="Nothing has ended badly lately." />}
      </Shown>
    </Panel>
  );
}
