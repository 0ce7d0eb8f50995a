/** A list as the API gives it out: one page as a table, the way to the others; order and page stand in the place, so that they can be linked. */
import { changeQuery } from "../place.ts";
import type { Polled } from "../polled.ts";
import { Shown } from "./states.tsx";
import { Pager, Table, type TableProps } from "./table.tsx";

interface Paged {
  readonly total?: number;
  readonly next: string | number | null;
}

interface ListProps<Answer extends Paged, Row> extends Omit<TableProps<Row>, "rows" | "busy" | "onSort"> {
  /** Is listed: `hosts`. */
  readonly what: string;
  readonly polled: Polled<Answer>;
  readonly rowsOf: (answer: Answer) => readonly Row[];
  /** Where this page begins; empty: it is the first. */
  readonly after: string;
}

export function List<Answer extends Paged, Row>({ what, polled, rowsOf, after, ...table }: ListProps<Answer, Row>) {
  const onSort = (sort: string): void => changeQuery({ sort, after: "" });
  return (
    <Shown what={what} polled={polled}>
      {(answer) => (
        <>
          <Table {...table} rows={rowsOf(answer)} busy={polled.busy} {...table.sort !== undefined && { onSort }} />
          <Pager
            shown={rowsOf(answer).length}
            total={answer.total ?? null}
            noun={what}
            after={after}
            next={answer.next}
            onPage={(next) => changeQuery({ after: next })}
          />
        </>
      )}
    </Shown>
  );
}
