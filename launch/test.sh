#!/usr/bin/env bash
# Runs the tests, in .venv (made if needed), in two workers. --quick: minutes less, without the tests that start other
# processes, take seconds or need torch. --slow: also the tests that take minutes. Other arguments go to pytest (-n 8: eight workers;
# tests/probes: one room).
set -euo pipefail
# shellcheck source=launch/common.sh
. "$(dirname "$0")/common.sh"
answer_help "$@"
cd "$(dirname "$0")/.."
# shellcheck source=launch/venv.sh
. launch/venv.sh
selection=(-m "not slow")
case "${1:-}" in
  --quick) selection=(-m "not slow and not long and not processes and not oracle") ;;
  --slow) selection=() ;;
esac
case "${1:-}" in --quick | --slow) shift ;; esac
exec python -m pytest -n 2 --dist loadfile ${selection[@]+"${selection[@]}"} "$@"
