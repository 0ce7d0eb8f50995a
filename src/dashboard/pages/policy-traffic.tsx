/** What routes of policies do: how a split is really spread, what ends badly, what policies refuse, how long requests wait. */
import type { PolicyTarget, PolicyTrafficPage } from "../answers.ts";
import { milliseconds, percent, rate, words } from "../format.ts";
import { Panel } from "../parts/panel.tsx";
import { Shown } from "../parts/states.tsx";
import { type Column, Table } from "../parts/table.tsx";
import { linkTo } from "../place.ts";
import { usePolled } from "../polled.ts";

const EVERY_MS = 5000;
const MOST = 12;

const COLUMNS: readonly Column<PolicyTarget>[] = [
  { title: "Route", names: true, cell: ({ route }) => route === "" ? "bare route" : route },
  {
    title: "Leads to",
    wide: true,
    cell: ({ service }) => {
      if (service === "") return <span class="muted">answers by itself</span>;
      return service === "vms" ? "VMs of the domain" : <a href={linkTo("service", service)}>{service}</a>;
    },
  },
  { title: "Requests/s", number: true, cell: (target) => rate(target.requests_per_second) },
  {
    title: "Share",
    number: true,
    cell: ({ share, wanted }) =>
      wanted === null ? "" : (
        <>
          {percent(share)} <span class="muted">of {percent(wanted)}</span>
        </>
      ),
  },
  { title: "Errors/s", number: true, cell: (target) => rate(target.errors_per_second) },
  { title: "p95", number: true, cell: (target) => milliseconds(target.p95_ms) },
  { title: "Refused/s", number: true, cell: (target) => <span title={refusals(target)}>{rate(target.refused_per_second)}</span> },
  { title: "Retries/s", number: true, cell: (target) => rate(target.retries_per_second) },
  { title: "Mean wait", number: true, cell: (target) => milliseconds(target.mean_wait_ms) },
];

/** Since it has been watched. */
function refusals({ refused }: PolicyTarget): string {
  return Object.entries(refused).filter(([, number]) => number > 0).map(([code, number]) => `${words(code)} ${number}`).join(", ");
}

export function PolicyTraffic() {
  const traffic = usePolled<PolicyTrafficPage>(`/api/policies/traffic?limit=${MOST}&sort=-requests`, EVERY_MS);
  return (
    <Panel title="Traffic of the last minute">
      <Shown what="their traffic" polled={traffic}>
        {(answer) => (
          <Table
            caption="Busiest routes of policies by service"
            columns={COLUMNS}
            rows={answer.targets}
            keyOf={({ route, service }) => `${route} ${service}`}
            empty="No requests under policies yet."
          />
        )}
      </Shown>
    </Panel>
  );
}
