/*  How large the program of a pattern may become, told from its text. Counted repetitions are written out when a pattern is compiled:
 *  `(?:…){1000}` of a kilobyte takes half a second and a hundred megabytes before anybody could say that it is too large.
 *
 *  What is told is an upper bound of its single steps, of odd texts one that is too high. Whether it is a pattern at all is not asked here.
 */

const COUNT = /\{(\d{1,4})(?:,(\d{0,4}))?\}/y;
const QUOTED = /\\Q[^]*?(?:\\E|$)/y;
const ATOM = /\\(?:[pP](?:\{[^}]*\}|.)|x(?:\{[^}]*\}|..)|[^])|\[\^?\]?(?:\\[^]|[^\]\\])*\]?|[^]/y;

export function patternSteps(pattern: string): number {
  /** Of each group that is open, the steps before it. */
  const open: number[] = [];
  let steps = 0, last = 0;
  for (let at = 0; at < pattern.length;) {
    const quoted = found(QUOTED, pattern, at);
    const count = quoted === null ? found(COUNT, pattern, at) : null;
    const text = quoted?.[0] ?? count?.[0] ?? found(ATOM, pattern, at)![0];
    at += text.length;
    if (count !== null) {
      const times = Math.max(1, Number(count[1]), Number(count[2] ?? 0)) + (count[2] === "" ? 1 : 0);
      steps += last * (times - 1);
      last *= times;
    } else if (text === "(") {
      open.push(steps);
      steps = last = 1;
    } else if (text === ")") { // that closes nothing: all before it
      last = steps;
      steps += open.pop() ?? 0;
    } else {
      last = quoted === null ? 1 : text.length;
      steps += last;
    }
  }
  return steps + open.reduce((sum, each) => sum + each, 0);
}

function found(expression: RegExp, text: string, at: number): RegExpExecArray | null {
  expression.lastIndex = at;
  return expression.exec(text);
}

/** Of all texts under the key `pattern` in a JSON value. */
export function patternStepsWithin(value: unknown): number {
  if (typeof value !== "object" || value === null) return 0;
  let steps = 0;
  for (const [key, part] of Object.entries(value)) {
    steps += key === "pattern" && typeof part === "string" ? patternSteps(part) : patternStepsWithin(part);
  }
  return steps;
}
