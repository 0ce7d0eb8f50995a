/** This region and the others: where requests can be sent, and what goes wrong on the way. */
import type { Endpoint, EndpointsPage, ErrorsPage, Overview, Region } from "../answers.ts";
import { count, plural, shortId, UNKNOWN } from "../format.ts";
import { Badge } from "../parts/badge.tsx";
import { Moment } from "../parts/moment.tsx";
import { Facts } from "../parts/panel.tsx";
import { Shown } from "../parts/states.tsx";
import { linkTo } from "../place.ts";
import { usePolled } from "../polled.ts";
import type { ViewProps } from "../views.tsx";

const EVERY_MS = 5000;
/** Regions are few. */
const MOST = 1000;

export function RegionsView({ overview }: ViewProps) {
  const regions = usePolled<{ readonly regions: readonly Region[] }>("/api/regions", EVERY_MS);
  const endpoints = usePolled<EndpointsPage>(`/api/endpoints?kind=region&limit=${MOST}`, EVERY_MS);
  const errors = usePolled<ErrorsPage>(`/api/errors?blame=region&limit=${MOST}`, EVERY_MS);
  return (
    <div class="view">
      <div class="view-head">
        <h1 tabindex={-1}>Regions</h1>
        <p>Other regions are not probed: what requests meet there tells</p>
      </div>
      <Shown what="regions" polled={regions}>
        {(answer) => (
          <ul class="regions">
            {[...answer.regions].sort((one, other) => Number(other.here) - Number(one.here)).map((region) => (
              <RegionCard
                region={region}
                overview={overview.answer}
                endpoints={(endpoints.answer?.endpoints ?? []).filter((each) => each.region === region.id)}
                errors={errors.answer}
                key={region.id}
              />
            ))}
          </ul>
        )}
      </Shown>
    </div>
  );
}

interface RegionCardProps {
  readonly region: Region;
  readonly overview: Overview | null;
  readonly endpoints: readonly Endpoint[];
  readonly errors: ErrorsPage | null;
}

function RegionCard({ region, overview, endpoints, errors }: RegionCardProps) {
  const failures = (errors?.errors ?? []).filter((each) => each.region === region.id);
  const last = failures[0];
  return (
    <li class={`panel region${region.here ? " here" : ""}`}>
      <header class="panel-head">
        <h2>{region.here ? "This region" : `Region ${shortId(region.id)}`}</h2>
        <div class="panel-aside">
          {region.here ? <Badge tone="accent">here</Badge> : <Reach endpoints={endpoints} failures={failures.length} />}
        </div>
      </header>
      <Facts
        of={[
          ["Id", <code key="id">{region.id}</code>],
          ["Public address", region.public_ipv4 ?? "none"],
          ...region.here
            ? [["VMs in use", <a href={linkTo("endpoints", "", { kind: "vm" })} key="vms">{verdictsOf(overview)}</a>] as const]
            : [
              [
                "Endpoint",
                endpoints.length === 0 ? "not in use" : endpoints.map(({ key }) => (
                  <a href={linkTo("endpoint", key)} key={key}>
                    <code>{key}</code>
                  </a>
                )),
              ] as const,
              ["Requests under way", count(endpoints.reduce((sum, each) => sum + each.in_flight, 0))] as const,
              [
                "Failures lately",
                last === undefined ? "none" : (
                  <span key="last">
                    {count(failures.length)}, the last <Moment at={last.time} />: {last.problem}
                  </span>
                ),
              ] as const,
            ],
        ]}
      />
    </li>
  );
}

function Reach({ endpoints, failures }: { endpoints: readonly Endpoint[]; failures: number }) {
  if (endpoints.some(({ cordon }) => cordon !== null)) return <Badge tone="warning">cordoned</Badge>;
  if (failures > 0) return <Badge tone="bad">{plural(failures, "failure")}</Badge>;
  return endpoints.length === 0 ? <Badge tone="neutral">not in use</Badge> : <Badge tone="good">in use</Badge>;
}

function verdictsOf(overview: Overview | null): string {
  if (overview === null) return UNKNOWN;
  const some = Object.entries(overview.endpoints).filter(([, number]) => number > 0);
  return some.length === 0 ? "none" : some.map(([verdict, number]) => `${count(number)} ${verdict}`).join(", ");
}
