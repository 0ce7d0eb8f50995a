/** The text of a routes file, as policies or as every problem at once. */
import type { FilePolicies } from "../table/policy.ts";

/** Where it was read, and for whom. */
export interface FileContext {
  /** For problems. */
  readonly file: string;
  /** This one. */
  readonly regionId: string;
}

/** Warnings never stop anything. */
export type ParsedFile =
  | { readonly policies: FilePolicies; readonly warnings: readonly string[] }
  | { readonly problems: readonly string[] };

/** For the moment: records as JSON, as they are. */
export function parseRoutesFile(text: string, { file }: FileContext): ParsedFile {
  try {
    return { policies: JSON.parse(text) as FilePolicies, warnings: [] };
  } catch (error) {
    return { problems: [`${file}: ${(error as Error).message}`] };
  }
}
