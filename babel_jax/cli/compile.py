"""Compiles a run's train step and probe for hardware that need not be here, and says what they cost.

python -m babel_jax compile --config=configs/gpt2.py:1b3 --topology=v5e:4x4
"""

import os

from babel_jax.cli import environment, options
from babel_jax.cli.parser import Arguments
from babel_jax.cli.settings import load_config
from babel_jax.common.errors import UserError


def add_arguments(parser) -> None:
    options.add_config(parser)
    parser.add_argument("--topology", required=True, help="v5e:4x4, v5p:4x4x4, 2*v5e:16x16 (two slices), cpu:8 or gpu")
    parser.add_argument("--run", help="which run of the study (default: the first continual one)")


def run(arguments: Arguments) -> None:
    topology = arguments.topology
    kind, _, count = topology.partition(":")
    if kind != "gpu":
        os.environ["JAX_PLATFORMS"] = "cpu"
        os.environ["TPU_SKIP_MDS_QUERY"] = "1"  # libtpu is to compile, not to look for a TPU
    from babel_jax.study import aot, plan

    aot.check_topology(topology)
    if kind == "cpu" and count:
        environment.add_xla_flag(f"--xla_force_host_platform_device_count={count}")
    study = plan.Study(load_config(arguments.config, arguments.settings))
    continual = next(name for name in study.planned(study.config.seeds[0]) if name.role == "continual")
    compiled_run, shapes = study.shapes_of(study.name(arguments.run) if arguments.run else continual)
    devices = aot.devices_of(topology)
    fits = True
    for compiled in (aot.compile_step, aot.compile_probe):
        cost = compiled(compiled_run, shapes, devices)
        if cost.program.table:
            print(cost.program.table + "\n")
        print(aot.describe(cost) + "\n")
        fits = fits and cost.fits
    if not fits:
        raise UserError(f"it does not fit {topology}; raise accumulation, set model.remat='full', or take more chips.")
