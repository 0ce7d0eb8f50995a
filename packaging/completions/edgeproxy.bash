# Made by "deno task docs" from the table of commands.
_edgeproxy() {
  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} words=
  COMPREPLY=()
  if ((COMP_CWORD == 1)); then
    words="serve demo check migrate routes explain version --help"
  else
    case ${COMP_WORDS[1]} in
      demo) words="--once" ;;
      migrate) words="--print --remove" ;;
      routes) [[ $before == @(--host) ]] || words="--host --json" ;;
      explain) [[ $before == @(-H|-X|--client) ]] || words="-H -X --client --json" ;;
    esac
  fi
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
}
complete -F _edgeproxy edgeproxy
