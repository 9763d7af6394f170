"""How a program ended, as one of ten outcomes: from what the compiler and the program printed, and what ended them."""

import re
from typing import Literal, get_args

from babel_jax.suites import toolchains
from babel_jax.suites.toolchains.toolchain import Code, Execution

Outcome = Literal[
    "passed",
    "failed_assert",
    "runtime_error",
    "compile_error",
    "timeout",
    "oom",
    "output_limit",
    "no_sentinel",
    "empty",
    "infra_error",
]
OUTCOMES = get_args(Outcome)

# What compilers say of themselves: not in a line about the program, nor in one quoted from it.
COMPILER_MEMORY = re.compile(
    r"^(?!\s|.*\bprogram\.\w+[:(]).*(?:out of memory|virtual memory exhausted|cannot allocate memory|OutOfMemory|bad_alloc)",
    re.IGNORECASE | re.MULTILINE,
)
COMPILER_KILLED = re.compile(r"^\S+: fatal error: Killed signal terminated program ", re.MULTILINE)


def classify(code: Code, execution: Execution, compat: str | None = None) -> tuple[Outcome, str]:
    """(one of OUTCOMES, one line that says why), from how compiling and running ended; see the module's docstring."""
    compiled, ran = execution.compiled, execution.ran
    if ran is None:
        return _compiler_says(compiled)
    texts = _text(ran.stderr), _text(ran.stdout)
    limit = {"cpu": "timeout", "wall": "timeout", "output": "output_limit", "memory": "oom"}.get(ran.ended_by)
    if limit:
        return limit, f"ended by its {ran.ended_by} limit"
    outcome, detail = _program_says(code, texts)
    if ran.status == 0:
        goes_on = toolchains.kind(code.language).assertions_go_on
        if outcome == "failed_assert" and goes_on and compat != "mxeval":
            return outcome, detail
        if execution.sentinel_seen or compat:
            return "passed", ""
        return "no_sentinel", "left with status 0 before the tests came to their end, or took their effect away"
    if outcome is None:
        return "runtime_error", shown(f"exit status {ran.status}: {_last_line(texts[0] or texts[1])}")
    return outcome, detail


def _compiler_says(compiled) -> tuple[str, str]:
    if compiled is None:
        return "infra_error", "neither compiled nor run"
    text = _text(compiled.stderr) + "\n" + _text(compiled.stdout)
    if compiled.ended_by in ("cpu", "wall"):
        return "timeout", f"the compiler was ended by its {compiled.ended_by} limit"
    if compiled.ended_by == "output":
        return "output_limit", "the compiler printed too much"
    if compiled.ended_by == "memory" or COMPILER_MEMORY.search(text):
        return "oom", "the compiler ran out of memory"
    if COMPILER_KILLED.search(text):  # g++ goes on when the limit of processor time has killed a part of it
        return "timeout", "a part of the compiler was killed, as by its limit of processor time"
    errors = [line for line in text.splitlines() if "error" in line.lower()]
    return "compile_error", shown(errors[0] if errors else _last_line(text))


def _program_says(code: Code, texts: tuple[str, ...]) -> tuple[str | None, str]:
    """By the signs of the language: the one that stands last in standard error decides, then the last in standard output; of
    two at one place the first. "message": a failed assertion if the tests hold the message as a literal, else a runtime
    error."""
    for text in texts:
        seen = []
        for order, (outcome, pattern) in enumerate(toolchains.kind(code.language).signs):
            for match in re.finditer(pattern, text, re.MULTILINE):
                named = match.groupdict()
                where = match.start("line") if "line" in named else match.start()
                seen.append((where, -order, outcome, named.get("line") or match[0], named.get("message")))
        if seen:
            *_, outcome, line, message = max(seen)
            if outcome == "message":
                of_the_tests = message and any(f"{mark}{message.strip()}{mark}" in code.tests for mark in "\"'")
                outcome = "failed_assert" if of_the_tests else "runtime_error"
            return outcome, shown(line)
    return None, ""


def _text(output: bytes) -> str:
    """Lines of bounded length: what a program writes must not cost more than linear time to look through."""
    return "\n".join(line[:1000] for line in output.decode("utf-8", "replace").splitlines())


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no output"


def shown(text: str) -> str:
    """What a program printed, as one line that a terminal shows as it is."""
    return "".join(c if c.isprintable() else " " for c in text).strip()[:200]
