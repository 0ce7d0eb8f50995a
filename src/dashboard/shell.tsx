/*  What surrounds every view: name of the edge, ways to the views, banners about the state of all, and the one dialog that asks for
 *  the token. The address decides which view is shown.
 */
import { useEffect, useRef, useState } from "hono/jsx/dom";
import type { Overview } from "./answers.ts";
import { Banners } from "./banners.tsx";
import { Header } from "./header.tsx";
import { Navigation } from "./navigation.tsx";
import { type Place, place } from "./place.ts";
import { usePolled } from "./polled.ts";
import { useStore } from "./store.ts";
import { TokenDialog } from "./token-dialog.tsx";
import { titleOf, View } from "./views.tsx";

const OVERVIEW_MS = 2000;

export function Shell() {
  const here = useStore(place);
  const overview = usePolled<Overview>("/api/overview", OVERVIEW_MS);
  const [menuOpen, setMenuOpen] = useState(false);
  useArrival(here);
  useShortcuts();
  const skip = (event: Event): void => {
    event.preventDefault();
    document.getElementById("main")?.focus();
  };
  return (
    <div class="shell">
      <a class="skip" href="#main" onClick={skip}>Skip to the view</a>
      <Header overview={overview.answer} menuOpen={menuOpen} onMenu={() => setMenuOpen(!menuOpen)} />
      <Navigation page={here.page} open={menuOpen} onGo={() => setMenuOpen(false)} />
      <main id="main" tabindex={-1}>
        <Banners overview={overview.answer} />
        <View place={here} overview={overview} />
      </main>
      <TokenDialog />
    </div>
  );
}

/** Another view: its title becomes the page's, and the focus goes to its heading, as if a page had been loaded. */
function useArrival(here: Place): void {
  const before = useRef<string | null>(null);
  const title = titleOf(here);
  useEffect(() => {
    document.title = `${title} – edgeproxy`;
    if (before.current !== null && before.current !== title) {
      scrollTo(0, 0);
      document.querySelector<HTMLElement>("main h1")?.focus();
    }
    before.current = title;
  }, [title]);
}

/** `/` goes to the search of the view, or else to that of the header. */
function useShortcuts(): void {
  useEffect(() => {
    const pressed = (event: KeyboardEvent): void => {
      const target = event.target as HTMLElement;
      if (
        event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey ||
        target.closest("input, textarea, select, dialog") !== null
      ) return;
      const field = document.querySelector<HTMLInputElement>("main [data-search]") ??
        document.querySelector<HTMLInputElement>("[data-find]");
      if (field === null) return;
      event.preventDefault();
      field.focus();
      field.select();
    };
    addEventListener("keydown", pressed);
    return () => removeEventListener("keydown", pressed);
  }, []);
}
