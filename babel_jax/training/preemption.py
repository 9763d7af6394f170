"""Leaving in time: a host that is about to be taken away gets SIGTERM, and the run saves itself before it ends.

On one host a signal handler sets a flag. On several, JAX's preemption service reaches all of them, whichever host was
warned, and makes them stop at the same poll: they must poll equally often, which a program that is the same everywhere does.
"""

import itertools
import signal
import threading

import jax
from jax.experimental import multihost_utils

EXIT_STATUS = 128 + signal.SIGTERM  # what a shell reports of a process that SIGTERM ended


class Preempted(Exception):
    """The run has saved itself and ends; the same command resumes it."""


_warned = threading.Event()
_polls = itertools.count()


def install() -> None:
    """Catches SIGTERM from here on. Call it in the main thread, after `hosts.initialize`."""
    if not jax.distributed.is_initialized():  # else JAX's service has its own handler, which ours would replace
        signal.signal(signal.SIGTERM, lambda number, frame: _warned.set())


def reached() -> bool:
    """True when this process is to save itself and end, on all hosts at the same poll. Cheap enough for every step."""
    if jax.distributed.is_initialized():
        return multihost_utils.reached_preemption_sync_point(next(_polls))
    return _warned.is_set()


def check() -> None:
    """Raises `Preempted` when it is time to end: for work that is simply repeated, such as a measurement."""
    if reached():
        raise Preempted
