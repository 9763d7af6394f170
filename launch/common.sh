# shellcheck shell=bash disable=SC2034
# Sourced by the other scripts: --help, the command line of tpu_pod.sh, gke.sh and slurm.sh, doing a command or printing it.
# What is set here is used there.

fail() {
  echo "error: $*" >&2
  exit 2
}

# The comment at the top of a script is its usage.
usage() {
  sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"
  exit "$1"
}

# Prints the usage and ends, before anything is done, if a word before -- asks for it.
answer_help() {
  local word
  for word in "$@"; do
    case $word in
      --) return ;;
      -h | --help) usage 0 ;;
    esac
  done
}
[ "${BASH_SOURCE[0]}" != "$0" ] || answer_help "$@"

# [--dry-run] VERB NAME [FLAGS] [-- ARGUMENTS] -> dry_run verb name flags arguments; `--flag value` becomes `--flag=value`.
parse() {
  dry_run='' verb='' name='' flags=() arguments=()
  answer_help "$@"
  case ${1:-} in
    '') usage 2 ;;
    --dry-run)
      dry_run=1
      shift
      ;;
  esac
  verb=${1:-} name=${2:-}
  case $name in '' | -*) fail "give a verb and a name: $(basename "$0") VERB NAME …; --help explains." ;; esac
  # It becomes the name of a machine or of a file.
  case $name in [!a-z]* | *[!a-z0-9-]*) fail "the name is '$name'; use small letters, digits and dashes." ;; esac
  shift 2
  while [ $# -gt 0 ]; do
    case $1 in
      --)
        shift
        arguments=("$@")
        return
        ;;
      --dry-run) dry_run=1 ;;
      --*=*) flags+=("$1") ;;
      --*)
        case ${2:--} in
          -*) flags+=("$1") ;;
          *)
            flags+=("$1=$2")
            shift
            ;;
        esac
        ;;
      *) fail "cannot read '$1'; flags are written --flag=value, and the command to run stands after --." ;;
    esac
    shift
  done
}

# Takes `--NAME=VALUE` (or `--NAME`: 1) out of the flags into `value`; false, with the default $2, when it is not there.
take() {
  local flag kept=() found=''
  value=${2:-}
  for flag in ${flags[@]+"${flags[@]}"}; do
    case $flag in
      "--$1="*) found=1 value=${flag#*=} ;;
      "--$1") found=1 value=1 ;;
      *) kept+=("$flag") ;;
    esac
  done
  flags=(${kept[@]+"${kept[@]}"})
  [ -n "$found" ]
}

no_more_flags() {
  [ ${#flags[@]} -eq 0 ] || fail "'$verb' has no flag ${flags[0]}; --help explains."
}

need_arguments() {
  [ ${#arguments[@]} -gt 0 ] || fail "say what to run: … -- train --config=FILE --workdir=W --run=continual"
}

need() { # a tool, and how to get it
  [ -n "$dry_run" ] || command -v "$1" > /dev/null || fail "$1 is missing: $2"
}

quoted() { # words, so that a shell reads them as they are
  local first=1 word
  for word in "$@"; do
    [ -n "$first" ] || printf ' '
    printf %q "$word"
    first=''
  done
}

# Does a command; with --dry-run, prints it as it would be typed.
run() {
  if [ -n "$dry_run" ]; then
    quoted "$@"
    echo
  else
    "$@"
  fi
}
