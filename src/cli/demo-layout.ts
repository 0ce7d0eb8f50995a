/** Which addresses the demo uses: every region its own loopback address and port 80 where this machine permits it. */
import { randomInt } from "node:crypto";
import { canListen, freePort } from "./demo-ports.ts";

export interface EdgeAddress {
  readonly host: string;
  readonly port: number;
}

export interface Layout {
  readonly here: EdgeAddress;
  readonly there: EdgeAddress;
  /** The address of a region where nobody listens. */
  readonly gone: string;
  /** Where VMs of the two regions listen. */
  readonly vmHere: string;
  readonly vmThere: string;
  /** What differs from the usual, for people; empty: nothing. */
  readonly remarks: readonly string[];
}

const USUAL_PORT = 80;
const OTHER_PORT = 8080;
const USUAL_BLOCK = 10;

export async function chooseLayout(): Promise<Layout> {
  const blocks = [USUAL_BLOCK, randomInt(11, 250), randomInt(11, 250)];
  for (const port of [USUAL_PORT, OTHER_PORT]) {
    for (const block of blocks) {
      const layout = layoutOf(block, port);
      if (await canListen(layout.here.host, port) && await canListen(layout.there.host, port)) return layout;
    }
  }
  const host = "127.0.0.1";
  return {
    here: { host, port: await freePort(host) },
    there: { host, port: await freePort(host) },
    gone: `127.${USUAL_BLOCK}.3.1`,
    vmHere: host,
    vmThere: host,
    remarks: ["Other loopback addresses are not permitted here: both regions are on 127.0.0.1 (EDGEPROXY_REGION_PORT)"],
  };
}

function layoutOf(block: number, port: number): Layout {
  return {
    here: { host: `127.${block}.1.1`, port },
    there: { host: `127.${block}.2.1`, port },
    gone: `127.${block}.3.1`,
    vmHere: `127.${block}.1.10`,
    vmThere: `127.${block}.2.10`,
    remarks: port === USUAL_PORT ? [] : [`Port 80 is taken or not permitted: the regions use ${port} (EDGEPROXY_REGION_PORT)`],
  };
}
