/** Light or dark: as the system says, until the reader chooses. */
import { Store } from "./store.ts";

export type Theme = "light" | "dark";

const KEY = "edgeproxy-theme";
const system = matchMedia("(prefers-color-scheme: dark)");

/** What is shown; charts are drawn anew when it changes. */
export const theme: Store<Theme> = new Store(current());

apply();
system.addEventListener("change", apply);

export function toggleTheme(): void {
  localStorage.setItem(KEY, theme.value === "dark" ? "light" : "dark");
  apply();
}

function apply(): void {
  document.documentElement.dataset["theme"] = current();
  theme.set(current());
}

function current(): Theme {
  const chosen = localStorage.getItem(KEY);
  if (chosen === "light" || chosen === "dark") return chosen;
  return system.matches ? "dark" : "light";
}
