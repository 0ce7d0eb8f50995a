/** `edgeproxy sign-route-key KEY [--host HOST] [--env-file FILE]`: a route key that edges with the same EDGEPROXY_SECRET believe from anyone. */
import { parseArgs } from "node:util";
import { signedPreviewHost, signedRouteKey } from "../decision/route-key.ts";
import { type Environment, parseSetting } from "../lifecycle/settings.ts";
import { normaliseDomain } from "../table/host-name.ts";
import { ENV_FILE, environmentWith } from "./env-file.ts";
import { print, printError } from "./output.ts";

/** The exit code: 0 signed, 2 wrong usage or configuration. */
export async function runSignRouteKey(argv: readonly string[], env: Environment): Promise<number> {
  const asked = parseQuestion(argv);
  if (typeof asked === "string") return printError(`edgeproxy sign-route-key: ${asked}`, 2);
  const environment = await environmentWith(asked.envFile, env);
  if (environment === null) return 2;
  const secret = parseSetting("secret", environment);
  if ("problem" in secret) return printError(secret.problem, 2);
  if (secret.value === "") {
    return printError(
      "EDGEPROXY_SECRET: is not set, so each edge signs with a random one of its own, and believes nothing else",
      2,
    );
  }
  if (asked.host === undefined) {
    print(signedRouteKey(asked.key, secret.value));
    return 0;
  }
  const host = normaliseDomain(asked.host);
  const preview = host === null || host.startsWith("*") ? null : signedPreviewHost(asked.key, host, secret.value);
  if (preview === null) {
    return printError(
      `edgeproxy sign-route-key: "${asked.key}" and "${asked.host}" make no host name: small letters, digits and -`,
      2,
    );
  }
  print(preview);
  return 0;
}

interface Question {
  readonly key: string;
  readonly host: string | undefined;
  readonly envFile: string | undefined;
}

function parseQuestion(argv: readonly string[]): Question | string {
  try {
    const { values, positionals } = parseArgs({
      args: [...argv],
      allowPositionals: true,
      options: { host: { type: "string" }, ...ENV_FILE },
    });
    const [key = "", ...more] = positionals;
    if (more.length > 0 || !/^[A-Za-z0-9._-]{1,128}$/.test(key)) return "give one key: 1 to 128 letters, digits and . _ -";
    return { key, host: values.host, envFile: values["env-file"] };
  } catch (error) {
    return (error as Error).message;
  }
}
