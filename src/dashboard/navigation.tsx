/** The views there are, and the way to them. */
import { Icon, type IconName } from "./parts/icon.tsx";
import { linkTo } from "./place.ts";

export interface Destination {
  readonly page: string;
  readonly title: string;
  readonly icon: IconName;
}

export const DESTINATIONS: readonly Destination[] = [
  { page: "overview", title: "Overview", icon: "overview" },
  { page: "routes", title: "Routes", icon: "routes" },
  { page: "hosts", title: "Hosts", icon: "hosts" },
  { page: "errors", title: "Errors", icon: "errors" },
  { page: "endpoints", title: "Endpoints", icon: "endpoints" },
  { page: "services", title: "Services", icon: "services" },
  { page: "regions", title: "Regions", icon: "regions" },
  { page: "connections", title: "Connections", icon: "connections" },
  { page: "revisions", title: "Revisions", icon: "revisions" },
  { page: "activity", title: "Activity", icon: "activity" },
  { page: "explain", title: "Explain", icon: "explain" },
  { page: "settings", title: "Settings", icon: "settings" },
];

/** Where a page belongs that is no destination itself. */
const PARENTS: Readonly<Record<string, string>> = {
  route: "routes",
  excluded: "routes",
  endpoint: "endpoints",
  revision: "revisions",
  service: "services",
  "policy-routes": "services",
};

interface NavigationProps {
  readonly page: string;
  /** On a narrow page, where the views are behind a button. */
  readonly open: boolean;
  readonly onGo: () => void;
}

export function Navigation({ page, open, onGo }: NavigationProps) {
  const current = PARENTS[page] ?? page;
  return (
    <nav class={`navigation${open ? " open" : ""}`} aria-label="Views" id="views">
      <ul>
        {DESTINATIONS.map(({ page: each, title, icon }) => (
          <li key={each}>
            <a href={linkTo(each)} onClick={onGo} {...each === current && { "aria-current": "page" }}>
              <Icon name={icon} /> {title}
            </a>
          </li>
        ))}
      </ul>
    </nav>
  );
}
