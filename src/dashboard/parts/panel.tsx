/** A part of a view with a heading of its own. */
import type { Child } from "hono/jsx";

interface PanelProps {
  readonly title: string;
  /** Beside the heading: a count, a link, buttons. */
  readonly aside?: Child;
  readonly class?: string;
  readonly children?: Child;
}

export function Panel({ title, aside, class: more = "", children }: PanelProps) {
  const id = `panel-${title.toLowerCase().replaceAll(/[^a-z0-9]+/g, "-")}`;
  return (
    <section class={`panel ${more}`} aria-labelledby={id}>
      <header class="panel-head">
        <h2 id={id}>{title}</h2>
        {aside !== undefined && <div class="panel-aside">{aside}</div>}
      </header>
      {children}
    </section>
  );
}

export type Fact = readonly [name: string, value: Child];

/** Names with values. `wide`: each of its own width. */
export function Facts({ of, wide = false }: { of: readonly Fact[]; wide?: boolean }) {
  return (
    <dl class={`facts${wide ? " whole" : ""}`}>
      {of.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}
