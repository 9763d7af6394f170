"""Before JAX is imported: the CPU, one thread as in a study, and compiled programs kept for the next call."""

import os

import pytest

from babel_jax.cli.environment import configure_jax

os.environ.setdefault("JAX_PLATFORMS", "cpu")
configure_jax(threads=1)


@pytest.fixture(scope="session")
def sandboxed():
    """The strongest sandbox that works here, for two workers; test_sandbox.py tells what each level holds back."""
    from babel_jax.suites.sandbox import open_sandbox

    with open_sandbox("rlimits", workers=2) as opened:
        yield opened


@pytest.fixture(scope="session")
def ready(tmp_path_factory, sandboxed):
    """language -> its toolchain, made ready once for all tests; a test of a language that is not installed is skipped."""
    from babel_jax.common.errors import UserError
    from babel_jax.languages.registry import LANGUAGES
    from babel_jax.suites import toolchains

    found = {}

    with sandboxed.reachable(tmp_path_factory.mktemp("toolchains")) as cache:

        def get(language):
            if language not in found:
                try:
                    found[language] = toolchains.find(language)
                except UserError as missing:
                    pytest.skip(f"no program in {LANGUAGES[language].title} was run: {missing}")
                found[language].prepare(cache)
            return found[language]

        yield get


def pytest_addoption(parser):
    parser.addoption("--fuzz_cases", type=int, default=300, help="cases of test_fuzz.py (default: %(default)s)")
    parser.addoption("--fuzz_seed", type=int, default=0, help="which ones (default: %(default)s)")
