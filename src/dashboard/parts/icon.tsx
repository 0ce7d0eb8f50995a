/** Small drawings of 16 by 16; always beside words, so readers of screens do not hear of them. */
const SHAPES = {
  overview: "M2 9.5h3l2-6 3 9 2-5h2",
  routes: "M3 3h4v4H3zM9 9h4v4H9zM7 5h4v4",
  hosts: "M3 13V8M8 13V3M13 13v-3",
  errors: "M8 2.5 14 13H2zM8 6.5v3M8 11.3v.2",
  endpoints: "M2.5 3h11v4h-11zM2.5 9h11v4h-11zM5 5h.1M5 11h.1",
  services: "M8 2.5h.1M8 2.5v4M3.5 9.5V8h9v1.5M2 10h3v3H2zM6.5 10h3v3h-3zM11 10h3v3h-3z",
  regions: "M8 2a6 6 0 1 0 0 12A6 6 0 1 0 8 2M2 8h12M8 2c3 3 3 9 0 12M8 2c-3 3-3 9 0 12",
  connections: "M3 5h9l-2.5-2.5M13 11H4l2.5 2.5",
  revisions: "M8 4.5V8l2.5 1.5M3 8a5 5 0 1 0 1.6-3.6L3 6M3 3v3h3",
  activity: "M3 4h10M3 8h10M3 12h6",
  settings: "M3 5h5M12 5h1M10 3.2v3.6M3 11h1M8 11h5M6 9.2v3.6",
  explain: "M8 13.5A5.5 5.5 0 1 0 8 2.5a5.5 5.5 0 0 0 0 11M6.4 6.4c.2-2 3.4-1.9 3.2.1-.1 1.1-1.6 1.2-1.6 2.4M8 11v.1",
  theme: "M8 2.5a5.5 5.5 0 1 0 0 11zM8 2.5a5.5 5.5 0 0 1 0 11",
  menu: "M2.5 4.5h11M2.5 8h11M2.5 11.5h11",
  close: "M4 4l8 8M12 4l-8 8",
  search: "M7 2.5a4.5 4.5 0 1 0 0 9 4.5 4.5 0 1 0 0-9M10.5 10.5 14 14",
  good: "M3.5 8.5 6.5 11.5 12.5 4.5",
  bad: "M4.5 4.5l7 7M11.5 4.5l-7 7",
  warning: "M8 3v6M8 12v.2",
  unknown: "M4 8h8",
} as const;

export type IconName = keyof typeof SHAPES;

export function Icon({ name }: { name: IconName }) {
  return (
    <svg class="icon" viewBox="0 0 16 16" aria-hidden="true" focusable="false">
      <path d={SHAPES[name]} />
    </svg>
  );
}
