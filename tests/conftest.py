"""Before JAX is imported: the CPU, one thread as in a study, and compiled programs kept for the next call."""

import os

import pytest

from babel_jax.cli.environment import cache_directory, configure_jax

os.environ.setdefault("JAX_PLATFORMS", "cpu")
configure_jax(threads=1)


@pytest.fixture(scope="session")
def sandboxed():
    """The strongest sandbox that works here, for two workers; tests/suites has what each level blocks."""
    from babel_jax.suites.sandbox import open_sandbox

    with open_sandbox("rlimits", workers=2) as opened:
        yield opened


@pytest.fixture(scope="session")
def ready(sandboxed):
    """language -> its toolchain, prepared in the cache directory; a test of a language that is not installed is skipped."""
    from babel_jax.common.errors import UserError
    from babel_jax.languages.registry import LANGUAGES
    from babel_jax.suites import toolchains

    prepared = {}

    with sandboxed.reachable(cache_directory() / "toolchains") as cache:

        def get(language):
            if language not in prepared:
                try:
                    prepared[language] = toolchains.find(language)
                except UserError as missing:
                    pytest.skip(f"no program in {LANGUAGES[language].title} was run: {missing}")
                prepared[language].prepare(cache)
            return prepared[language]

        yield get


def pytest_addoption(parser):
    parser.addoption("--fuzz_cases", type=int, default=200, help="cases of test_fuzz.py (default: %(default)s)")
    parser.addoption("--fuzz_seed", type=int, default=0, help="which ones (default: %(default)s)")
