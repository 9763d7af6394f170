"""How a command ends: its status, and what it prints."""

import signal
import subprocess
import sys

import pytest


@pytest.mark.processes
@pytest.mark.parametrize(
    "where, status, error", [("outside", 128 + signal.SIGPIPE, ""), ("inside", 1, "BrokenPipeError")]
)
def test_a_reader_that_has_enough_ends_the_output_quietly(where, status, error):
    """As `| head` does; any other broken pipe is a fault of ours and stays one."""
    code = """if True:
        import sys
        from babel_jax.__main__ import main
        from babel_jax.cli import doctor
        def run(arguments):
            if sys.argv[1] == "inside":
                raise BrokenPipeError
            for _ in range(100_000):
                print("line", flush=True)
        doctor.run = run
        sys.exit(main(["doctor"]))"""
    with subprocess.Popen(
        [sys.executable, "-c", code, where], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        process.stdout.readline()
        if where == "outside":
            process.stdout.close()
        printed = process.stderr.read()
    assert process.returncode == status and printed.strip().endswith(error) and bool(printed) == bool(error)
