/** The last probes of an endpoint and changes of the verdict on it: some 1.3 KB for as long as it is watched. */
import type { HealthVerdict } from "./availability.ts";
import type { ProbeResult } from "./probe.ts";

export interface ProbeEntry {
  /** Since 1970. */
  readonly atMs: number;
  readonly healthy: boolean;
  readonly latencyMs: number;
  readonly reason: string;
}

export interface VerdictChange {
  /** Since 1970. */
  readonly atMs: number;
  readonly verdict: HealthVerdict;
  readonly reason: string;
}

const PROBES = 50;
const CHANGES = 20;

export class ProbeHistory {
  readonly #atMs: Float64Array = new Float64Array(PROBES);
  readonly #latencyMs: Float32Array = new Float32Array(PROBES);
  readonly #healthy: Uint8Array = new Uint8Array(PROBES);
  readonly #reasons: string[] = [];
  readonly #changes: VerdictChange[] = [];
  /** Of all that there were. */
  #count = 0;

  probed({ healthy, latencyMs, reason }: ProbeResult, atMs: number): void {
    const before = this.#reasons[(this.#count + PROBES - 1) % PROBES];
    const place = this.#count++ % PROBES;
    this.#atMs[place] = atMs;
    this.#latencyMs[place] = latencyMs;
    this.#healthy[place] = healthy ? 1 : 0;
    this.#reasons[place] = before === reason ? before : reason; // mostly all are one string
  }

  changed(change: VerdictChange): void {
    if (this.#changes.length === CHANGES) this.#changes.shift();
    this.#changes.push(change);
  }

  /** Newest first. */
  get probes(): ProbeEntry[] {
    const kept = Math.min(this.#count, PROBES);
    return Array.from({ length: kept }, (_, back) => {
      const place = (this.#count - 1 - back) % PROBES;
      return {
        atMs: this.#atMs[place]!,
        healthy: this.#healthy[place] === 1,
        latencyMs: this.#latencyMs[place]!,
        reason: this.#reasons[place]!,
      };
    });
  }

  /** Newest first. */
  get changes(): VerdictChange[] {
    return this.#changes.toReversed();
  }
}
