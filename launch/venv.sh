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

if ! cmp -s requirements.txt .venv/installed.txt; then
  python=$(find_python)
  echo "making .venv with $("$python" --version) (about a minute, once)"
  rm -rf .venv
  "$python" -m venv .venv
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --requirement requirements.txt
  cp requirements.txt .venv/installed.txt # the last step: an interrupted install is done again
fi
export PATH="$PWD/.venv/bin:$PATH"
