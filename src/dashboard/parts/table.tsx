/*  A table for people with a mouse, with keys only, on a phone, and with a reader of screens. On a narrow page each row becomes a card
 *  whose cells name themselves (`data-label`); the roles are written out because a cell that is laid out otherwise loses its own.
 */
import type { Child } from "hono/jsx";
import { useState } from "hono/jsx/dom";
import { count } from "../format.ts";

export interface Column<Row> {
  readonly title: string;
  readonly cell: (row: Row) => Child;
  /** Right-aligned, with digits of one width. */
  readonly number?: boolean;
  /** What the API sorts by; without, the column cannot be sorted. */
  readonly sort?: string;
  /** The cell that names the row. */
  readonly names?: boolean;
  /** Takes the width that is left, and cuts what does not fit. */
  readonly wide?: boolean;
}

export interface TableProps<Row> {
  /** Says what is listed. */
  readonly caption: string;
  readonly columns: readonly Column<Row>[];
  readonly rows: readonly Row[];
  readonly keyOf: (row: Row) => string;
  readonly empty: Child;
  /** Rows of another question while the answer is awaited. */
  readonly busy?: boolean;
  /** `host`, `-requests`. */
  readonly sort?: string;
  readonly onSort?: (sort: string) => void;
  /** More about a row, below it, when the reader opens it. */
  readonly detailsOf?: (row: Row) => Child;
}

const NONE: ReadonlySet<string> = new Set();

export function Table<Row>({ caption, columns, rows, keyOf, empty, busy = false, sort = "", onSort, detailsOf }: TableProps<Row>) {
  const [open, setOpen] = useState<ReadonlySet<string>>(NONE);
  if (rows.length === 0) return <p class="state">{empty}</p>;
  return (
    <div class={`table-frame${busy ? " busy" : ""}`} aria-busy={busy ? "true" : "false"}>
      <table role="table">
        <caption class="unseen">{caption}</caption>
        <thead role="rowgroup">
          <tr role="row">
            {columns.map((column) => <Head column={column} sort={sort} onSort={onSort} key={column.title} />)}
          </tr>
        </thead>
        <tbody role="rowgroup">
          {rows.flatMap((row) => {
            const key = keyOf(row);
            const toggle = detailsOf === undefined ? null : { open: open.has(key), onToggle: () => setOpen(toggled(open, key)) };
            const line = (
              <tr role="row" key={key}>
                {columns.map((column) => <Cell column={column} row={row} toggle={toggle} key={column.title} />)}
              </tr>
            );
            if (detailsOf === undefined || toggle?.open !== true) return [line];
            const below = (
              <tr role="row" class="details" key={`${key} details`}>
                <td role="cell" colspan={columns.length}>{detailsOf(row)}</td>
              </tr>
            );
            return [line, below];
          })}
        </tbody>
      </table>
    </div>
  );
}

interface HeadProps<Row> {
  readonly column: Column<Row>;
  readonly sort: string;
  readonly onSort: ((sort: string) => void) | undefined;
}

function Head<Row>({ column, sort, onSort }: HeadProps<Row>) {
  const names = `${column.number === true ? "number" : ""}${column.wide === true ? " wide" : ""}`;
  if (column.sort === undefined || onSort === undefined) {
    return <th role="columnheader" scope="col" class={names}>{column.title}</th>;
  }
  const field = column.sort.replace(/^-/, "");
  const direction = sort === field ? "ascending" : sort === `-${field}` ? "descending" : null;
  const next = direction === null ? column.sort : direction === "descending" ? field : `-${field}`;
  return (
    <th role="columnheader" scope="col" class={names} aria-sort={direction ?? "none"}>
      <button type="button" class="sort" onClick={() => onSort(next)}>
        {column.title}
        <span class="arrow" aria-hidden="true">{direction === null ? "" : direction === "descending" ? "▾" : "▴"}</span>
      </button>
    </th>
  );
}

interface CellProps<Row> {
  readonly column: Column<Row>;
  readonly row: Row;
  /** The cell that names the row opens and closes its details. */
  readonly toggle: { readonly open: boolean; readonly onToggle: () => void } | null;
}

function Cell<Row>({ column, row, toggle }: CellProps<Row>) {
  const names = `${column.number === true ? "number" : ""}${column.wide === true ? " wide" : ""}${
    column.names === true ? " names" : ""
  }`;
  const content = <span class="cell">{column.cell(row)}</span>;
  if (column.names !== true) return <td role="cell" class={names} data-label={column.title}>{content}</td>;
  return (
    <th role="rowheader" scope="row" class={names} data-label={column.title}>
      {toggle === null
        ? content
        : (
          <button type="button" class="toggle" aria-expanded={toggle.open ? "true" : "false"} onClick={toggle.onToggle}>
            {content}
          </button>
        )}
    </th>
  );
}

function toggled(open: ReadonlySet<string>, key: string): ReadonlySet<string> {
  const next = new Set(open);
  if (!next.delete(key)) next.add(key);
  return next;
}

interface PagerProps {
  readonly shown: number;
  readonly total: number | null;
  readonly noun: string;
  /** Where this page begins; empty: it is the first. */
  readonly after: string;
  readonly next: string | number | null;
  readonly onPage: (after: string) => void;
}

/** Pages follow each other by cursor: on, or back the way one came. */
export function Pager({ shown, total, noun, after, next, onPage }: PagerProps) {
  return (
    <nav class="pager" aria-label="Pages">
      <p>{total === null ? `${count(shown)} shown` : `${count(shown)} of ${count(total)} ${noun}`}</p>
      <span class="buttons">
        {after !== "" && <button type="button" onClick={() => onPage("")}>First page</button>}
        {after !== "" && <button type="button" onClick={() => history.back()}>Previous</button>}
        {next !== null && <button type="button" onClick={() => onPage(String(next))}>Next page</button>}
      </span>
    </nav>
  );
}
