"""A problem of a suite: what a model reads of it, and the program that its completion makes.

The default prompt variant of every suite is `raw`: the prompt as it is distributed. `strip_newline` leaves out the line
breaks at its end (a tokenizer may join them to what follows), `no_persona` the line "You are an expert …".
"""

import dataclasses
import re
from collections.abc import Iterable

from babel_jax.common.errors import unknown_name
from babel_jax.languages.lexical import code_only
from babel_jax.languages.registry import language
from babel_jax.suites import toolchains
from babel_jax.suites.toolchains.toolchain import Code

VARIANTS = ("raw", "strip_newline", "no_persona")
PERSONA = re.compile(r"^[^\w\n]*You(?: are|'re) an expert .*\n", re.MULTILINE)
NEEDS = {
    "compare_net_objects": "KellermanSoftware.CompareNetObjects",
    "testify": "github.com/stretchr/testify",
    "boost": "<boost/",
    "crypto": "<openssl/",
}


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
    known_bad: a word of `suite_files.KNOWN_BAD` and why; "" otherwise.
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
        """What distinguishes a problem from all others, also in files of completions and of verdicts."""
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
    """The program that a completion of `prompt_text(problem, variant)` makes of a problem.

    Raises:
      UserError: the language has no toolchain.
    """
    kind, prompt = toolchains.kind(problem.language), prompt_text(problem, variant)
    body = kind.body(problem.prefix, prompt + completion, problem.tests)
    before = code_only(problem.prefix + prompt, language(problem.language))
    declared = {problem.entry_point, *re.findall(rf"(?:{kind.declaring})\s+(\w+)", before)} - {""}
    return Code(problem.language, body + "\n", problem.tests, problem.harness, problem.needs, tuple(sorted(declared)))


def asked_in(suites: Iterable[Suite]) -> list[Problem]:
    """The problems of all suites."""
    return [problem for suite in suites for problem in suite.problems]


def common(problems: Iterable[Problem]) -> dict[str, set[int]]:
    """Per suite, the numbers of the tasks that stand in all of its languages."""
    numbers = {}
    for problem in problems:
        numbers.setdefault(problem.suite, {}).setdefault(problem.language, set()).add(problem.number)
    return {suite: set.intersection(*by_language.values()) for suite, by_language in numbers.items()}
