/** Completions for bash, zsh and fish, made of the table of commands. */
import { type Command, type CommandOption, COMMANDS } from "../../src/cli/usage.ts";

const MADE = '# Made by "deno task docs" from the table of commands.';
const all: readonly Command[] = COMMANDS;
const fileFlags = [...new Set(all.flatMap(({ options = [] }) => options.filter(namesFile).map(({ flag }) => flag)))];
const names = all.map((command) => command.name).join(" ");

function namesFile({ value }: CommandOption): boolean {
  return value === "FILE";
}

export function bashCompletion(): string {
  return `${MADE}
_edgeproxy() {
  local word=\${COMP_WORDS[COMP_CWORD]} before=\${COMP_WORDS[COMP_CWORD-1]} words=
  COMPREPLY=()
  if ((COMP_CWORD == 1)); then
    words="${names} --help"
  else
    case \${COMP_WORDS[1]} in
${all.filter(({ options }) => options !== undefined).map(bashCase).join("\n")}
    esac
  fi
  if [[ $before == @(${fileFlags.join("|")}) ]]; then
    mapfile -t COMPREPLY < <(compgen -f -- "$word")
    compopt -o filenames 2>/dev/null
  else
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
  fi
}
complete -F _edgeproxy edgeproxy
`;
}

function bashCase({ name, options = [] }: Command): string {
  const values = options.filter(({ value }) => value !== undefined).map(({ flag }) => flag);
  const words = `words="${options.map(({ flag }) => flag).join(" ")}"`;
  // What follows a flag with a value is a file, or nothing that could be known here
  const guard = values.length === 0 ? words : `[[ $before == @(${values.join("|")}) ]] || ${words}`;
  return `      ${name}) ${guard} ;;`;
}

export function zshCompletion(): string {
  return `#compdef edgeproxy
${MADE}
_edgeproxy() {
  local -a commands
  commands=(
${all.map(({ name, meaning }) => `    ${zshQuoted(`${name}:${meaning}`)}`).join("\n")}
  )
  if ((CURRENT == 2)); then
    _describe command commands
    _arguments '--help[prints a help text]'
    return
  fi
  local command=$words[2]
  shift words
  ((CURRENT--))
  case $command in
${all.filter((command) => command.options ?? command.operand).map(zshCase).join("\n")}
  esac
}
_edgeproxy "$@"
`;
}

function zshCase({ name, operand, options = [] }: Command): string {
  const parts = [...options.map(zshOption), ...(operand === undefined ? [] : [zshQuoted(`:${operand}:`)])];
  return `    ${name}) _arguments ${parts.join(" ")} ;;`;
}

function zshOption(option: CommandOption): string {
  const { flag, value, repeats, meaning } = option;
  const argument = value === undefined ? "" : `:${value.replaceAll(/[':]/g, "")}:${namesFile(option) ? "_files" : ""}`;
  return zshQuoted(`${repeats ? "*" : ""}${flag}[${meaning}]${argument}`);
}

function zshQuoted(words: string): string {
  return `'${words.replaceAll("'", "'\\''")}'`;
}

export function fishCompletion(): string {
  const commands = all.map(({ name, meaning }) =>
    `complete -c edgeproxy -n __fish_use_subcommand -a ${name} -d ${fishQuoted(meaning)}`
  );
  const options = all.flatMap(({ name, options = [] }) => options.map((option) => fishOption(name, option)));
  return [
    MADE,
    "complete -c edgeproxy -f",
    "complete -c edgeproxy -n __fish_use_subcommand -l help -d 'prints a help text'",
    ...commands,
    ...options,
    "",
  ].join("\n");
}

function fishOption(command: string, option: CommandOption): string {
  const { flag, value, meaning } = option;
  const argument = value === undefined ? "" : namesFile(option) ? " -r -F" : " -x";
  const spelled = flag.startsWith("--") ? `-l ${flag.slice(2)}` : `-s ${flag.slice(1)}`;
  return `complete -c edgeproxy -n '__fish_seen_subcommand_from ${command}' ${spelled}${argument} -d ${fishQuoted(meaning)}`;
}

function fishQuoted(words: string): string {
  return `'${words.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`;
}
