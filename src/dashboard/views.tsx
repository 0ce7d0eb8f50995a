/** The view that an address names. */
import type { FC } from "hono/jsx";
import type { Overview } from "./answers.ts";
import { DESTINATIONS } from "./navigation.tsx";
import { ActivityView } from "./pages/activity.tsx";
import { ConnectionsView } from "./pages/connections.tsx";
import { EndpointView } from "./pages/endpoint.tsx";
import { EndpointsView } from "./pages/endpoints.tsx";
import { ErrorsView } from "./pages/errors.tsx";
import { ExplainView } from "./pages/explain.tsx";
import { HostsView } from "./pages/hosts.tsx";
import { OverviewView } from "./pages/overview.tsx";
import { PolicyRoutesView } from "./pages/policy-routes.tsx";
import { RegionsView } from "./pages/regions.tsx";
import { RevisionView } from "./pages/revision.tsx";
import { RevisionsView } from "./pages/revisions.tsx";
import { ExcludedView, RoutesView } from "./pages/routes.tsx";
import { RouteView } from "./pages/route.tsx";
import { ServiceView } from "./pages/members.tsx";
import { ServicesView } from "./pages/services.tsx";
import { SettingsView } from "./pages/settings.tsx";
import { linkTo, type Place } from "./place.ts";
import type { Polled } from "./polled.ts";

export interface ViewProps {
  readonly place: Place;
  /** Of the whole edge, always fresh. */
  readonly overview: Polled<Overview>;
}

const VIEWS: Readonly<Record<string, FC<ViewProps>>> = {
  overview: OverviewView,
  routes: RoutesView,
  excluded: ExcludedView,
  route: RouteView,
  hosts: HostsView,
  errors: ErrorsView,
  endpoints: EndpointsView,
  endpoint: EndpointView,
  services: ServicesView,
  service: ServiceView,
  "policy-routes": PolicyRoutesView,
  regions: RegionsView,
  connections: ConnectionsView,
  revisions: RevisionsView,
  revision: RevisionView,
  activity: ActivityView,
  explain: ExplainView,
  settings: SettingsView,
};

export function View(props: ViewProps) {
  const { page, subject } = props.place;
  const Shown = VIEWS[page] ?? NoView;
  return <Shown {...props} key={`${page}/${subject}`} />;
}

export function titleOf({ page, subject }: Place): string {
  if (subject !== "") return subject;
  if (page === "excluded") return "Excluded domains";
  if (page === "policy-routes") return "Routes of policies";
  return DESTINATIONS.find((each) => each.page === page)?.title ?? "Not found";
}

function NoView() {
  return (
    <div class="view">
      <h1 tabindex={-1}>There is no such view</h1>
      <p>
        <a href={linkTo("overview")}>To the overview</a>
      </p>
    </div>
  );
}
