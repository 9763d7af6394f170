#!/usr/bin/env bash
# Trains on Cloud TPU VMs that are asked for as a queued resource, on every worker, through every preemption.
#
#   launch/tpu_pod.sh [--dry-run] run NAME --accelerator-type=TYPE [--zone=Z] [--project=P] [--spot | --reserved] [FLAGS] \
#       -- train --config=configs/gpt2.py:6b7 --workdir=gs://bucket/run --run=continual
#   launch/tpu_pod.sh [--dry-run] create NAME …                     only asks for the machines, and waits until they are there
#   launch/tpu_pod.sh [--dry-run] status NAME [--zone=Z]            of the queued resource, and of the process on each worker
#   launch/tpu_pod.sh [--dry-run] logs NAME [--zone=Z] [--worker=0|all] [--node=0|all] [--follow]
#   launch/tpu_pod.sh [--dry-run] delete NAME [--zone=Z]            the machines and the queued resource; nothing else ends the cost
#
# `run` creates the queued resource where it is missing, waits for ACTIVE, copies the project at a commit (--commit=REF,
# default HEAD) to every worker, installs requirements.txt and jax[tpu] of the same version there, starts
# `python -m babel_jax …` on every worker in the background, and watches until all have finished. Preempted machines are
# deleted and asked for again; the same command then goes on from the workdir, which must therefore be a bucket. `run` may
# itself be stopped and started again: it finds what is running. FLAGS that are not named here go to
# `gcloud compute tpus queued-resources create` (--node-count=N for several slices, --network, --service-account, …);
# --internal-ip and --tunnel-through-iap to its ssh and scp. --dry-run prints the commands of a first run without
# preemption and does nothing. It looks every POLL_SECONDS (60). It waits as long as Google has no capacity (the flag
# --valid-until-duration bounds that), and ends with an error where gcloud is not set up, or nothing answers 60 times in a row.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=launch/common.sh
. "$here/common.sh"
parse "$@"

poll=${POLL_SECONDS:-60}
patience=60 # looks in a row at what does not answer, which gcloud or a worker may do for a moment
gcloud=(gcloud compute tpus queued-resources)
where=(--quiet) ssh_flags=()
for flag in zone project; do if take "$flag"; then where+=("--$flag=$value"); fi; done
for flag in internal-ip tunnel-through-iap; do if take "$flag"; then ssh_flags+=("--$flag"); fi; done
describe=("${gcloud[@]}" describe "$name" "${where[@]}" '--format=value(state.state)')
delete=("${gcloud[@]}" delete "$name" "${where[@]}" --force)
on_all=("${gcloud[@]}" ssh "$name" "${where[@]}" ${ssh_flags[@]+"${ssh_flags[@]}"} --node=all --worker=all)
progress=("${on_all[@]}" '--command=bash babel_jax_run/worker.sh state')

describe_creation() { # -> create
  local kind=$name runtime
  take accelerator-type || fail "--accelerator-type is missing, such as v5litepod-16, v5p-128 or v6e-256."
  kind=$value
  case $kind in
    v6e*) runtime=v2-alpha-tpuv6e ;;
    v5p*) runtime=v2-alpha-tpuv5 ;;
    v5lite*) runtime=v2-alpha-tpuv5-lite ;;
    *) runtime=tpu-ubuntu2204-base ;;
  esac
  take runtime-version "$runtime" || true
  create=("${gcloud[@]}" create "$name" "${where[@]}" "--accelerator-type=$kind" "--runtime-version=$value")
  case " ${flags[*]-} " in *" --node-count="*) ;; *) create+=("--node-id=$name") ;; esac
  create+=(${flags[@]+"${flags[@]}"})
}

describe_start() { # -> pack copy start
  local commit place
  take commit HEAD || true
  commit=$(git -C "$here" rev-parse --verify --quiet "$value^{commit}") || fail "there is no commit '$value' here."
  [ -z "$(git -C "$here" status --porcelain)" ] || echo "note: changes that are not committed are not copied." >&2
  place=babel_jax-${commit:0:12}
  pack=(git -C "$here/.." archive --format=tar.gz -o "${TMPDIR:-/tmp}/$place.tar.gz" "$commit")
  copy=("${gcloud[@]}" scp "${TMPDIR:-/tmp}/$place.tar.gz" "$name:" "${where[@]}" ${ssh_flags[@]+"${ssh_flags[@]}"})
  copy+=(--node=all --worker=all)
  start=("${on_all[@]}" "--command=mkdir -p $place && tar -xzf $place.tar.gz -C $place && bash $place/launch/worker.sh start $(quoted "${arguments[@]}")")
}

now='' answered='' silent=0 # the last state; whether gcloud ever told one; looks in a row that it did not answer
created='' unreached=0      # whether it was asked for; looks in a row at which the workers did not answer

in_a_line() {
  local words=() line
  read -ra words -d '' <<< "${1//[^[:print:][:space:]]/}" || true
  line=${words[*]-}
  echo "${line:0:500}"
}

