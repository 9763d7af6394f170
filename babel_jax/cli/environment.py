"""What a command sets in its environment before JAX is imported, and its cache directory."""

import os
from pathlib import Path


def cache_directory() -> Path:
    """Where compiled programs are kept, and what the toolchains of the problem suites make."""
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "babel_jax"


def configure_jax(threads: int | None = None) -> None:
    """Lets all processes and runs share compiled programs; with `threads`, each process computes with that many, always the same.

    The number of threads decides the order of sums, so a study fixes it: its bits do not depend on the machine's cores.
    """
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(cache_directory() / "xla"))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # For the workers that a study starts: glibc may hand the buffers of a step back to the system and fault them in again at the
    # next one, which has cost a worker a third of its time.
    os.environ.setdefault("MALLOC_TRIM_THRESHOLD_", str(2**28))
    os.environ.setdefault("MALLOC_MMAP_THRESHOLD_", str(2**25))
    if threads:
        os.environ["NPROC"] = str(threads)
        if "xla_cpu_multi_thread_eigen" not in os.environ.get("XLA_FLAGS", ""):
            add_xla_flag(f"--xla_cpu_multi_thread_eigen={'true' if threads > 1 else 'false'}")


def add_xla_flag(flag: str) -> None:
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flag}".strip()
