/** A field that searches while the reader types. */
import { useRef } from "hono/jsx/dom";
import { Icon } from "./icon.tsx";

interface SearchProps {
  readonly label: string;
  readonly value: string;
  readonly onSearch: (text: string) => void;
  readonly placeholder?: string;
  /** `/` goes here. */
  readonly main?: boolean;
}

const TYPING_MS = 250;

/** Asks when the reader has stopped typing. */
export function SearchField({ label, value, onSearch, placeholder = "", main = false }: SearchProps) {
  const timer = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
  const typed = (event: Event): void => {
    const { value: text } = event.target as HTMLInputElement;
    clearTimeout(timer.current ?? undefined);
    timer.current = setTimeout(() => onSearch(text.trim()), TYPING_MS);
  };
  return (
    <label class="field search">
      <span class="field-name">{label}</span>
      <span class="with-icon">
        <Icon name="search" />
        <input
          type="search"
          value={value}
          placeholder={placeholder}
          onInput={typed}
          spellcheck={false}
          autocomplete="off"
          autocapitalize="off"
          {...main && { "data-search": "" }}
        />
      </span>
    </label>
  );
}
