/** Whose forwarding fields are believed, and who the client really is. */
import { BlockList, isIP, isIPv6 } from "node:net";

/** Answers whether an address belongs to a trusted proxy. */
export type IsTrusted = (address: string) => boolean;

/** `blocks`: CIDR blocks or single addresses, validated by the settings. */
export function trustedProxies(blocks: readonly string[]): IsTrusted {
  if (blocks.length === 0) return () => false;
  const list = new BlockList();
  for (const block of blocks) {
    const [address = "", prefix] = block.split("/");
    const family = isIPv6(address) ? "ipv6" : "ipv4";
    if (prefix === undefined) list.addAddress(address, family);
    else list.addSubnet(address, Number(prefix), family);
  }
  return (address) => isIP(address) !== 0 && list.check(address, isIPv6(address) ? "ipv6" : "ipv4");
}

/**
 * The client behind trusted proxies: the rightmost address of X-Forwarded-For that is not a trusted proxy's, as nginx's
 * real_ip_recursive does; the peer itself when the field is empty or unreadable.
 */
export function clientAddress(peerAddress: string, forwardedFor: string | null, isTrusted: IsTrusted): string {
  if (forwardedFor === null) return peerAddress;
  let client = peerAddress;
  for (const part of forwardedFor.split(",").reverse()) {
    const address = bareAddress(part.trim());
    if (isIP(address) === 0) return client;
    client = address;
    if (!isTrusted(address)) return client;
  }
  return client;
}

/** Some proxies add ports (`1.2.3.4:567`) or brackets. */
function bareAddress(text: string): string {
  if (text.startsWith("[")) return text.slice(1, Math.max(text.indexOf("]"), 1));
  return text.includes(".") && text.includes(":") && isIP(text) === 0 ? text.slice(0, text.indexOf(":")) : text;
}
