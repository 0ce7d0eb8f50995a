/** Live tail of what went wrong. */
import { useEffect, useMemo, useRef, useState } from "hono/jsx/dom";
import { pathOf } from "../api-client.ts";
import { count, plural } from "../format.ts";
import type { ErrorEvent, ErrorsPage, ListedBadEnd } from "../happenings.ts";
import { useLiveEvents } from "../live-events.ts";
import { BadEnds, keyOf } from "../parts/bad-ends.tsx";
import { Choice } from "../parts/choice.tsx";
import { Live } from "../parts/live.tsx";
import { SearchField } from "../parts/search-field.tsx";
import { Shown } from "../parts/states.tsx";
import { changeQuery } from "../place.ts";
import { usePolled } from "../polled.ts";
import type { ViewProps } from "../views.tsx";

const LIMIT = 100;
const MOST = 300;
/** So often a reader of screens is told how many came. */
const TELL_MS = 10_000;

const BLAMES = ["client", "vm", "region", "edge", "database"];

export function ErrorsView({ place }: ViewProps) {
  const { q = "", code = "", blame = "" } = place.query;
  const [paused, setPaused] = useState(false);
  const before = usePolled<ErrorsPage>(pathOf("/api/errors", { limit: LIMIT, q, code, blame }), 0);
  const live = useLiveEvents<ErrorEvent>({ types: "error", after: "", paused });
  const arrived = useMemo(() => live.events.map(({ id, exchange }) => ({ ...exchange, id })), [live.events]);
  const codes = useCodes([...arrived, ...before.answer?.errors ?? []], code);
  const ends = merged(arrived.filter((end) => suits(end, q, code, blame)), before.answer?.errors ?? []);
  return (
    <div class="view">
      <div class="view-head">
        <h1 tabindex={-1}>Errors</h1>
        <p>Exchanges that ended badly, newest first</p>
        <span class="actions">
          <Live live={live} paused={paused} onPause={setPaused} />
        </span>
      </div>
      <Told arrived={live.events.length} />
      <div class="panel">
        <div class="filters">
          <SearchField
            label="Host, target, request id, client…"
            value={q}
            onSearch={(text) => changeQuery({ q: text }, true)}
            main
          />
          <Choice
            label="Code"
            value={code}
            options={[["", "any"], ...codes.map((each): [string, string] => [each, each])]}
            onChoice={(next) => changeQuery({ code: next })}
          />
          <Choice
            label="Blame"
            value={blame}
            options={[["", "any"], ...BLAMES.map((each): [string, string] => [each, each])]}
            onChoice={(next) => changeQuery({ blame: next })}
          />
        </div>
        <Shown what="errors" polled={before}>
          {({ lost }) => (
            <>
              <BadEnds
                ends={ends}
                busy={before.busy}
                empty={q + code + blame === "" ? "Nothing has ended badly." : "No error suits."}
              />
              <Lost counts={lost} />
            </>
          )}
        </Shown>
      </div>
    </div>
  );
}

/** What came live first; the list that was asked for may hold some of it, too. */
function merged(live: readonly ListedBadEnd[], before: readonly ListedBadEnd[]): ListedBadEnd[] {
  return [...new Map([...live, ...before].map((end) => [keyOf(end), end])).values()].slice(0, MOST);
}

function suits(end: ListedBadEnd, q: string, code: string, blame: string): boolean {
  if (code !== "" && end.error !== code || blame !== "" && end.blame !== blame) return false;
  const texts = [end.host, end.target, end.problem, end.request_id, end.client, end.upstream];
  return q === "" || texts.some((text) => text.toLowerCase().includes(q.toLowerCase()));
}

/** All that were ever seen, so that a choice does not vanish from under the pointer. */
function useCodes(ends: readonly ListedBadEnd[], chosen: string): readonly string[] {
  const seen = useRef<Set<string>>(new Set());
  for (const { error } of ends) if (error !== null) seen.current?.add(error);
  if (chosen !== "") seen.current?.add(chosen);
  return [...seen.current ?? []].sort();
}

/** The charts and metrics count them all. */
function Lost({ counts }: { counts: Readonly<Record<string, number>> }) {
  const some = Object.entries(counts).filter(([, lost]) => lost > 0);
  if (some.length === 0) return null;
  return (
    <div class="pager">
      <p>Too many at once to be listed, since the start: {some.map(([blame, lost]) => `${count(lost)} by ${blame}`).join(", ")}</p>
    </div>
  );
}

/** Rows that come by themselves would make a reader of screens talk without end. */
function Told({ arrived }: { arrived: number }) {
  const [text, setText] = useState("");
  const counted = useRef({ now: 0, told: 0 });
  if (counted.current !== null) counted.current.now = arrived;
  useEffect(() => {
    const timer = setInterval(() => {
      const { now, told } = counted.current ?? { now: 0, told: 0 };
      if (now > told) setText(`${plural(now - told, "new error")}`);
      counted.current = { now, told: now };
    }, TELL_MS);
    return () => clearInterval(timer);
  }, []);
  return <p class="unseen" aria-live="polite">{text}</p>;
}
