/*  What is counted of one host: a row of numbers, the same in workers and in the control plane.
 *
 *      column   0..5    exchanges by status class (0: no head was sent)
 *               6..10   bad ends by blame
 *               11..13  ms of the exchanges, bytes of the bodies in and out
 *               14..30  exchanges by duration, as in DURATION_BUCKETS; tunnels are not among these, nor in the ms
 *
 *  Between processes a row is sparse, since most of it is 0: column, value, column, value...
 */
import { DURATION_BUCKETS } from "./metrics.ts";
import { BLAMES } from "./proxy-error.ts";

export const CLASSES = 6;
export const ERROR_COLUMN = CLASSES;
export const MS_COLUMN: number = ERROR_COLUMN + BLAMES.length;
export const BYTES_IN_COLUMN: number = MS_COLUMN + 1;
export const BYTES_OUT_COLUMN: number = MS_COLUMN + 2;
export const BUCKET_COLUMN: number = MS_COLUMN + 3;
export const COLUMNS: number = BUCKET_COLUMN + DURATION_BUCKETS.length + 1;

export type Row = Float64Array;
export type SparseRow = readonly number[];

/** What a worker has counted since it last said so. */
export interface HostReport {
  /** By key of the route: `app.example.com`, or `*.example.com` for what that wildcard has matched. */
  readonly hosts: readonly (readonly [key: string, counts: SparseRow])[];
  /** Of all others that have a route. */
  readonly other: SparseRow;
}

export const NOTHING_COUNTED: HostReport = { hosts: [], other: [] };

export function emptyRow(columns: number = COLUMNS): Row {
  return new Float64Array(columns);
}

/** Columns [start, start + columns) of a longer list of rows. */
export function sparse(rows: Float64Array, start = 0, columns: number = COLUMNS): number[] {
  const counts: number[] = [];
  for (let column = 0; column < columns; column++) {
    const value = rows[start + column]!;
    if (value !== 0) counts.push(column, value);
  }
  return counts;
}

export function addSparse(row: Row, counts: SparseRow): void {
  for (let i = 0; i + 1 < counts.length; i += 2) {
    const column = counts[i]!;
    if (column < row.length) row[column] = row[column]! + counts[i + 1]!;
  }
}

export function addRow(row: Row, other: Row): void {
  for (let column = 0; column < row.length; column++) row[column] = row[column]! + other[column]!;
}

export function requestsOf(row: Row): number {
  return sumOf(row, 0, CLASSES);
}

export function sparseRequests(counts: SparseRow): number {
  let sum = 0;
  for (let i = 0; i + 1 < counts.length && counts[i]! < CLASSES; i += 2) sum += counts[i + 1]!;
  return sum;
}

export function errorsOf(row: Row): number {
  return sumOf(row, ERROR_COLUMN, MS_COLUMN);
}

/** How many of them have a duration. */
export function timedOf(row: Row): number {
  return sumOf(row, BUCKET_COLUMN, COLUMNS);
}

function sumOf(row: Row, start: number, end: number): number {
  let sum = 0;
  for (let column = start; column < end; column++) sum += row[column]!;
  return sum;
}
