"""The terminal, or whatever reads the output: it may be narrow, closed, or have enough."""

import contextlib
import logging
import os
import sys
from collections.abc import Iterator

from babel_jax.common.errors import printable


class OneLine(logging.Formatter):
    """Puts what is logged into one line that a terminal shows as it is."""

    def format(self, record):
        return printable(super().format(record))


def open_output() -> None:
    """Output that is closed swallows what is written; characters that it cannot show become escapes, in the log too."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):  # a lower number is taken first
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115
    sys.stdout.reconfigure(errors="backslashreplace")
    handler = logging.StreamHandler()
    handler.setFormatter(OneLine())
    logging.getLogger("babel_jax").addHandler(handler)


def is_read() -> bool:
    """False if whoever read the output has enough, as `head` does; what would still be written is then dropped."""
    try:
        print(flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return False
    return True


@contextlib.contextmanager
def progress_bar(verb: str, unit: str = "") -> Iterator:
    """A bar on stderr (tqdm's), and the function that moves it: (what is done, how many are done, of how many)."""
    from tqdm import tqdm

    interval = 0.5 if sys.stderr.isatty() else 15
    with tqdm(desc=verb, unit=unit, dynamic_ncols=True, file=sys.stderr, mininterval=interval) as bar:

        def progress(doing: str, done: int, of: int) -> None:
            bar.total = of
            bar.set_description(printable(doing), refresh=False)
            bar.update(done - bar.n)

        yield bar, progress
