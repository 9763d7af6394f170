"""Says what this machine has, and tries it: devices, the sandbox, the languages' toolchains.

python -m babel_jax doctor
"""

from babel_jax.cli import environment
from babel_jax.cli.parser import Arguments

WHAT_NEXT = """
next: install what is missing above, or see everything work in two minutes:
  python -m babel_jax study --config=configs/organism.py:tiny --workdir=runs/tiny
"""


def add_arguments(parser) -> None:
    """It has none."""


def run(arguments: Arguments) -> None:
    import jax

    from babel_jax.suites import capabilities

    print(f"jax {jax.__version__}: {jax.device_count()} x {jax.devices()[0].device_kind}")
    print(capabilities.table(capabilities.examine(environment.cache_directory() / "toolchains")))
    print(WHAT_NEXT)
