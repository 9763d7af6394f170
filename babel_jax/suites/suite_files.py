"""Reads suites as they are distributed: `load("mxeval:DIRECTORY")`; their faults are named."""

import dataclasses
import functools
import hashlib
import importlib.resources
import json
import os
from collections.abc import Iterable
from pathlib import Path

from babel_jax.common import files
from babel_jax.common.errors import UserError, unknown_name
from babel_jax.languages.registry import LANGUAGES, language
from babel_jax.suites.lines import Line
from babel_jax.suites.problems import Problem, Suite, SuiteFile
from babel_jax.suites.suite_formats import FORMATS

# Reasons in known_bad.json begin with one of these words.
KNOWN_BAD = {
    "no_program_passes": "the tests cannot be compiled, or contradict the task",
    "reference_fails": "the solution that the suite ships does not pass its own tests",
    "prompt_mistaken": "the text or an example in the prompt is wrong; the tests can be passed",
    "disputed": "users of the suite list it among its mistakes; it was not verified here",
}
LONGEST_ID = 500  # characters of a task's name
UNREADABLE = "fetch the file again, or mend it."


def load(spec: str, languages: Iterable[str] = ()) -> Suite:
    """Reads a suite.

    Args:
      spec: "FORMAT:PLACE"; PLACE is a .jsonl or .jsonl.gz file, or a folder in which all of these are read.
      languages: keep only these. None named: all, and a line in a language that LANGUAGES lacks is an error.

    Raises:
      UserError: an unknown format or language, no such file, a line that cannot be read (with its number), a problem
        without tests, two problems of one id.
    """
    name, separator, place = spec.partition(":")
    if not separator or not place:
        raise UserError(f"'{spec}' names no suite; write FORMAT:PLACE with a format of {', '.join(FORMATS)}.")
    if name not in FORMATS:
        raise unknown_name("format", name, FORMATS)
    form = FORMATS[name]
    languages = tuple(language(name).name for name in languages)
    root, paths = _files(place)
    problems, sources = [], {}
    for path in paths:
        source = path.relative_to(root).as_posix()
        content, of_file = files.read_bytes(path, UNREADABLE), []
        for number, fields in files.json_lines(content, path, UNREADABLE):
            line = Line(fields, f"{path}, line {number}")
            problem = dataclasses.replace(form.problem(line), source=source)
            if not languages or problem.language in languages:
                of_file.append(_checked(problem, line.where))
        if of_file:
            licence = " and ".join(sorted({form.licences.get(p.suite, form.licence) for p in of_file}))
            sources[source] = SuiteFile(hashlib.sha256(content).hexdigest(), licence, len(of_file))
        problems += of_file
    _refuse_copies(problems)
    if not problems:
        raise UserError(f"{place} has no problem{' in ' + ', '.join(languages) if languages else ''}; check the path.")
    return Suite(name, tuple(problems), sources)


def _files(place: str) -> tuple[Path, list[Path]]:
    """(the folder that file names are relative to, the files)."""
    there = files.path(os.path.expanduser(place))
    if not files.is_local(there):
        raise UserError(f"the suite {place} is in a bucket; copy it to a disk of this machine.")
    if not there.exists():
        raise UserError(f"no .jsonl or .jsonl.gz file at {place}; check the path of the suite.")
    if not there.is_dir():
        return there.parent, [there]
    paths = sorted(path for path in there.rglob("*") if path.name.endswith((".jsonl", ".jsonl.gz")) and path.is_file())
    if not paths:
        raise UserError(f"no .jsonl or .jsonl.gz file at {place}; check the path of the suite.")
    return there, paths


def _checked(problem: Problem, where: str) -> Problem:
    """A line's problem, with what known_bad.json says of it."""
    if problem.language not in LANGUAGES:
        raise UserError(
            f"{where} is in '{problem.language}', which is not a known language; name the languages that you want."
        )
    if not problem.tests.strip():
        raise UserError(f"{where}, {problem.task_id}, has no tests; remove the line, or fetch the file again.")
    files.safe_name(problem.suite, f"{where}: 'suite'")  # figures are called so
    if not 0 <= problem.number < 2**31:  # a column of the measurements
        raise UserError(f"{where}: the number of the task is {problem.number}; give one from 0 on, below 2^31.")
    if not problem.task_id or len(problem.task_id) > LONGEST_ID:
        raise UserError(f"{where}: 'task_id' must have 1 to {LONGEST_ID} characters.")
    reason = known_bad().get(problem.suite, {}).get(problem.language, {}).get(problem.task_id, problem.known_bad)
    return dataclasses.replace(problem, known_bad=reason)


def _refuse_copies(problems):
    seen = {}
    for problem in problems:
        key = problem.key
        if key in seen:
            raise UserError(
                f"{problem.task_id} ({problem.suite}, {problem.language}) stands in {seen[key]} and again in "
                f"{problem.source}; name one of the files, or remove the copy."
            )
        seen[key] = problem.source


@functools.cache
def known_bad() -> dict[str, dict[str, dict[str, str]]]:
    """Suite -> language -> task id -> why its verdicts mean little; reasons begin with a word of KNOWN_BAD."""
    return json.loads((importlib.resources.files(__package__) / "known_bad.json").read_text(encoding="utf-8"))
