#!/usr/bin/env bash
# Runs on each worker of a TPU pod, started there by tpu_pod.sh:
#
#   worker.sh start ARGUMENTS     starts `python -m babel_jax ARGUMENTS` in the background, unless something runs already
#   worker.sh state               prints "babel_jax: running", "… done", "… failed STATUS", or "… gone" after a reboot
#
# Whatever ends the command, except an error that the user must mend (status 2), is followed by another try: when one worker of
# a pod dies, JAX ends the processes of all others, and all meet again. The log is ~/babel_jax_run/log.
set -euo pipefail
run=$HOME/babel_jax_run

# After a reboot the number may belong to another process.
alive() { [ -r "$run/pid" ] && ps -o args= -p "$(cat "$run/pid")" | grep -q "worker.sh keep"; }

install() {
  if ! python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then # the images of TPU VMs bring 3.10
    python3 -m pip install --quiet --user uv
    python3 -m uv python install --quiet 3.12
    PYTHON=$(python3 -m uv python find 3.12)
    export PYTHON
  fi
  # shellcheck source=launch/venv.sh
  . launch/venv.sh
  python -m pip install --quiet --disable-pip-version-check "jax[tpu]==$(sed -n 's/^jax==//p' requirements.txt)"
}

case ${1:-} in
  -h | --help) sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0" ;;
  start)
    shift
    mkdir -p "$run"
    cp "$0" "$run/worker.sh"
    if alive; then
      echo "babel_jax: running already"
      exit
    fi
    rm -f "$run/status"
    nohup bash "$0" keep "$@" >> "$run/log" 2>&1 < /dev/null &
    echo $! > "$run/pid"
    echo "babel_jax: started"
    ;;
  keep)
    shift
    cd "$(dirname "$0")/.."
    trap 'echo $? > "$run/status"' EXIT
    install
    for try in $(seq 100); do
      status=0
      python -m babel_jax "$@" || status=$?
      case $status in 0 | 2) exit $status ;; esac
      echo "try $try ended with status $status; once more in ${RETRY_SECONDS:-10} seconds"
      sleep "${RETRY_SECONDS:-10}"
    done
    exit "$status"
    ;;
  state)
    if alive; then
      echo "babel_jax: running"
    elif [ ! -r "$run/status" ]; then
      echo "babel_jax: gone"
    elif [ "$(cat "$run/status")" = 0 ]; then
      echo "babel_jax: done"
    else
      echo "babel_jax: failed $(cat "$run/status")"
    fi
    ;;
  *)
    echo "usage: $0 start ARGUMENTS | state" >&2
    exit 2
    ;;
esac
