"""Before JAX is imported: the CPU, one thread as in a study, and compiled programs kept for the next call."""

import os

from babel_jax.__main__ import _use_cpu_well

os.environ.setdefault("JAX_PLATFORMS", "cpu")
_use_cpu_well(threads=1)
