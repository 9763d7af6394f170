#!/usr/bin/env bash
# Trains on nodes of a SLURM cluster, one process a node with all its devices, through time limits and preemption.
#
#   launch/slurm.sh [--dry-run] run NAME --nodes=4 --gpus-per-node=8 --time=24:00:00 [SBATCH FLAGS] \
#       -- train --config=configs/gpt2.py:6b7 --workdir=/shared/run --run=continual
#   launch/slurm.sh [--dry-run] status NAME
#   launch/slurm.sh [--dry-run] logs NAME [--follow]
#   launch/slurm.sh [--dry-run] cancel NAME
#
# The project and the workdir lie on a file system that all nodes see. .venv is made by the first job unless it is there;
# for GPUs make it first: bash launch/test.sh, then .venv/bin/pip install "jax[cuda13]==VERSION of requirements.txt".
# Flags are sbatch's long ones and override what stands here. 120 seconds before the time limit (override with --signal) the
# processes get SIGTERM, save and end with status 143; the job then puts itself into the queue again and goes on where it
# stopped. A crash of one process ends all, and they start again, 20 times at most; an error that the user must mend
# (status 2) ends the job. The log is runs/slurm/NAME.log.
set -euo pipefail
if [ "${1:-}" = job ]; then # this is what sbatch runs, from its own copy of this file, in the project's folder
  shift
  # shellcheck source=launch/venv.sh
  . launch/venv.sh
  for try in $(seq 20); do
    status=0
    srun --ntasks-per-node=1 --kill-on-bad-exit=1 python -u -m babel_jax "$@" || status=$?
    case $status in
      0 | 2) exit $status ;;
      143) exec scontrol requeue "$SLURM_JOB_ID" ;;
    esac
    echo "try $try ended with status $status; once more in ${RETRY_SECONDS:-10} seconds"
    sleep "${RETRY_SECONDS:-10}"
  done
  exit "$status"
fi

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=launch/common.sh
. "$here/common.sh"
parse "$@"

project=$(dirname "$here")
log=$project/runs/slurm/$name.log
slurm="SLURM's commands are on the login node of a cluster: run this script there"
case $verb in
  run)
    need sbatch "$slurm"
    need_arguments
    run mkdir -p "$project/runs/slurm"
    run sbatch "--job-name=$name" "--chdir=$project" "--output=${log//%/%%}" --open-mode=append --ntasks-per-node=1 \
      --requeue --signal=TERM@120 ${flags[@]+"${flags[@]}"} "$here/slurm.sh" job "${arguments[@]}"
    ;;
  status)
    no_more_flags
    need squeue "$slurm"
    run squeue "--user=$(id -un)" "--name=$name" '--format=%i %T %M of %l, %D nodes: %R'
    ;;
  logs)
    follow=()
    if take follow; then follow=(-F); fi
    no_more_flags
    run tail -n 100 ${follow[@]+"${follow[@]}"} "$log"
    ;;
  cancel)
    no_more_flags
    need scancel "$slurm"
    run scancel "--user=$(id -un)" "--name=$name"
    ;;
  *) fail "unknown verb '$verb'; known: run status logs cancel." ;;
esac
