"""`python -m babel_jax VERB …`: runs a verb, each a file of `cli/`. `python -m babel_jax VERB --help` explains each."""

import contextlib
import os
import signal
import sys

import babel_jax
from babel_jax.cli import output, verbs
from babel_jax.common.errors import refusal


def main(words: list[str]) -> int:
    """Runs a verb; returns the exit status. A `UserError` becomes one line on stderr and status 2."""
    try:
        if not words or words[0] in ("-h", "--help"):
            print(verbs.overview(), flush=True)
            return 0 if words else 2
        if words == ["--version"]:
            print(f"babel_jax {babel_jax.__version__}", flush=True)
            return 0
        verbs.run(words[0], words[1:])
        _wait_for_other_hosts()
        sys.stdout.flush()  # here, where a full disk is still an error that is reported
    except _preempted():
        print("preempted; all is saved, and the same command goes on where this one stopped.", file=sys.stderr)
        return 128 + signal.SIGTERM
    except KeyboardInterrupt:
        print("interrupted; the same command goes on where this one stopped.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        if output.is_read():
            raise
        return 128 + signal.SIGPIPE
    except Exception as error:
        if (refused := refusal(error)) is None:
            raise
        print(f"error: {refused}", file=sys.stderr)
        return 2
    return 0


def _wait_for_other_hosts() -> None:
    """Of several hosts, one may have more to write at the end: none leaves before all are done."""
    if hosts := sys.modules.get("babel_jax.training.hosts"):
        hosts.barrier("end")


def _preempted() -> type[BaseException] | tuple:
    """The exception of a run that ends because its machine is taken away; nothing where no run was even loaded."""
    module = sys.modules.get("babel_jax.training.preemption")
    return module.Preempted if module else ()


def command() -> None:
    """The program: `python -m babel_jax`, or `babel-jax` where the package is installed."""
    output.open_output()
    status = main(sys.argv[1:])
    if status == 2:  # threads that still wait for a lost disk or bucket would hold the process for minutes
        with contextlib.suppress(OSError):  # what could not be written has been reported
            sys.stdout.flush()
        os._exit(status)
    sys.exit(status)


if __name__ == "__main__":
    command()
