# Made by "deno task docs" from the table of commands.
_edgeproxy() {
  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} words=
  COMPREPLY=()
  if ((COMP_CWORD == 1)); then
    words="serve demo check migrate routes explain sign-route-key version --help"
  else
    case ${COMP_WORDS[1]} in
      serve) [[ $before == @(--env-file) ]] || words="--env-file" ;;
      demo) words="--once" ;;
      check) [[ $before == @(--config|--env-file) ]] || words="--config --env-file" ;;
      migrate) [[ $before == @(--env-file) ]] || words="--print --remove --env-file" ;;
      routes) [[ $before == @(--host|--env-file) ]] || words="--host --json --env-file" ;;
      explain) [[ $before == @(-H|-X|--client|--env-file) ]] || words="-H -X --client --json --env-file" ;;
      sign-route-key) [[ $before == @(--host|--env-file) ]] || words="--host --env-file" ;;
    esac
  fi
  if [[ $before == @(--env-file|--config) ]]; then
    mapfile -t COMPREPLY < <(compgen -f -- "$word")
    compopt -o filenames 2>/dev/null
  else
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
  fi
}
complete -F _edgeproxy edgeproxy
