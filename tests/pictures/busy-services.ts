/*  Services for the pictures: one of each state that an operator may meet, beside those that are as they should be, with clients of
 *  their own and orders of operators.
 */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { API, type BusyEdge } from "../fixtures/busy-edge.ts";
import { temporaryFolder } from "../fixtures/edgeproxy.ts";
import { loopbackAddress } from "../fixtures/ports.ts";
import { endpointsOf } from "../fixtures/routed-edge.ts";
import { respond, startVm, type Vm } from "../fixtures/vm.ts";

export interface BusyServices extends AsyncDisposable {
  /** For EDGEPROXY_CONFIG_FILE. */
  readonly file: string;
}

const PATIENCE_MS = 180_000;
const HOST = "app.example.com";
/** A line that is only a warning: two routes that differ in nothing. */
const CONFLICT = [{ id: "news", path: "/news", service: "news" }, { id: "news-again", path: "/news", service: "news" }];

export async function startBusyServices(): Promise<BusyServices> {
  await using stack = new AsyncDisposableStack();
  const vm = async (status = 200): Promise<Vm> =>
    stack.use(await startVm({ host: loopbackAddress(), script: respond(status, "ok\n") }));
  const [first, second, third] = [await vm(), await vm(), await vm()];
  const services = {
    users: {
      endpoints: endpointsOf(first, second).map((each, index) => ({ ...each, weight: 3 - 2 * index })),
      health: { path: "/healthz", interval: "5s", slowStart: "10s" },
      retry: { attempts: 2, on: ["connect", 503] },
      limits: { soft: 50, hard: 200 },
    },
    "users-v2": { endpoints: endpointsOf(third), health: { path: "/healthz" } },
    carts: {
      endpoints: endpointsOf(first, second, await vm(500), third),
      balance: "least-connections",
      sticky: { cookie: "cart" },
      ejection: { errors: 3, window: "10s", time: "5m" },
      breaker: { failures: 5, openFor: "10m" },
    },
    search: { endpoints: endpointsOf(await vm(500)), breaker: { failures: 5, openFor: "1h", scope: "service" } },
    news: { endpoints: endpointsOf(first) },
  };
  const routes = [
    { id: "users", path: "/users", split: [{ service: "users", weight: 95 }, { service: "users-v2", weight: 5 }] },
    { id: "carts", path: "/carts", service: "carts", rateLimit: { requests: 100, window: "1s", key: "client-ip" } },
    { id: "search", path: "/search", methods: ["GET"], service: "search" },
    { id: "old-shop", path: "/shop", redirect: { to: "https://www.example.com/shop{path}", status: 308 } },
    { id: "sandbox-123", path: "/users", match: { routeKey: "sandbox-123" }, service: "users-v2" },
    ...CONFLICT,
  ];
  const file = join(stack.use(await temporaryFolder()).path, "routes.yaml");
  await writeFile(file, JSON.stringify({ services, routes: routes.map((route) => ({ hosts: [HOST], ...route })) }));
  const resources = stack.move();
  return { file, [Symbol.asyncDispose]: () => resources.disposeAsync() };
}

/** What operators have ordered, and what a domain of the database has for itself. */
export async function orderAbout({ platform, edge }: BusyEdge): Promise<void> {
  await platform.database.sql("create table if not exists route_policies (domain text primary key, policy jsonb not null)");
  const policy = {
    balance: "least-connections",
    retry: { attempts: 2 },
    routes: [{ id: "internal", path: "/internal", respond: { status: 404 } }],
  };
  await platform.database.sql(`insert into route_policies values ('${API}', '${JSON.stringify(policy)}')`);
  const known = async (): Promise<boolean> => (await edge.admin(`/api/services/${API}`)).ok;
  await edge.waitFor(known, "does not read route_policies", PATIENCE_MS); // with the next refresh
  const order = async (path: string, body: Readonly<Record<string, unknown>>): Promise<void> => {
    const answer = await edge.admin(path, { method: "POST", body: JSON.stringify(body) });
    if (!answer.ok) throw new Error(`${path}: ${await answer.text()}`);
  };
  await order("/api/services/users-v2/drain", { over: "10m", reason: "no longer needed" });
  await order("/api/policies/routes/news/maintenance", {
    enabled: true,
    expires: "4h",
    body: "Back at noon",
    reason: "new editor",
  });
  const answer = await edge.admin("/api/services/carts");
  const { members } = await answer.json() as { members: { key: string }[] };
  await order(`/api/endpoints/${encodeURIComponent(members[1]!.key)}/cordon`, { expires: "30m", reason: "new kernel" });
}

/** Until told to stop. */
export async function useServices({ ask }: BusyEdge, signal: AbortSignal): Promise<void> {
  for (let tick = 0; !signal.aborted; tick++) {
    const paths = ["/users/7", "/carts", "/users/8", "/carts/9", ...tick % 5 === 0 ? ["/search?q=shoes", "/news"] : []];
    await Promise.all([...paths.map((path) => ask(HOST, path)), wait(100)]);
  }
}
