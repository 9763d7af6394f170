#!/usr/bin/env bash
# The regret of every optimiser of the corpus over worlds and budgets (configs/regret.py): runs its cells one after another, each a
# study of its own in WORKDIR, and prints the table. Interrupted at any point, the same command goes on where it stopped.
#
# launch/regret.sh WORKDIR [CELL …]      such as s40_400; without a cell the first ten of the config, about 4 hours on 2 cores
set -euo pipefail
# shellcheck source=launch/common.sh
. "$(dirname "$0")/common.sh"
answer_help "$@"
workdir=${1:-}
case $workdir in '' | -*) fail "give a directory: launch/regret.sh runs/regret; --help explains." ;; esac
shift
cd "$(dirname "$0")/.."
# shellcheck source=launch/venv.sh
. launch/venv.sh
if [ $# -eq 0 ]; then
  read -r -a cells < <(python -c 'import runpy; print(*runpy.run_path("configs/regret.py")["FIRST"])')
  set -- "${cells[@]}"
fi
for cell in "$@"; do
  python -m babel_jax study --config="configs/regret.py:$cell" --workdir="$workdir/$cell"
done
exec python -m babel_jax regret --workdirs "$workdir"/*_[0-9]*/ --out="$workdir/table"
