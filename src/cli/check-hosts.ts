/** `edgeproxy check`, a URL with several database hosts: which of them answer, as what, and which one would be used. */
import { describeError, openHost } from "../sources/database-client.ts";
import { type DatabaseHost, type DatabaseTarget, nameOf } from "../sources/database-url.ts";
import { report } from "./finding.ts";

/** `used`: the one that a session was opened with; null: there was none. */
export async function reportHosts(target: DatabaseTarget, used: DatabaseHost | null, signal: AbortSignal): Promise<void> {
  if (target.hosts.length < 2) return;
  for (const host of target.hosts) {
    const subject = `database host ${nameOf(host)}`;
    try {
      const client = await openHost(target, host, "any", signal);
      report("ok", subject, `a ${client.session.standby ? "hot standby" : "primary"}${host === used ? ", would be used" : ""}`);
      await client.close();
    } catch (error) {
      if (signal.aborted) throw error;
      report("warn", subject, describeError(error));
    }
  }
}