look() { # -> now: the state of the queued resource; ABSENT: there is none; UNKNOWN: gcloud does not answer for a while
  local answer
  if answer=$("${describe[@]}" 2>&1) && [ -n "${answer##*$'\n'}" ]; then
    now=${answer##*$'\n'}
  elif [[ $answer == *NOT_FOUND* || $answer == *"was not found"* ]]; then
    now=ABSENT
  else
    now=UNKNOWN
    silent=$((silent + 1))
    # What has never answered is not set up: waiting does not help.
    if [ -z "$answered" ] || [ $silent -ge $patience ]; then
      fail "gcloud cannot tell the state of $name: $(in_a_line "${answer:-it prints none}"); mend that and give the same command again."
    fi
    return
  fi
  answered=1 silent=0
}

ask_for_it() {
  local answer
  say "is asked for"
  if answer=$("${create[@]}" 2>&1) || [[ $answer == *ALREADY_EXISTS* ]]; then
    created=1
  elif [ -n "$created" ]; then
    say "gcloud does not create it now: $(in_a_line "$answer")"
  else
    fail "gcloud cannot create $name: $(in_a_line "$answer"); mend that and give the same command again."
  fi
}

remove_it() {
  local answer
  answer=$("${delete[@]}" 2>&1) || [[ $answer == *NOT_FOUND* || $answer == *"was not found"* ]] ||
    fail "gcloud cannot delete $name: $(in_a_line "$answer"); mend that and give the same command again."
}

not_reached() { # what was said instead: ends this after a long time
  unreached=$((unreached + 1))
  [ $unreached -lt $patience ] || fail "the workers of $name do not answer: $(in_a_line "$1")"
}

need_bucket() { # the workers share no disk, and a preempted one loses its own
  case " ${arguments[*]}" in
    *" --workdir="[gs][s3]://* | *" --workdir "[gs][s3]://*) ;;
    *) fail "the workdir must be a bucket, such as --workdir=gs://bucket/run." ;;
  esac
}

say() { echo "$(date +%FT%T) $name: $*"; }

reach_active() {
  local before='' failures=0 in_vain=0
  while true; do
    look
    if [ "$now" = "$before" ]; then in_vain=$((in_vain + 1)); else in_vain=0 && say "$now"; fi
    case $now in
      ACTIVE) return ;;
      ABSENT | SUSPENDED | FAILED)
        [ "$now" != FAILED ] || failures=$((failures + 1))
        [ $failures -lt 5 ] || fail "$name failed $failures times; see: $(quoted "${describe[@]::${#describe[@]}-1}")"
        [ $in_vain -lt $patience ] || fail "$name stays $now, whatever is asked of gcloud; see: ${gcloud[*]} list"
        if [ "$now" = ABSENT ]; then ask_for_it; else remove_it; fi
        ;;
    esac
    before=$now
    case $now in
      SUSPENDED | FAILED) [ $in_vain -gt 0 ] || continue ;; # at once: capacity goes to those who ask
    esac
    sleep "$poll"
  done
}

watch() { # true: all workers have finished; false: the machines are gone
  local answers
  while true; do
    sleep "$poll"
    look
    case $now in
      ACTIVE) ;;
      UNKNOWN) continue ;;
      *) return 1 ;;
    esac
    if ! answers=$("${progress[@]}" 2>&1); then # a worker that does not answer is about to go, or only slow
      not_reached "$answers"
      continue
    fi
    unreached=0
    case $answers in
      *babel_jax:\ failed*) fail "a worker ended with an error; see: launch/tpu_pod.sh logs $name --worker=all" ;;
      *babel_jax:\ gone*) return 1 ;; # it was booted again: `start` starts what does not run
      *babel_jax:\ running*) ;;
      *babel_jax:\ done*) return ;;
      *) return 1 ;; # machines without the project: they were made anew
    esac
  done
}

need gcloud "install the Google Cloud CLI, https://cloud.google.com/sdk/docs/install"
case $verb in
  create)
    describe_creation
    if [ -n "$dry_run" ]; then
      run "${describe[@]}"
      run "${create[@]}"
      run "${describe[@]}"
    else
      reach_active
    fi
    ;;
  run)
    need_arguments
    need_bucket
    describe_start
    describe_creation
    if [ -n "$dry_run" ]; then
      for command in describe create describe pack copy start describe progress; do
        eval "run \"\${${command}[@]}\""
      done
      exit
    fi
    "${pack[@]}"
    while true; do
      reach_active
      if "${copy[@]}" && "${start[@]}"; then
        say "runs on all workers"
        if watch; then break; fi
      else
        say "some workers cannot be reached yet"
        not_reached "see above"
        sleep "$poll"
      fi
    done
    say "finished; the machines still cost: launch/tpu_pod.sh delete $name"
    ;;
  status)
    no_more_flags
    run "${gcloud[@]}" describe "$name" "${where[@]}" '--format=yaml(name,state,tpu.nodeSpec[].node.acceleratorType)'
    run "${progress[@]}"
    ;;
  logs)
    take node 0 || true
    node=$value
    take worker 0 || true
    follow=''
    worker=$value
    if take follow; then follow=' -F'; fi
    no_more_flags
    run "${gcloud[@]}" ssh "$name" "${where[@]}" ${ssh_flags[@]+"${ssh_flags[@]}"} "--node=$node" "--worker=$worker" \
      "--command=tail -n 100$follow babel_jax_run/log"
    ;;
  delete)
    no_more_flags
    run "${delete[@]}"
    ;;
  *) fail "unknown verb '$verb'; known: create run status logs delete." ;;
esac
