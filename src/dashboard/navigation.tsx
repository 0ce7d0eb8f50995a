/** The views there are, and the way to them. */
import { useState } from "hono/jsx/dom";
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
};

export function Navigation({ page }: { page: string }) {
  const [open, setOpen] = useState(false);
  const current = PARENTS[page] ?? page;
  return (
    <nav class={`navigation${open ? " open" : ""}`} aria-label="Views">
      <button
        type="button"
        class="menu-button"
        aria-expanded={open ? "true" : "false"}
        aria-controls="views"
        onClick={() => setOpen(!open)}
      >
        <Icon name={open ? "close" : "menu"} /> Menu
      </button>
      <ul id="views">
        {DESTINATIONS.map(({ page: each, title, icon }) => (
          <li key={each}>
            <a href={linkTo(each)} onClick={() => setOpen(false)} {...each === current && { "aria-current": "page" }}>
              <Icon name={icon} /> {title}
            </a>
          </li>
        ))}
      </ul>
    </nav>
  );
}
