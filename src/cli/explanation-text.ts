/** An explanation as lines for people; the last one is the conclusion. */
import type { ExplanationView } from "../admin/explain-api.ts";

type CandidateView = ExplanationView["candidates"][number];

export function explanationLines(view: ExplanationView): string[] {
  const { request, steps, candidates, hop, fields, conclusion } = view;
  const lines: string[] = [];
  if (request.host !== null) {
    lines.push(`host ${request.host}${request.host === request.authority ? "" : ` (from "${request.authority}")`}`);
  }
  lines.push(...steps, ...candidates.map(candidateLine));
  if (hop !== null) lines.push(`hop to region ${hop.region} with Via: ${hop.via}`);
  if (fields !== null) {
    for (const { name, value } of fields.set) lines.push(`sets ${name}: ${value}`);
    for (const { name, value } of fields.added) lines.push(`adds ${name}: ${value}`);
    for (const { name, value } of fields.removed) lines.push(`removes ${name}: ${value}`);
  }
  lines.push(`=> ${conclusion.text}`);
  return lines;
}

function candidateLine({ key, outcome, why, load, health }: CandidateView): string {
  const probed = health === null || health.last_probe === null
    ? ""
    : `; ${health.verdict} since ${health.since}, last probe ${health.last_probe}: ${health.reason}`;
  return `${outcome} ${key}: ${why}; ${load} under way${probed}`;
}
