#!/usr/bin/env bash
# The whole story in one command: makes .venv, runs the study of the embedded world, prints the path of its report.
# Interrupted at any point, the same command goes on where it stopped. Arguments go to `python -m babel_jax study`;
# `python -m babel_jax study --help` lists them.
set -euo pipefail
# shellcheck source=launch/common.sh
. "$(dirname "$0")/common.sh"
answer_help "$@"
cd "$(dirname "$0")/.."
# shellcheck source=launch/venv.sh
. launch/venv.sh
# An option is given once: these only where the arguments say nothing else.
case " $*" in *" --config="* | *" --config "*) ;; *) set -- --config=configs/organism.py "$@" ;; esac
case " $*" in *" --workdir"*) ;; *) set -- --workdir=runs/organism "$@" ;; esac
exec python -m babel_jax study "$@"
