#!/usr/bin/env bash
# Builds a corpus on a SLURM cluster: a job array a phase, each after the one before, a finishing job at the end.
#
#   launch/slurm_corpus.sh [--dry-run] MANIFEST OUT SHARDS [SBATCH FLAGS]
#   launch/slurm_corpus.sh configs/corpora/the_stack.py /shared/corpus 64 --cpus-per-task=8 --mem=32G --time=12:00:00
#
# MANIFEST is what `python -m babel_jax corpus build --manifest` takes, SHARDS the jobs of each array; a job uses all cores
# that it is given. The project, OUT and the sources lie on a file system that all nodes see. .venv is made by the first
# job unless it is there. Flags are sbatch's long ones, for all jobs. The corpus is the one that `corpus build` makes on one
# machine, to the byte. Whatever happens (a time limit, a lost node, an error), the same command goes on where it stopped;
# it waits for what is still there of an earlier one. All jobs are called corpus-NAME (scancel --name=corpus-NAME ends
# them), NAME being the last part of OUT; the logs are runs/slurm/corpus-NAME-PHASE-SHARD.log.
set -euo pipefail
if [ "${1:-}" = job ]; then # this is what sbatch runs, from its own copy of this file, in the project's folder
  phase=$2 folder=$3 manifest=$4 out=$5 shards=$6
  # shellcheck source=launch/venv.sh
  . launch/venv.sh
  export PYTHONPATH=$PWD
  cd "$folder"
  shard=()
  if [ -n "${SLURM_ARRAY_TASK_ID:-}" ]; then shard=("--shard=$SLURM_ARRAY_TASK_ID/$shards"); fi
  exec python -u -m babel_jax corpus build "--manifest=$manifest" "--out=$out" "--phase=$phase" ${shard[@]+"${shard[@]}"}
fi

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=launch/common.sh
. "$here/common.sh"
answer_help "$@"
dry_run=
if [ "${1:-}" = --dry-run ]; then
  dry_run=1
  shift
fi
[ $# -ge 3 ] || fail "give a manifest, where the corpus is put and the number of shards: $(basename "$0") MANIFEST OUT SHARDS …"
manifest=$1 out=${2%/} shards=$3
shift 3
case $shards in '' | 0* | *[!0-9]*) fail "the number of shards is '$shards'; give a number of at least 1." ;; esac
file=$manifest
if [ ! -f "$file" ]; then
  case $file in *.py:*) file=${file%%.py:*}.py ;; esac # the rest is what its get_config is given
fi
[ -f "$file" ] || fail "there is no manifest $manifest."
for flag in "$@"; do
  case $flag in
    --array* | --dependency*) fail "${flag%%=*} is set here, for each phase." ;;
    --*) ;;
    *) fail "cannot read '$flag'; sbatch's flags are written --flag=value." ;;
  esac
done
need sbatch "SLURM's commands are on the login node of a cluster: run this script there"

project=$(dirname "$here")
name=corpus-$(basename "$out")
log=$project/runs/slurm/$name
run mkdir -p "$project/runs/slurm"
before=
# `start` divides the sources into pieces; to hold out of natural languages, facts and the vocabulary are one task each.
for phase in start clean paragraphs select align hold_out facts vocabulary tokens rows call_sites finish; do
  array=() file=${log//%/%%}-$phase.log
  case $phase in
    start | hold_out | facts | vocabulary | finish) ;;
    *) array=("--array=0-$((shards - 1))") file=${log//%/%%}-$phase-%a.log ;;
  esac
  submit=(sbatch --parsable "--job-name=$name" "--comment=$phase" "--chdir=$project" "--output=$file" --open-mode=append
    --ntasks=1 --requeue --kill-on-invalid-dep=yes ${array[@]+"${array[@]}"} "$@")
  job=("$here/slurm_corpus.sh" job "$phase" "$PWD" "$manifest" "$out" "$shards")
  # The first job waits for all that is left of an earlier build of this name, each phase for the one before to end well.
  if [ -n "$dry_run" ]; then
    echo "job=\$($(quoted "${submit[@]}") --dependency=${before:-singleton} $(quoted "${job[@]}"))"
    # shellcheck disable=SC2016  # for the shell that what is printed is given to
    before='afterok:"${job%%;*}"'
  else
    id=$("${submit[@]}" "--dependency=${before:-singleton}" "${job[@]}")
    echo "$phase: job $id"
    before=afterok:${id%%;*} # on some clusters followed by the cluster's name
  fi
done
