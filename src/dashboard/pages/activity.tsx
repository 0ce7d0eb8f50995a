/** What happened to the edge, and who did what: the table, its source, endpoints, workers, operators. */
import { useState } from "hono/jsx/dom";
import type { Child } from "hono/jsx";
import { count, words } from "../format.ts";
import type { EdgeEvent } from "../happenings.ts";
import { useLiveEvents } from "../live-events.ts";
import { Badge, type Tone, Verdict } from "../parts/badge.tsx";
import { Tabs } from "../parts/choice.tsx";
import { Live } from "../parts/live.tsx";
import { Moment } from "../parts/moment.tsx";
import { Failed, Loading } from "../parts/states.tsx";
import { type Column, Table } from "../parts/table.tsx";
import { linkTo } from "../place.ts";
import type { ViewProps } from "../views.tsx";

const KINDS = [
  ["", "Everything", "table,source,policies,health,endpoint,worker,audit"],
  ["audit", "Operators", "audit"],
  ["table", "Table and database", "table,source"],
  ["policies", "Policies", "policies"],
  ["health", "Endpoints", "health,endpoint"],
  ["worker", "Workers", "worker"],
] as const;

const COLUMNS: readonly Column<EdgeEvent>[] = [
  { title: "What", names: true, wide: true, cell: (event) => <What of={event} /> },
  { title: "Details", wide: true, cell: (event) => <span class="muted">{detailsOf(event)}</span> },
  {
    title: "Kind",
    cell: ({ type }) => <Badge tone={type === "audit" ? "accent" : "plain"}>{type === "audit" ? "operator" : type}</Badge>,
  },
  { title: "When", number: true, cell: ({ time }) => <Moment at={time} /> },
];

export function ActivityView({ place }: ViewProps) {
  const { kind = "" } = place.query;
  const [paused, setPaused] = useState(false);
  const types = KINDS.find(([name]) => name === kind)?.[2] ?? KINDS[0][2];
  const live = useLiveEvents<EdgeEvent>({ types, after: "0", paused });
  return (
    <div class="view">
      <div class="view-head">
        <h1 tabindex={-1}>Activity</h1>
        <p>Since this generation started; the log has more</p>
        <span class="actions">
          <Live live={live} paused={paused} onPause={setPaused} />
        </span>
      </div>
      <Tabs label="Kinds" tabs={KINDS.map(([name, text]) => [linkTo("activity", "", { kind: name }), text, name === kind])} />
      <div class="panel">
        {live.failure !== null && live.failure.status !== 0 && <Failed what="events" failure={live.failure} />}
        {live.failure === null && live.state === "connecting" && live.events.length === 0 ? <Loading what="events" /> : (
          <Table
            caption="Events, newest first"
            columns={COLUMNS}
            rows={live.events}
            keyOf={({ id, time }) => `${id} ${time}`}
            empty="Nothing yet."
          />
        )}
      </div>
    </div>
  );
}

function What({ of: event }: { of: EdgeEvent }): Child {
  switch (event.type) {
    case "table":
      return (
        <>
          Table <a href={linkTo("revision", String(event.revision))}>revision {count(event.revision)}</a>
        </>
      );
    case "source":
      return (
        <>
          Database <Badge tone={SOURCES[event.state] ?? "neutral"}>{event.state}</Badge>
        </>
      );
    case "health":
      return (
        <>
          <a href={linkTo("endpoint", event.key)}>
            <code>{event.key}</code>
          </a>{" "}
          <Verdict of={event.verdict} />
        </>
      );
    case "policies":
      return event.state === "changed" ? <>Policies, revision {count(event.revision)}</> : (
        <>
          Routes file <Badge tone={SOURCES[event.state] ?? "neutral"}>{event.state}</Badge>
        </>
      );
    case "endpoint":
      return (
        <>
          {event.key.includes("/")
            ? (
              <a href={linkTo("endpoint", event.key)}>
                <code>{event.key}</code>
              </a>
            )
            : <code>{event.key}</code>}{" "}
          <Badge tone={event.turn === "returned" || event.turn === "breaker_closed" ? "good" : "bad"}>{words(event.turn)}</Badge>
        </>
      );
    case "worker":
      return (
        <>
          Worker {event.worker} <Verdict of={event.state} />
        </>
      );
    case "audit":
      return (
        <>
          {words(event.action)} {event.subject !== "" && <code>{event.subject}</code>}{" "}
          {!event.succeeded && <Badge tone="bad">failed</Badge>}
        </>
      );
    case "error":
      return <>{event.exchange.host}</>;
  }
}

const SOURCES: Readonly<Record<string, Tone>> = {
  failed: "bad",
  refused: "bad",
  held: "warning",
  recovered: "good",
  released: "good",
};

function detailsOf(event: EdgeEvent): string {
  switch (event.type) {
    case "table":
      return `${count(event.routes)} routes; ${count(event.added)} added, ${count(event.removed)} removed, ${
        count(event.changed)
      } changed (${event.reason})`;
    case "policies":
      return event.problem !== ""
        ? event.problem
        : `${count(event.services)} services, ${count(event.routes)} routes, ${count(event.domains)} domains`;
    case "source":
      return event.problem;
    case "health":
    case "endpoint":
    case "worker":
      return event.reason;
    case "audit":
      return [
        `by ${event.by}`,
        ...Object.entries(event.details).map(([name, value]) =>
          `${name}: ${typeof value === "string" ? value : JSON.stringify(value)}`
        ),
      ].join(", ");
    case "error":
      return event.exchange.problem;
  }
}
