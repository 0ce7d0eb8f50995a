/*  A hash of what a request is told apart by: a client's address, a cookie, a field. It is the same in all workers, processes and
 *  versions, since clients stay where it has led them: FNV-1a over the UTF-16 units (low byte, then high byte unless that is 0), made even
 *  by MurmurHash3's last step. Who knows it can choose values that lead to one place; that is his own share of the traffic anyhow.
 */

const NOTHING = 0x811c9dc5;

/** 32 bits. `begun`: of what stands before the text. */
export function keyHash(text: string, begun: number = NOTHING): number {
  return mixed(hashBegun(text, begun));
}

/** For texts that begin alike. */
export function hashBegun(text: string, hash: number = NOTHING): number {
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    hash = Math.imul(hash ^ (unit & 0xff), 0x01000193);
    if (unit > 0xff) hash = Math.imul(hash ^ unit >>> 8, 0x01000193);
  }
  return hash;
}

/** Of two hashes, where the order matters. */
export function pairHash(one: number, other: number): number {
  return mixed(Math.imul(one, 0x9e3779b1) + other | 0);
}

/** MurmurHash3, `fmix32`. */
function mixed(hash: number): number {
  hash = Math.imul(hash ^ hash >>> 16, 0x85ebca6b);
  hash = Math.imul(hash ^ hash >>> 13, 0xc2b2ae35);
  return (hash ^ hash >>> 16) >>> 0;
}
