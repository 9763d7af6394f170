"""Commands that are refused, and texts and places that no command may stumble over."""

import os

from babel_jax.__main__ import main

ESCAPES = "a\nb\r\x1b[31mred\x07\x9b2J\u202eabc\u2028\udcff\0"


def refused(capsys, *arguments) -> str:
    """The one line that a command ends with."""
    assert main([str(argument) for argument in arguments]) == 2
    printed = capsys.readouterr()
    line = printed.err.removesuffix("\n")
    assert line.startswith("error: ") and line.isprintable() and not printed.out
    return line


def odd_places(folder) -> list[str]:
    """What may stand where a file is expected."""
    os.mkfifo(folder / "pipe")
    (folder / "loop").symlink_to("loop")
    (folder / "broken").symlink_to("nowhere")
    (folder / "file").write_text("x")
    return ["pipe", "loop", "broken", "file/inside", "missing", ".", "/dev/null"]
