"""Samples of the public suites, and problems of one's own."""

import json

from babel_jax.suites import suite_files
from babel_jax.suites.suite_formats import FORMATS
from helpers import ROOT

SUITES = ROOT / "tests" / "samples"
SPECS = {name: f"{name}:{SUITES / name}" for name in FORMATS}
OWN = {"suite": "s", "language": "python", "task_id": "a", "number": 1, "prompt": "p", "tests": "t"}


def write(path, *records):
    """Writes records as JSON Lines; returns the path."""
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def first(spec, language):
    """The first problem of a suite in a language."""
    return suite_files.load(spec, [language]).problems[0]
