#!/usr/bin/env bash
# Trains on TPU slices of a Google Kubernetes Engine cluster, as a JobSet (https://jobset.sigs.k8s.io, installed in it).
#
#   launch/gke.sh [--dry-run] run NAME --accelerator=tpu-v5p-slice --topology=4x4x4 --image=IMAGE [FLAGS] \
#       -- train --config=configs/gpt2.py:6b7 --workdir=gs://bucket/run --run=continual
#   launch/gke.sh [--dry-run] status NAME
#   launch/gke.sh [--dry-run] logs NAME [--worker=0|all] [--follow]
#   launch/gke.sh [--dry-run] delete NAME
#
# --accelerator and --topology are the node labels cloud.google.com/gke-tpu-accelerator and -topology. FLAGS of `run`:
#   --slices=1             slices of that topology, each on a node pool of its own
#   --chips-per-node=4     what google.com/tpu counts on one node
#   --spot                 on spot nodes
#   --service-account=S    the Kubernetes service account that may write to the bucket
#   --restarts=100         after a preemption or a crash, all hosts start again and go on from the workdir
# An error that the user must mend (status 2) ends the JobSet at once. --namespace and --context go to every kubectl.
# IMAGE holds the project and JAX for TPU: docker build --file launch/Dockerfile --tag IMAGE . && docker push IMAGE
# --dry-run prints the commands, the manifest included, and does nothing.
set -euo pipefail
# shellcheck source=launch/common.sh
. "$(dirname "$0")/common.sh"
parse "$@"

kubectl=(kubectl)
for flag in context namespace; do if take "$flag"; then kubectl+=("--$flag=$value"); fi; done
pods="jobset.sigs.k8s.io/jobset-name=$name"

text() { # a word as a YAML string, which may be written as in JSON
  local word=${1//\\/\\\\}
  word=${word//\"/\\\"}
  word=${word//$'\n'/\\n}
  word=${word//$'\t'/\\t}
  printf '"%s"' "$word"
}

wanted() { # a flag that must be given -> value
  take "$1" || true
  [ -n "$value" ] || fail "--$1 is missing, such as --$1=$2"
}

number() { # a flag that counts -> value
  take "$1" "$2" || true
  case $value in '' | *[!0-9]* | 0*) fail "--$1 is '$value'; give a number from 1." ;; esac
}

describe_jobset() { # -> manifest
  local accelerator topology chips=1 side slices per_node hosts selector='' account='' image restarts word command=''
  wanted accelerator tpu-v5p-slice
  accelerator=$value
  wanted topology 4x4x4
  topology=$value
  wanted image us-docker.pkg.dev/PROJECT/REPOSITORY/babel_jax
  image=$value
  for side in ${topology//x/ }; do
    case $side in *[!0-9]*) fail "--topology is '$topology'; write it like 4x4x4." ;; esac
    chips=$((chips * side))
  done
  number slices 1
  slices=$value
  number chips-per-node $((chips < 4 ? chips : 4))
  per_node=$value
  [ $((chips % per_node)) = 0 ] || fail "$topology has $chips chips, which nodes of $per_node do not divide."
  hosts=$((chips / per_node))
  number restarts 100
  restarts=$value
  if take spot; then selector=$'\n                cloud.google.com/gke-spot: "true"'; fi
  if take service-account; then account=$'\n              serviceAccountName: '$(text "$value"); fi
  no_more_flags
  # In arguments Kubernetes reads $(X) as a variable and $$ as a dollar.
  for word in "${arguments[@]}"; do command+=$'\n                    - '$(text "${word//\$/\$\$}"); done
  # Exit status 2 fails the Job with the reason PodFailurePolicy, and that the JobSet; any other failure restarts all.
  manifest="apiVersion: jobset.x-k8s.io/v1alpha2
kind: JobSet
metadata:
  name: $name
  annotations:
    alpha.jobset.sigs.k8s.io/exclusive-topology: cloud.google.com/gke-nodepool
spec:
  failurePolicy:
    maxRestarts: $restarts
    rules:
      - action: FailJobSet
        onJobFailureReasons: [PodFailurePolicy]
  replicatedJobs:
    - name: slice
      replicas: $slices
      template:
        spec:
          completionMode: Indexed
          completions: $hosts
          parallelism: $hosts
          backoffLimit: 0
          podFailurePolicy:
            rules:
              - action: FailJob
                onExitCodes:
                  operator: In
                  values: [2]
          template:
            spec:
              restartPolicy: Never
              terminationGracePeriodSeconds: 120
              nodeSelector:
                cloud.google.com/gke-tpu-accelerator: $(text "$accelerator")
                cloud.google.com/gke-tpu-topology: $(text "$topology")$selector$account
              containers:
                - name: babel-jax
                  image: $(text "$image")
                  command: [python, -m, babel_jax]
                  args:$command
                  env:
                    - name: PYTHONUNBUFFERED
                      value: \"1\"
                  resources:
                    requests:
                      google.com/tpu: $per_node
                    limits:
                      google.com/tpu: $per_node"
}

need kubectl "install it with \`gcloud components install kubectl\`, or see https://kubernetes.io/docs/tasks/tools"
case $verb in
  run)
    need_arguments
    describe_jobset
    if [ -n "$dry_run" ]; then
      printf "%s << 'END'\n%s\nEND\n" "$(quoted "${kubectl[@]}" apply --filename=-)" "$manifest"
    else
      printf '%s\n' "$manifest" | "${kubectl[@]}" apply --filename=-
    fi
    ;;
  status)
    no_more_flags
    run "${kubectl[@]}" get jobset "$name"
    run "${kubectl[@]}" get pods "--selector=$pods" --output=wide
    ;;
  logs)
    take worker 0 || true
    [ "$value" = all ] || pods+=",batch.kubernetes.io/job-completion-index=$value"
    command=("${kubectl[@]}" logs "--selector=$pods" --tail=100 --prefix --max-log-requests=256)
    if take follow; then command+=(--follow); fi
    no_more_flags
    run "${command[@]}"
    ;;
  delete)
    no_more_flags
    run "${kubectl[@]}" delete jobset "$name"
    ;;
  *) fail "unknown verb '$verb'; known: run status logs delete." ;;
esac
