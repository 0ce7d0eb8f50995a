/** The view that an address names. */
import type { FC } from "hono/jsx";
import type { Overview } from "./answers.ts";
import { DESTINATIONS } from "./navigation.tsx";
import { OverviewView } from "./pages/overview.tsx";
import { ExcludedView, RoutesView } from "./pages/routes.tsx";
import { RouteView } from "./pages/route.tsx";
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
};

export function View(props: ViewProps) {
  const { page, subject } = props.place;
  const Shown = VIEWS[page] ?? NoView;
  return <Shown {...props} key={`${page}/${subject}`} />;
}

export function titleOf({ page, subject }: Place): string {
  if (subject !== "") return subject;
  if (page === "excluded") return "Excluded domains";
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
