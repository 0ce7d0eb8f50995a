/** This region and the others: where requests can be sent, and what goes wrong on the way. */
import type { Endpoint, EndpointsPage, Overview, Region } from "../answers.ts";
import { count, shortId, UNKNOWN } from "../format.ts";
import type { ErrorsPage, ListedBadEnd } from "../happenings.ts";
import { Badge, type Tone } from "../parts/badge.tsx";
import { Moment } from "../parts/moment.tsx";
import { type Fact, Facts } from "../parts/panel.tsx";
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
        {(answer) => {
          const card = (region: Region) => (
            <RegionCard
              region={region}
              overview={overview.answer}
              endpoints={(endpoints.answer?.endpoints ?? []).filter((each) => each.region === region.id)}
              errors={errors.answer}
              key={region.id}
            />
          );
          return (
            <div class="regions">
              <ul>{answer.regions.filter(({ here }) => here).map(card)}</ul>
              <ul class="others">{answer.regions.filter(({ here }) => !here).map(card)}</ul>
            </div>
          );
        }}
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
  const reach = region.here ? "here" : reachOf(endpoints, failures[0]);
  return (
    <li class={`panel region ${reach.replace(" ", "-")}`}>
      <header class="panel-head">
        <h2>{region.here ? "This region" : `Region ${shortId(region.id)}`}</h2>
        <div class="panel-aside">
          <Badge tone={TONES[reach]}>{reach}</Badge>
        </div>
      </header>
      {region.here
        ? (
          <Facts
            of={[
              ["Id", <code key="id">{region.id}</code>],
              ["Public address", region.public_ipv4 ?? "none"],
              ["VMs in use", <a href={linkTo("endpoints", "", { kind: "vm" })} key="vms">{verdictsOf(overview)}</a>],
            ]}
          />
        )
        : <Facts of={factsOf(region, endpoints, failures)} />}
    </li>
  );
}

function factsOf(region: Region, endpoints: readonly Endpoint[], failures: readonly ListedBadEnd[]): readonly Fact[] {
  const [last] = failures;
  const keys = endpoints.map(({ key }) => (
    <a href={linkTo("endpoint", key)} key={key}>
      <code>{key}</code>
    </a>
  ));
  return [
    ["Id", <code key="id">{region.id}</code>],
    ["Endpoint", keys.length === 0 ? region.public_ipv4 ?? "none" : keys],
    ["Routes that lead there", count(endpoints.reduce((sum, { routes }) => sum + routes, 0))],
    ["Requests under way", count(endpoints.reduce((sum, each) => sum + each.in_flight, 0))],
    ["Failures", last === undefined ? "none" : <LastFailure failures={failures.length} last={last} key="last" />],
  ];
}

function LastFailure({ failures, last }: { failures: number; last: ListedBadEnd }) {
  return (
    <>
      <a href={linkTo("errors", "", { blame: "region" })}>{count(failures)}</a>, the last <Moment at={last.time} />: {last.problem}
    </>
  );
}

/** What a failure says of a region is soon out of date: it is not probed. */
const FRESH_MS = 300_000;

type Reach = "here" | "in use" | "not in use" | "cordoned" | "failing";
const TONES: Readonly<Record<Reach, Tone>> = {
  here: "accent",
  "in use": "good",
  "not in use": "neutral",
  cordoned: "warning",
  failing: "bad",
};

function reachOf(endpoints: readonly Endpoint[], last: ListedBadEnd | undefined): Reach {
  if (endpoints.some(({ cordon }) => cordon !== null)) return "cordoned";
  if (last !== undefined && Date.now() - Date.parse(last.time) < FRESH_MS) return "failing";
  return endpoints.length === 0 ? "not in use" : "in use";
}

function verdictsOf(overview: Overview | null): string {
  if (overview === null) return UNKNOWN;
  const some = Object.entries(overview.endpoints).filter(([, number]) => number > 0);
  return some.length === 0 ? "none" : some.map(([verdict, number]) => `${count(number)} ${verdict}`).join(", ");
}
