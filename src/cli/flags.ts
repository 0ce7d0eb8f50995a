/** The flags of one command. */
import { parseArgs, type ParseArgsConfig } from "node:util";

type Options = NonNullable<ParseArgsConfig["options"]>;
type Values<O extends Options> = ReturnType<typeof parseArgs<{ options: O; strict: true; allowPositionals: false }>>["values"];

/** The values, or what is wrong with the arguments: unknown ones, missing values, positional ones. */
export function parseFlags<const O extends Options>(argv: readonly string[], options: O): Values<O> | { readonly problem: string } {
  try {
    return parseArgs({ args: [...argv], options, strict: true, allowPositionals: false }).values;
  } catch (error) {
    return { problem: error instanceof Error ? error.message : String(error) };
  }
}
