/** One of a few: a filter with a name. */
interface ChoiceProps {
  readonly label: string;
  readonly value: string;
  /** Value and text; the first is the default. */
  readonly options: readonly (readonly [value: string, text: string])[];
  readonly onChoice: (value: string) => void;
}

export function Choice({ label, value, options, onChoice }: ChoiceProps) {
  return (
    <label class="field">
      <span class="field-name">{label}</span>
      <select value={value} onChange={(event: Event) => onChoice((event.target as HTMLSelectElement).value)}>
        {options.map(([each, text]) => <option value={each} key={each} selected={each === value}>{text}</option>)}
      </select>
    </label>
  );
}

interface TabsProps {
  readonly label: string;
  readonly tabs: readonly (readonly [link: string, text: string, current: boolean])[];
}

/** Views beside each other; each has a link of its own, so these are links and not the tabs of a single view. */
export function Tabs({ label, tabs }: TabsProps) {
  return (
    <nav class="tabs" aria-label={label}>
      {tabs.map(([link, text, current]) => <a href={link} key={link} {...current && { "aria-current": "page" }}>{text}</a>)}
    </nav>
  );
}
