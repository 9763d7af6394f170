"""Runs in a bucket that end badly, each in a process of its own: `python -c "…; bucket_runs.killed(place)"`."""

import os
import signal

from babel_jax.common import buckets
from babel_jax.common.errors import UserError
from helpers import make_run, small_material, train

MATERIAL = small_material()
RUN = make_run({"learning_rate": 5e-3}, steps=40, checkpoint_steps=(0, 16), resume_every=10)


def killed(place: str) -> None:
    """Is killed at step 16."""

    def kill(message):
        if message["step"] == 16:
            os.kill(os.getpid(), signal.SIGKILL)

    train(RUN, MATERIAL, place, progress=kill)


def refused(place: str) -> None:
    """Prints the error that ends the run. What may pass is tried again for an instant, not for half a minute."""
    buckets.RETRIES.update(max_retries=2, initial_delay="10ms")
    try:
        train(RUN, MATERIAL, place)
    except UserError as error:
        print(error, flush=True)
    os._exit(0)
