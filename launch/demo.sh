#!/usr/bin/env bash
# The whole story in one command: makes .venv, runs the study of the embedded world, prints where its report lies.
# Interrupted at any point, the same command goes on where it stopped. Arguments go to `python -m babel_jax study`.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=launch/venv.sh
. launch/venv.sh
case " $*" in *" --workdir"*) ;; *) set -- --workdir=runs/organism "$@" ;; esac
exec python -m babel_jax study --config=configs/organism.py "$@"
