"""The package as a lab installs it: what it needs, what is an extra, and what works without one."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from babel_jax.common.errors import EXTRAS, refusal

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCKED = dict(line.split("==") for line in (ROOT / "requirements.txt").read_text().split("\n") if "==" in line)


def key(name):
    return re.sub("[-_.]+", "-", name).lower()


def asked(lines):
    return {key(one.name): one for one in map(Requirement, lines) if one.name not in ("babel_jax",)}


def test_the_lock_lies_in_the_ranges():
    locked = {key(name): version for name, version in LOCKED.items()}
    extras = PROJECT["optional-dependencies"]
    everything = [*PROJECT["dependencies"], *(line for lines in extras.values() for line in lines)]
    for name, requirement in asked(everything).items():
        assert requirement.specifier.contains(locked[name]), (requirement, locked[name])


def test_extras_are_known_by_the_names_that_are_imported():
    extras = {extra: set(asked(PROJECT["optional-dependencies"][extra])) for extra in ("corpus", "report")}
    assert {key(name): extra for name, extra in EXTRAS.items()} == {
        name: extra for extra, names in extras.items() for name in names
    }


def test_a_package_that_is_missing_is_named():
    for name, extra in EXTRAS.items():
        assert f"babel_jax[{extra}]" in str(refusal(ModuleNotFoundError(f"No module named '{name}'", name=f"{name}.x")))
    assert refusal(ModuleNotFoundError("No module named 'numpi'", name="numpi")) is None


# With an entry of None, Python finds no such module.
WITHOUT_EXTRAS = f"import sys; sys.path.insert(0, {str(ROOT)!r}); sys.modules.update(dict.fromkeys({list(EXTRAS)})); "


def without_extras(tmp_path, *words):
    program = f"from babel_jax.__main__ import command; sys.argv[1:] = {[str(word) for word in words]}; command()"
    return subprocess.run(
        [sys.executable, "-c", WITHOUT_EXTRAS + program], cwd=tmp_path, capture_output=True, text=True
    )


@pytest.mark.processes
def test_what_needs_no_extra_works_without(tmp_path):
    organism = ROOT / "configs" / "organism.py:tiny"
    steps = [f"--config.runs.primary_climb.{setting}" for setting in ("steps=4", "stop_every=0")]
    trained = without_extras(
        tmp_path, "train", f"--config={organism}", "--workdir=w", "--run=primary_climb", "--seed=0", *steps
    )
    assert trained.returncode == 0, trained.stderr[-2000:]
    reported = without_extras(tmp_path, "report", "--workdir=w")
    assert reported.returncode == 2 and "pip install 'babel_jax[report]'" in reported.stderr


@pytest.mark.processes
def test_the_version_is_said():
    said = subprocess.run([sys.executable, "-m", "babel_jax", "--version"], capture_output=True, text=True, cwd=ROOT)
    assert said.stdout == f"babel_jax {PROJECT['version']}\n"
