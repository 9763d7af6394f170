#!/usr/bin/env bash
# Runs every test, in .venv (made if needed). --slow: also those that take minutes. Other arguments go to pytest.
set -euo pipefail
# shellcheck source=launch/common.sh
. "$(dirname "$0")/common.sh"
answer_help "$@"
cd "$(dirname "$0")/.."
# shellcheck source=launch/venv.sh
. launch/venv.sh
selection=(-m "not slow")
if [ "${1:-}" = --slow ]; then
  selection=()
  shift
fi
exec python -m pytest ${selection[@]+"${selection[@]}"} "$@"
