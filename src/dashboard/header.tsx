/** Above every view: which edge this is, how it is, and the way to one host. */
import type { Overview } from "./answers.ts";
import { contact } from "./api-client.ts";
import { shortId } from "./format.ts";
import { Badge } from "./parts/badge.tsx";
import { Icon } from "./parts/icon.tsx";
import { linkTo } from "./place.ts";
import { useStore } from "./store.ts";
import { theme, toggleTheme } from "./theme.ts";

interface HeaderProps {
  readonly overview: Overview | null;
  readonly menuOpen: boolean;
  readonly onMenu: () => void;
}

export function Header({ overview, menuOpen, onMenu }: HeaderProps) {
  const shown = useStore(theme);
  const find = (event: Event): void => {
    event.preventDefault();
    const field = (event.target as HTMLFormElement).querySelector("input");
    const text = field?.value.trim() ?? "";
    if (text !== "") location.hash = linkTo("routes", "", { q: text });
  };
  return (
    <header class="top">
      <button
        type="button"
        class="quiet menu-button"
        aria-label="Views"
        aria-expanded={menuOpen ? "true" : "false"}
        aria-controls="views"
        onClick={onMenu}
      >
        <Icon name={menuOpen ? "close" : "menu"} />
      </button>
      <a class="brand" href={linkTo("overview")}>
        <svg class="mark" viewBox="0 0 32 32" aria-hidden="true">
          <rect width="32" height="32" rx="8" />
          <path d="M7 16h7l5-7h6M14 16l5 7h6" />
        </svg>
        edgeproxy
      </a>
      {overview !== null && (
        <span class="edge-name" title={`Region ${overview.region}, version ${overview.version}`}>
          region {shortId(overview.region)} · {overview.version}
        </span>
      )}
      <Condition overview={overview} />
      <form class="find" role="search" onSubmit={find}>
        <Icon name="search" />
        <input
          type="search"
          aria-label="Find a host"
          placeholder="Find a host"
          data-find=""
          spellcheck={false}
          autocomplete="off"
        />
        <kbd aria-hidden="true">/</kbd>
      </form>
      <button type="button" class="quiet" onClick={toggleTheme} aria-label={shown === "dark" ? "Light theme" : "Dark theme"}>
        <Icon name="theme" />
      </button>
    </header>
  );
}

/** The whole edge in one word. */
function Condition({ overview }: { overview: Overview | null }) {
  const { lostAtMs } = useStore(contact);
  if (lostAtMs !== null) return <Badge tone="bad">no contact</Badge>;
  if (overview === null) return null;
  if (overview.drain !== null) return <Badge tone="warning">draining</Badge>;
  const alerts = overview.alerts.filter(({ severity }) => severity !== "info").length;
  if (alerts === 0) return <Badge tone="good">all fine</Badge>;
  const grave = overview.alerts.some(({ severity }) => severity === "critical");
  return <Badge tone={grave ? "bad" : "warning"}>{alerts} {alerts === 1 ? "alert" : "alerts"}</Badge>;
}
