/*  A VM's row becomes the endpoint that the routes of its domains lead to.
 *
 *    VM in our region      ->  vm endpoint      http://{private_ip}:{port}
 *    VM in another region  ->  region endpoint  http://{public_ipv4}:{region port}, the same for all VMs of that region
 *
 *  What cannot be used is reported, not thrown: one customer's typo must not stop everybody's refresh.
 */
import { isIP } from "node:net";
import { endpointKey, type EndpointKind, type EndpointRecord } from "./record.ts";

/** As the database says it, everything as text. */
export interface VmRow {
  readonly privateIp: string | null;
  readonly port: string | null;
  readonly regionId: string | null;
  /** Its region's. */
  readonly publicIpv4: string | null;
}

/** Where this proxy runs. */
export interface Here {
  /** Lower case. */
  readonly regionId: string;
  /** Port of the other regions' load balancers. */
  readonly regionPort: number;
  /** On which this proxy listens; absent: not known, or none. */
  readonly ownPorts?: readonly number[];
}

/** The reason when there is none. */
export function compileEndpoint(vm: VmRow, here: Here): EndpointRecord | string {
  const region = vm.regionId?.toLowerCase() ?? "";
  if (region === "") return "its VM has no region";
  if (region !== here.regionId) {
    const address = parseAddress(vm.publicIpv4);
    if (address === null) return unusable(`its region ${region} is not ours and`, "public address", vm.publicIpv4);
    return endpoint("region", address, here.regionPort, region);
  }
  const address = parseAddress(vm.privateIp);
  if (address === null) return unusable("its VM", "private address", vm.privateIp);
  const port = parsePort(vm.port);
  if (port === null) return unusable("its VM", "port", vm.port);
  return endpoint("vm", address, port, region);
}

function endpoint(kind: EndpointKind, address: string, port: number, region: string): EndpointRecord {
  return { key: endpointKey(kind, address, port), kind, address, port, region };
}

function unusable(whose: string, what: string, value: string | null): string {
  return value === null || value.trim() === "" ? `${whose} has no ${what}` : `${whose} has an unusable ${what} "${value}"`;
}

/** `10.0.0.5`, or `10.0.0.5/32` as `inet` reads when cast to text. */
function parseAddress(text: string | null): string | null {
  if (text === null) return null;
  const slash = text.indexOf("/");
  const address = (slash < 0 ? text : text.slice(0, slash)).trim().toLowerCase();
  return isIP(address) !== 0 && !address.includes("%") ? address : null;
}

function parsePort(text: string | null): number | null {
  const port = text !== null && /^\d{1,5}$/.test(text.trim()) ? Number(text) : 0;
  return port >= 1 && port <= 65_535 ? port : null;
}
