/*  Addresses that rows of `route_policies` cannot name as endpoints. Whoever may write one might not be somebody whom this machine and the
 *  cloud around it trust: requests, and health checks with any method, path and Host, would reach the admin address on 127.0.0.1
 *  and the metadata service that hands out credentials. The routes file may name them; rows can lead to its services.
 *
 *  Of this machine only what the proxy itself listens on is out: a platform's own rows of `vms` may name it, too.
 */
import { BlockList, isIP } from "node:net";

const V4 = [
  ["169.254.0.0", 16], // link-local; AWS, Azure, Google and others have their metadata service at 169.254.169.254
  ["100.100.100.200", 32], // Alibaba
  ["168.63.129.16", 32], // Azure
  ["192.0.0.192", 32], // Oracle
  ["224.0.0.0", 3], // multicast, reserved, broadcast
] as const;
const V6 = [
  ["fe80::", 10],
  ["fd00:ec2::", 32], // AWS
  ["ff00::", 8],
] as const;
/** Prefixes behind which an IPv4 address stands in the last 32 bits: mapped, and NAT64. */
const V4_WITHIN = ["::ffff:0:0", "64:ff9b::"];

/** This machine, which any of these leads to. */
const V4_HERE = [["0.0.0.0", 8], ["127.0.0.0", 8]] as const;
const V6_HERE = [["::", 127]] as const; // unspecified, loopback

const reserved = blocksOf(V4, V6);
const here = blocksOf(V4_HERE, V6_HERE);

/** False for what is no IP address. `ownPorts`: on which this proxy listens. */
export function isReserved(address: string, port: number, ownPorts: readonly number[] = []): boolean {
  const [bare = ""] = address.split("%"); // fe80::1%eth0
  const family = isIP(bare);
  if (family === 0) return false;
  const kind = family === 4 ? "ipv4" : "ipv6";
  return reserved.check(bare, kind) || ownPorts.includes(port) && here.check(bare, kind);
}

type Blocks = readonly (readonly [network: string, prefix: number])[];

function blocksOf(v4: Blocks, v6: Blocks): BlockList {
  const blocks = new BlockList();
  for (const [network, prefix] of v4) {
    blocks.addSubnet(network, prefix, "ipv4");
    for (const within of V4_WITHIN) blocks.addSubnet(within.replace(/(0:0)?$/, network), 96 + prefix, "ipv6");
  }
  for (const [network, prefix] of v6) blocks.addSubnet(network, prefix, "ipv6");
  return blocks;
}
