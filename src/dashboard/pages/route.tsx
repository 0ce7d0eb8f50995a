/** One host: where it leads. */
import type { Route } from "../answers.ts";
import { Shown } from "../parts/states.tsx";
import { Panel } from "../parts/panel.tsx";
import { usePolled } from "../polled.ts";
import type { ViewProps } from "../views.tsx";

const EVERY_MS = 5000;

export function RouteView({ place }: ViewProps) {
  const host = place.subject;
  const route = usePolled<Route>(`/api/routes/${encodeURIComponent(host)}`, EVERY_MS);
  return (
    <div class="view">
      <div class="view-head">
        <h1 tabindex={-1}>{host}</h1>
      </div>
      <Panel title="Endpoints">
        <Shown what={`the route of ${host}`} polled={route}>
          {(answer) => (
            <ul class="panel-body">
              {answer.endpoints.map((each) => (
                <li key={each.address}>
                  <code>{each.address}:{each.port}</code>
                </li>
              ))}
            </ul>
          )}
        </Shown>
      </Panel>
    </div>
  );
}
