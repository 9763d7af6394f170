"""Runs of the small world that another process trains and that are killed there."""

import os
import signal

import numpy as np

from babel_jax.training import loop
from helpers import (
    make_run,
    small_material,
    train,
)

MATERIAL = small_material()
SAVING = make_run({"learning_rate": 5e-3}, steps=40, checkpoint_steps=(0, 16, 24))


def online_run(**changes):
    stages = ({"tokens": 0, "weights": {"python": 0.8, "php": 0.2}},)
    settings = dict(steps=34, online=dict(every=10), stages=stages, resume_every=4, checkpoint_steps=(0, 20))
    return make_run({"learning_rate": 1e-2}, **(settings | changes))


def by_head(step, params, stages):
    """Weights that hang on every bit of the parameters, and the stages that it was told of."""
    share = float(np.abs(params["head"][:, 0]).mean() % 1e-3 * 1e3)
    return {"weights": {"python": share, "php": 1 - share}, "told": len(stages)}


def live_online(run_dir, kill_at: int, answered: bool) -> None:
    """A process that is killed while it chooses at `kill_at`; `answered`: two steps after the answer was written."""

    def kill():
        os.kill(os.getpid(), signal.SIGKILL)

    def next_stage(step, params, stages):
        if step == kill_at and not answered:
            kill()
        return by_head(step, params, stages)

    add = loop.Metrics.add
    loop.Metrics.add = lambda self, step, found: kill() if answered and step == kill_at + 2 else add(self, step, found)
    train(online_run(), MATERIAL, run_dir, next_stage=next_stage)


def long_run(steps: int, **changes):
    """A run that is nearly always saving."""
    settings = dict(steps=steps, resume_every=4, checkpoint_every=25)
    return make_run({"learning_rate": 3e-3}, **(settings | changes))


def live(run_dir, steps: int) -> None:
    """What the process that is killed does."""
    train(long_run(steps), MATERIAL, run_dir, progress=lambda message: print(message["step"], flush=True))
