/** The source of a proxy without a database: no domains, so that all routes are those of the routes file. */
import { Routes } from "../table/routes.ts";
import type { Following, Source, SourceReading } from "./source.ts";

const READING: SourceReading = {
  routes: Routes.none,
  allRoutes: Routes.none,
  excluded: [],
  excludedCount: 0,
  regions: [],
  whole: true,
};

export class NoSource implements Source {
  readonly name = "none";
  readonly following: Following = "nothing";
  readonly server = null;
  readonly comparedAtMs = null;
  readonly pollMs = null;
  readonly compare = null;
  onChange: () => void = () => {};

  read(): Promise<SourceReading> {
    return Promise.resolve(READING);
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}
