import logging
import subprocess
import sys

import pytest
from helpers import ROOT
from helpers.commands import ESCAPES

from babel_jax.cli.output import OneLine


def test_the_log_is_printable():
    record = logging.LogRecord("babel_jax.x", logging.WARNING, "", 0, "bad %s", (ESCAPES,), None)
    assert OneLine().format(record).isprintable()


@pytest.mark.processes
@pytest.mark.parametrize(
    "command, status",
    [
        ("PYTHONIOENCODING=ascii {} --help", 0),
        ("PYTHONIOENCODING=latin-1 {} Ω", 2),
        ("{} --help >&-", 0),
        ("{} --help 2>&- <&-", 0),
        ("{} --help > /dev/full", 2),
    ],
)
def test_outputs_that_are_narrow_closed_or_full(command, status):
    shell = command.format(f"{sys.executable} -m babel_jax")
    done = subprocess.run(["sh", "-c", shell], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == status and "Traceback" not in done.stderr
    assert done.stderr.count("\n") == (status == 2)
