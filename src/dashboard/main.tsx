/// <reference lib="dom" />
/// <reference lib="dom.iterable" />
/// <reference lib="dom.asynciterable" />
/** Where the page begins: it draws the shell, which draws the view that the address names. */
import { render } from "hono/jsx/dom";
import { Shell } from "./shell.tsx";

const root = document.getElementById("app");
if (root !== null) render(<Shell />, root);
