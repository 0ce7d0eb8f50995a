/** Replays every dialogue of this folder: whole, byte by byte, cut at every offset, on sockets that close at once or later. */
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { parseDialogues } from "../fixtures/dialogue.ts";
import { cuts, replay } from "../fixtures/dialogue-replay.ts";

const FOLDER = new URL(".", import.meta.url);

for (const name of readdirSync(FOLDER).filter((each) => each.endsWith(".md")).sort()) {
  for (const dialogue of parseDialogues(readFileSync(new URL(name, FOLDER), "utf8"))) {
    test(`${name}: ${dialogue.title}`, () => {
      for (const style of ["at once", "later"] as const) {
        for (const cut of cuts(dialogue)) {
          try {
            replay(dialogue, cut, style);
          } catch (error) {
            throw new Error(`Cut ${JSON.stringify(cut)}, closing ${style}: ${(error as Error).message}`, { cause: error });
          }
        }
      }
    });
  }
}
