"""Small files of Python and PHP whose pairs of built-ins make prompts, and a tokenizer for them."""

import argparse
import inspect
from pathlib import Path

import tokenizers

from helpers import byte_level

BODY = "".join(f"first_{i} = second({i}) + {i}\n" for i in range(12))


def python(number: int) -> str:
    return f"start_{number} = {number}\n{BODY}size_{number} = len(name)\nprint(other, {number})\nx = None\n"


def php(number: int) -> str:
    head = f"<?php\n$start_{number} = {number};\n{BODY}"
    return f"{head}$size_{number} = strlen($name);\necho {number};\n$x = null;\n"


def write(place: Path) -> dict[str, Path]:
    """Folders py and php of twenty files each, by language."""
    for name, ending, text in (("py", ".py", python), ("php", ".php", php)):
        (place / name / "sub").mkdir(parents=True)
        for number in range(20):
            (place / name / ("sub" if number % 2 else "") / f"{number}{ending}").write_text(text(number))
    return {"python": place / "py", "php": place / "php"}


def vocabulary(size: int = 500) -> tokenizers.Tokenizer:
    return byte_level([python(1), php(2), inspect.getsource(argparse)], size)
