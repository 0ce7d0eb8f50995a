/** What a route says of targets, fields and answers, taken apart once and kept as long as the route. */
import type { FieldEdits, PolicyRoute, RewritePolicy } from "../table/policy.ts";
import {
  type Direction,
  type FieldChanges,
  fieldLine,
  FieldNames,
  isHostField,
  safeValue,
  whyUneditable,
} from "../wire/field-edits.ts";
import { normaliseHost } from "../wire/host.ts";
import { PathEdits, pathProblem, QueryEdits } from "../wire/target-edits.ts";
import { PLAIN, Template, type Values } from "./variables.ts";
import { ErrorAnswers, Redirect, WrittenAnswer } from "./written-answers.ts";

const COMPILED = new WeakMap<PolicyRoute, RouteEdits>();

export function editsOf(route: PolicyRoute): RouteEdits {
  let edits = COMPILED.get(route);
  if (edits === undefined) COMPILED.set(route, edits = new RouteEdits(route));
  return edits;
}

export class RouteEdits {
  readonly target: TargetTemplate | null;
  readonly request: FieldTemplates | null;
  readonly response: FieldTemplates | null;
  readonly errors: ErrorAnswers | null;
  readonly redirect: Redirect | null;
  readonly respond: WrittenAnswer | null;

  constructor({ id, rewrite, match, requestFields, responseFields, errors, redirect, respond }: PolicyRoute) {
    this.target = rewrite === null ? null : new TargetTemplate(rewrite, match.path.value);
    this.request = fieldTemplates("request", requestFields, id);
    this.response = fieldTemplates("response", responseFields, id);
    this.errors = errors.length === 0 ? null : new ErrorAnswers(errors);
    this.redirect = redirect === null ? null : new Redirect(redirect);
    this.respond = respond === null ? null : new WrittenAnswer(respond, false, responseFields);
  }

  /** Nothing is filled in. */
  get plain(): boolean {
    return this.target === null && this.request === null && this.response === null && this.errors === null;
  }
}

/** A rewritten target, or why it may not be sent. */
export type Rewritten = { readonly target: string } | { readonly problem: string };

/** Of a path and query. */
class TargetTemplate {
  readonly #path: PathEdits | null;
  readonly #query: QueryEdits | null;
  readonly #set: readonly Template[];
  readonly #add: readonly Template[];

  /** `routePath`: what `replacePrefix` replaces where nothing else is said. */
  constructor(rewrite: RewritePolicy, routePath: string) {
    const { stripPrefix, replacePrefix, addPrefix, pattern, query } = rewrite;
    const touched = stripPrefix !== null || replacePrefix !== null || addPrefix !== null || pattern !== null;
    const prefix = stripPrefix ?? (replacePrefix === null ? null : routePath);
    this.#path = touched ? new PathEdits({ ...rewrite, stripPrefix: prefix }) : null;
    this.#query = query === null ? null : new QueryEdits(query);
    this.#set = query?.set.map(([, value]) => new Template(value)) ?? [];
    this.#add = query?.add.map(([, value]) => new Template(value)) ?? [];
  }

  /** `target`: in origin form. null: it stays, byte for byte. */
  fill(target: string, values: Values): Rewritten | null {
    if (target === "*") return null;
    const mark = target.indexOf("?");
    const path = mark < 0 ? target : target.slice(0, mark);
    const edited = this.#path === null ? path : this.#path.apply(path);
    if (edited === null) return { problem: "The path holds too much of what its route rewrites" };
    const problem = this.#path === null ? null : pathProblem(edited);
    if (problem !== null) return { problem };
    const query = mark < 0 ? "" : target.slice(mark);
    const rewritten = edited + (this.#query === null ? query : this.#editedQuery(this.#query, query, values));
    return rewritten === target ? null : { target: rewritten };
  }

  #editedQuery(edits: QueryEdits, query: string, values: Values): string {
    const fill = (template: Template): string => template.fill(values, PLAIN);
    const edited = edits.apply(query.slice(1), this.#set.map(fill), this.#add.map(fill));
    if (edited === query.slice(1)) return query;
    return edited === "" ? "" : `?${edited}`;
  }
}

function fieldTemplates(direction: Direction, edits: FieldEdits, route: string): FieldTemplates | null {
  const { set, add, remove } = edits;
  return set.length + add.length + remove.length === 0 ? null : new FieldTemplates(direction, edits, route);
}

/** A line that differs from request to request. */
interface LineTemplate {
  /** Lines between the one before and this one, which are the same for every request; empty: none. */
  readonly above: string;
  /** They, the name, and what stands behind it. */
  readonly before: string;
  readonly value: Template;
}

/** Of the fields of one direction. What may not be edited has been refused where it was read, and does nothing here. */
export class FieldTemplates {
  readonly #dropped: FieldNames | null;
  readonly #lines: readonly LineTemplate[];
  /** Behind these; empty: nothing. */
  readonly #end: string;
  readonly #host: boolean;
  /** Where nothing differs from request to request. */
  readonly #fixed: FieldChanges | null;

  constructor(direction: Direction, { set, add, remove }: FieldEdits, route: string) {
    const may = (name: string): boolean => whyUneditable(direction, name) === null;
    const host = set.find(([name, value]) => isHostField(direction, name) && normaliseHost(value) !== null) ?? null;
    const dropped = [...remove, ...set.map(([name]) => name)].filter(may).concat(host === null ? [] : "host");
    this.#dropped = dropped.length === 0 ? null : new FieldNames(dropped);
    const lines: LineTemplate[] = [];
    let fixed = host === null ? "" : fieldLine("Host", host[1]);
    this.#host = host !== null;
    for (const [name, text] of [...set, ...add]) {
      const value = new Template(text, route);
      if (!may(name)) continue;
      if (value.fixed) fixed += fieldLine(name, value.text);
      else {
        lines.push({ above: fixed, before: `${fixed}${name}: `, value });
        fixed = "";
      }
    }
    this.#lines = lines;
    this.#end = fixed;
    const texts = fixed === "" ? [] : [fixed];
    this.#fixed = lines.length === 0 ? { dropped: this.#dropped, lines: texts, host: this.#host } : null;
  }

  /** A value whose variables are all empty is not sent: there is nothing to say. */
  fill(values: Values): FieldChanges {
    if (this.#fixed !== null) return this.#fixed;
    const lines: string[] = [];
    for (const { above, before, value } of this.#lines) {
      const text = value.fill(values, PLAIN);
      if (text !== "") {
        lines.push(before); // one at a time: three at once take 60 ns longer
        lines.push(safeValue(text));
        lines.push("\r\n");
      } else if (above !== "") lines.push(above);
    }
    if (this.#end !== "") lines.push(this.#end);
    return { dropped: this.#dropped, lines, host: this.#host };
  }
}
