"""No command line, config or file ends in a traceback. `--fuzz_cases=3000 --fuzz_seed=1`: more of them, or others."""

import shutil
import subprocess
import sys

import pytest
from fuzz.__main__ import Outcome, fault
from fuzz.cases import Case
from helpers import ROOT

# New verbs, by what `run` does with the value of their one argument.
PLANTED = {
    "planted_traceback": ('"--depth", type=int, default=0', "print(1 / max(arguments.depth, 0))"),
    "planted_two_lines": (
        '"place"',
        """
    place = ascii(arguments.place)
    print("error: once", file=sys.stderr)
    raise UserError(f"no {place}")""",
    ),
    "planted_control": ('"--name", required=True', "print(arguments.name, file=sys.stderr)"),
    "planted_marks": (
        '"--name", required=True',
        """
    Path("marked").touch()
    raise UserError(f"no {ascii(arguments.name)}")""",
    ),
    "planted_loop": (
        '"--name"',
        """
    while True:
        pass""",
    ),
}
VERB = '''"""Planted."""

import sys
from pathlib import Path

from babel_jax.common.errors import UserError


def add_arguments(parser):
    parser.add_argument({})


def run(arguments):
    {}
'''
CONFIG = """

def _planted(config_of):
    def load(*arguments):
        config = config_of(*arguments)
        sum(config[f"planted{i}"] for i in range(10))
        return config

    return load


load_config = _planted(load_config)
"""


def fuzz(root, folder, *arguments) -> str:
    """What `python -m tests.fuzz` of the package in a folder prints; its base is made in `root`."""
    command = [sys.executable, "-m", "tests.fuzz", f"--root={root}", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="backslashreplace")
    assert done.returncode in (0, 1) and "cases" in done.stdout, done.stdout + done.stderr
    print(done.stdout)
    return done.stdout


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz")


@pytest.mark.processes
def test_no_case_ends_in_a_traceback(root, pytestconfig):
    count, seed = pytestconfig.getoption("fuzz_cases"), pytestconfig.getoption("fuzz_seed")
    printed = fuzz(root, ROOT, f"--cases={count}", f"--seed={seed}", f"--patience={2 if count <= 300 else 60}")
    assert f"{count} cases, 0 at fault" in printed, printed


@pytest.mark.slow
@pytest.mark.processes
def test_planted_faults_are_found(root, tmp_path):
    """New verbs and new keys, none of which the fuzzing names, each with a fault of its own."""
    for name in ("babel_jax", "tests/fuzz"):
        shutil.copytree(ROOT / name, tmp_path / name)
    cli, plan = tmp_path / "babel_jax/cli", tmp_path / "babel_jax/study/plan.py"
    for name, (argument, body) in PLANTED.items():
        (cli / f"{name}.py").write_text(VERB.format(argument, body.strip()))
    (cli / "verbs.py").write_text(f"{(cli / 'verbs.py').read_text()}\n\nVERBS += {tuple(PLANTED)}\n")
    (cli / "settings.py").write_text((cli / "settings.py").read_text() + CONFIG)
    keys = "{f'planted{i}': schema.Key(schema.Anything(), 1, 'unchecked') for i in range(10)}"
    plan.write_text(f"{plan.read_text()}\n\nfrom babel_jax.common import schema\n\nSTUDY.keys.update({keys})\n")
    printed = fuzz(root, tmp_path, "--cases=400", "--patience=20")
    for line in (
        "run: ZeroDivisionError",
        "load: TypeError",
        "status 2 and 2 lines of error: error: once",
        "raw '\\x1b'",
        "refused, and wrote marked",
        "hangs reading in run",
    ):
        assert line in printed, line


@pytest.mark.parametrize(
    "status, said, wrote, wrong",
    [
        (0, "", ("out",), None),
        (0, "train:  50%|#####     |\rtrain: 100%|##########|\x1b[A\n", (), None),
        (130, "interrupted; go on.\n", (), None),
        (2, "error: there is no config.\n", (), None),
        (2, "error: there is no\nconfig.\n", (), "status 2 and 1 lines of error"),
        (2, "error: a.\nerror: b.\n", (), "status 2 and 2 lines of error"),
        (2, "", (), "status 2 and 0 lines of error"),
        (0, "error: a.\n", (), "status 0 and 1 lines of error"),
        (2, "error: no \x1b[31m.\n", (), "raw '\\x1b'"),
        (2, "error: no \u2028.\n", (), "raw '\\u2028'"),
        (2, "error: a.\n", ("study/.lock",), None),
        (2, "error: a.\n", ("study/config.json",), "refused, and wrote study/config.json"),
        (0, "", ("../evil",), "wrote outside"),
        (0, "x.py:1: RuntimeWarning: divide by zero\n", (), "warning: RuntimeWarning"),
        (1, 'Traceback (most recent call last):\n  File "/babel_jax/a.py", line 3, in f\nKeyError\n', (), "a.py:3:f: KeyError"),
        (139, "", (), "status 139"),
    ],
)  # fmt: skip
def test_what_is_a_fault(status, said, wrote, wrong):
    wrong_with_it = fault(Outcome(Case(("report",), []), status, said, "", wrote), patience=2)
    assert wrong_with_it is None if wrong is None else wrong in wrong_with_it


@pytest.mark.parametrize(
    "ended, patience, wrong", [("at work in f", 60, False), ("reading in f", 2, False), ("killed", 2, True)]
)
def test_a_case_that_ctrl_c_ends_is_not_a_fault_unless_it_goes_on(ended, patience, wrong):
    assert bool(fault(Outcome(Case((), []), 130, "interrupted\n", ended, ()), patience)) == wrong
    assert fault(Outcome(Case((), []), 130, "", "reading in f", ()), 60)
