# shellcheck shell=bash
# Sourced by the other scripts: makes .venv from requirements.txt when it is missing or older than the requirements, and
# puts it first on the PATH. Needs Python 3.11 or newer (set PYTHON to choose one) and, the first time, the package index.

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
  # shellcheck source=launch/common.sh
  . "$(dirname "$0")/common.sh"
  answer_help "$@"
fi

find_python() {
  local candidate
  for candidate in ${PYTHON:+"$PYTHON"} python3 python3.13 python3.12 python3.11; do
    if command -v "$candidate" >/dev/null && "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
  echo "error: Python 3.11 or newer is needed; install it, or set PYTHON to one." >&2
  return 1
}

make_venv() { # in the project $1
  local python venv=$1/.venv
  if [ -e "$venv" ] && [ ! -e "$venv/installed.txt" ] && [ ! -e "$venv/babel_jax" ]; then
    echo "error: $venv is not one that this script made; move it away, and run again." >&2
    return 1
  fi
  python=$(find_python) || return 1
  echo "making .venv with $("$python" --version) (about a minute, once)"
  rm -rf "$venv"
  # installed.txt is the last step: an interrupted install is done again.
  "$python" -m venv "$venv" && touch "$venv/babel_jax" \
    && "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$1/requirements.txt" \
    && cp "$1/requirements.txt" "$venv/installed.txt"
}

babel_jax=$(cd "$(dirname "${BASH_SOURCE[0]:-$0}")/.." && pwd) # wherever it is sourced from
if cmp -s "$babel_jax/requirements.txt" "$babel_jax/.venv/installed.txt" || make_venv "$babel_jax"; then
  export PATH="$babel_jax/.venv/bin:$PATH"
else
  # shellcheck disable=SC2317
  return 1 2>/dev/null || exit 1
fi
