"""Which completions pass: every program is compiled and run once, and how it ended becomes one of ten outcomes.

The rule (strict, `compat=None`): a program passes if it exits with 0 after the tests came to their end, which a random
mark tells that is printed behind them: leaving early with status 0 is `no_sentinel`. Go's imports are repaired (a
suite's prompt imports what its completion may not use, and Go refuses that). With `compat` a peer's rule judges instead:
"mxeval" and "multipl_e" look at the exit status alone (the latter also at what a failed Debug.Assert of C# prints), with
their own limits of time and without any repair.

Processor seconds decide about `timeout`, and they are the same on a busy machine; a sample that timed out is run again
alone once the others are done, and both verdicts are kept. `infra_error` says that the machine failed and not the program.
"""

import concurrent.futures
import dataclasses
import errno
import fcntl
import json
import os
import queue
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from babel_jax import files
from babel_jax.errors import UserError, unknown_name
from babel_jax.evaluation import problems
from babel_jax.evaluation.problems import Code, Problem
from babel_jax.evaluation.sandbox import Limits, Sandbox, SandboxError
from babel_jax.evaluation.toolchains import Execution, Toolchain

OUTCOMES = (
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
)


@dataclasses.dataclass(frozen=True)
class Sample:
    """A completion of a problem. `index`: which of the problem's samples; `ended`: why writing it ended ("stop", "block",
    "length", "given", …), which is kept beside the verdict."""

    problem: Problem
    index: int
    completion: str
    ended: str


@dataclasses.dataclass(frozen=True)
class Rule:
    """How a program is judged. `patient`: wall time grows with the load of the machine, so that it never decides."""

    sentinel: bool
    repair_imports: bool
    compile_limits: Limits
    run_limits: Limits
    patient: bool

    @property
    def hash(self) -> str:
        """Of all that decides: another rule, another verdict."""
        return files.content_hash([dataclasses.asdict(self), SIGNS, COMPILER_MEMORY.pattern])


def _limits(cpu: float, wall: float, **more) -> Limits:
    return Limits(cpu_seconds=cpu, wall_seconds=wall, **more)


COMPILING = dict(memory_bytes=2 << 30, tmp_bytes=256 << 20)
RULES = {
    None: Rule(True, True, _limits(60, 180, **COMPILING), _limits(10, 30), patient=True),
    "mxeval": Rule(False, False, _limits(100, 100, **COMPILING), _limits(10, 10), patient=False),
    "multipl_e": Rule(False, False, _limits(15, 15, **COMPILING), _limits(15, 15), patient=False),
}
COMPAT = tuple(name for name in RULES if name is not None)

# A correct program a language. It is run at the end: if it fails, then what failed before it says nothing.
CONTROLS = {
    "python": ("def f():\n    return 1\n", "assert f() == 1\n"),
    "php": ("<?php\nfunction f() { return 1; }\n", 'if (f() !== 1) { throw new Exception("wrong"); }\n'),
    "csharp": (
        "using System;\npublic class Program\n{\n    public static int F() { return 1; }\n",
        '    public static void Main(string[] args) { if (F() != 1) { throw new Exception("wrong"); } }\n}\n',
    ),
    "go": (
        "package main\n\nfunc f() int { return 1 }\n",
        'func main() {\n\tif f() != 1 {\n\t\tpanic("wrong")\n\t}\n}\n',
    ),
    "cpp": ("#include <vector>\nint f() { return 1; }\n", "int main() { return f() == 1 ? 0 : 1; }\n"),
}

# What a language says when a program ends badly: what stands last in standard error decides, then what stands last in
# standard output; of two signs at one place the first here. "message": a failed assertion if the tests hold the message
# as a literal, else a runtime error.
SIGNS = {
    "python": (
        ("oom", r"^MemoryError\b.*"),
        ("compile_error", r"\A(?!(?:.*\n)*Traceback \(most)(?:.*\n)*?(?P<line>(?:Syntax|Indentation|Tab)Error\b.*)"),
        ("failed_assert", r"^AssertionError\b.*"),
        ("message", r"^(?:\w+\.)*\w*(?:Error|Exception)\b(?:: (?P<message>.*))?"),
    ),
    "php": (
        ("oom", r"^(?:PHP )?Fatal error: +(?:Allowed memory size|Out of memory).*"),
        ("compile_error", r"^(?:PHP )?Parse error: (?!.*eval\(\)'d code).*"),
        ("failed_assert", r"^(?:PHP )?Fatal error: +Uncaught AssertionError\b.*"),
        ("message", r"^(?:PHP )?Fatal error: +Uncaught [\w\\]+(?:: (?P<message>.*?))? in .*"),
        ("runtime_error", r"^(?:PHP )?Fatal error: .*"),
    ),
    "csharp": (
        ("oom", r"(?P<line>System\.OutOfMemoryException\b.*|Garbage collector could not allocate.*)"),
        ("compile_error", r"\Aerror: the program defines .*"),  # shims/Launcher.cs, before the program runs
        ("failed_assert", r"^(?P<line>Fail: Debug\.Assert.*|Fail:.*(?=\n.*DefaultTraceListener\.Fail ))"),
        ("message", r"^\[ERROR\] FATAL UNHANDLED EXCEPTION: (?P<line>[^\s:]+(?:: (?P<message>.*))?)"),
    ),
    "go": (
        ("oom", r"^(?:fatal error: |runtime: )(?:.*out of memory|cannot allocate memory).*"),
        ("message", r"^panic: (?P<message>.*?)(?: \[recovered\])?$"),
        ("runtime_error", r"^fatal error: .*"),
        ("failed_assert", r"^ *--- FAIL: .*"),
    ),
    "cpp": (
        ("oom", r"^terminate called after throwing an instance of 'std::bad_(?:array_new_length|alloc)'.*"),
        ("failed_assert", r"^.*Assertion `.*' failed\.$"),
        ("message", r"^terminate called .*\n  what\(\):  (?P<message>.*)"),
        ("runtime_error", r"^terminate called .*"),
    ),
}
# What compilers say of themselves: not in a line about the program, nor in one quoted from it.
COMPILER_MEMORY = re.compile(
    r"^(?!\s|.*\bprogram\.\w+[:(]).*(?:out of memory|virtual memory exhausted|cannot allocate memory|OutOfMemory|bad_alloc)",
    re.IGNORECASE | re.MULTILINE,
)
COMPILER_KILLED = re.compile(r"^\S+: fatal error: Killed signal terminated program ", re.MULTILINE)
IDENTITY = ("program", "toolchain", "level", "limits", "compat")  # the same in all: the same verdict


def classify(code: Code, execution: Execution, compat: str | None = None) -> tuple[str, str]:
    """(one of OUTCOMES, one line that says why), from how compiling and running ended; see the module's docstring."""
    compiled, ran = execution.compiled, execution.ran
    if ran is None:
        return _compiler_said(compiled)
    texts = _text(ran.stderr), _text(ran.stdout)
    limit = {"cpu": "timeout", "wall": "timeout", "output": "output_limit", "memory": "oom"}.get(ran.ended_by)
    if limit:
        return limit, f"ended by its {ran.ended_by} limit"
    outcome, detail = _program_said(code, texts)
    if ran.status == 0:
        if outcome == "failed_assert" and code.language == "csharp" and compat != "mxeval":
            return outcome, detail  # Debug.Assert only writes, and the program goes on
        if execution.sentinel_seen or compat:
            return "passed", ""
        return "no_sentinel", "left with status 0 before the tests came to their end, or took their effect away"
    if outcome is None:
        return "runtime_error", _line(f"exit status {ran.status}: {_last_line(texts[0] or texts[1])}")
    return outcome, detail


def _compiler_said(compiled) -> tuple[str, str]:
    if compiled is None:
        return "infra_error", "neither compiled nor run"
    text = _text(compiled.stderr) + "\n" + _text(compiled.stdout)
    if compiled.ended_by in ("cpu", "wall"):
        return "timeout", f"the compiler was ended by its {compiled.ended_by} limit"
    if compiled.ended_by == "output":
        return "output_limit", "the compiler said too much"
    if compiled.ended_by == "memory" or COMPILER_MEMORY.search(text):
        return "oom", "the compiler ran out of memory"
    if COMPILER_KILLED.search(text):  # g++ goes on when the limit of processor time has killed a part of it
        return "timeout", "a part of the compiler was killed, as by its limit of processor time"
    errors = [line for line in text.splitlines() if "error" in line.lower()]
    return "compile_error", _line(errors[0] if errors else _last_line(text))


def _program_said(code: Code, texts: tuple[str, ...]) -> tuple[str | None, str]:
    for text in texts:
        found = []
        for order, (outcome, pattern) in enumerate(SIGNS.get(code.language, ())):
            for match in re.finditer(pattern, text, re.MULTILINE):
                named = match.groupdict()
                where = match.start("line") if "line" in named else match.start()
                found.append((where, -order, outcome, named.get("line") or match[0], named.get("message")))
        if found:
            *_, outcome, line, message = max(found)
            if outcome == "message":
                told = message and any(f"{mark}{message.strip()}{mark}" in code.tests for mark in "\"'")
                outcome = "failed_assert" if told else "runtime_error"
            return outcome, _line(line)
    return None, ""


def _text(output: bytes) -> str:
    """Lines of bounded length: what a program writes must not cost more than linear time to look through."""
    return "\n".join(line[:1000] for line in output.decode("utf-8", "replace").splitlines())


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no output"


def _line(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text).strip()[:200]


def judge(
    samples: Sequence[Sample],
    sandbox: Sandbox,
    toolchains: Mapping[str, Toolchain],
    path,
    *,
    compat: str | None = None,
    variant: str = "raw",
    jobs: int = 1,
    cache=None,
    progress: Callable[[dict], None] = lambda message: None,
) -> list[dict]:
    """The verdicts of all samples, in their order; what stands in `path` already is not judged again.

    A program that is the same as another's (same text, toolchain, limits, rule and level of the sandbox) is run once.

    Args:
      sandbox: opened for at least `jobs` workers.
      toolchains: language -> a toolchain that is prepared.
      path: JSON Lines on a disk: a verdict is appended as soon as it is known, and the last one on a sample counts.
        A last line that was torn by a crash is dropped.
      compat: None or one of COMPAT.
      variant: of the prompts, see `problems.code`.
      jobs: programs at a time.
      cache: a folder whose verdicts are used and added to: the same program at another checkpoint need not be run. None:
        only those of `path`.
      progress: called with {"doing", "done", "of"}.

    Returns:
      dicts: suite, language, task_id, number, sample, variant, outcome, first_outcome (None; or "timeout", where this is
      the verdict of running alone again), detail, ended, program, toolchain, level, limits (hashes), compat,
      repair_imports, seconds {"compile", "run"} of wall time (None where nothing ran).

    Raises:
      UserError: a language without a toolchain; `path` holds verdicts on other programs or by other rules.
    """
    if compat not in RULES:
        raise unknown_name("compat rule", compat, COMPAT)
    bench = _Bench(sandbox, toolchains, compat, variant, jobs)
    plan = [(bench.about(sample), sample) for sample in samples]
    if len({_name(about) for about, _ in plan}) < len(plan):
        raise ValueError("two samples of one problem have the same index")
    book = _Book(path, [about for about, _ in plan], cache)
    groups: dict[tuple, list] = {}
    for about, sample in plan:
        known = book.known(about)
        if known is None:
            groups.setdefault(_identity(about), []).append((about, sample))
        elif not _settled(book.rows.get(_name(about))):
            book.add(about, known, ran=False)
    first, again = [], []
    for group in groups.values():
        (again if any(book.timed_out(about) for about, _ in group) else first).append(group)
    done = len(samples) - sum(map(len, groups.values()))

    def record(group, verdict):
        for about, _ in group:
            book.add(about, verdict)

    def tell(doing, group):
        nonlocal done
        done += len(group)
        progress({"doing": doing, "done": done, "of": len(samples)})

    def record_first(group, verdict):
        record(group, verdict)
        if verdict["outcome"] == "timeout":
            again.append(group)

    def tell_first(group, verdict):
        if verdict["outcome"] != "timeout":
            tell("judging", group)

    try:
        bench.each(first, record_first, tell_first)
        for group in again:
            record(group, bench.verdict(group[0][1], slot=0) | {"first_outcome": "timeout"})
            tell("judging alone what timed out", group)
    finally:
        try:
            for language in book.languages_with_failures():
                why = bench.broken(language)
                if why:
                    book.withdraw(language, f"{language} fails on a correct program: {why}")
        finally:
            book.close()
    return [book.rows[_name(about)] for about, _ in plan]


def read(path) -> list[dict]:
    """The verdicts in a file: of those on one sample the last; without a last line that was torn.

    Raises:
      UserError: the file cannot be read, or a line of it is no verdict.
    """
    return list({_name(row): row for row in _lines(Path(path))}.values())


def _lines(path: Path) -> list[dict]:
    rows = []
    for number, line in enumerate(_whole_lines(path).splitlines(), 1):
        try:
            row = json.loads(line)
            if row["outcome"] not in OUTCOMES:
                raise ValueError(f"unknown outcome {row['outcome']}")
            _name(row), _identity(row)
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{path}, line {number}, is no verdict ({error!r}); delete the line and run again."
            ) from error
        rows.append(row)
    return rows


def _whole_lines(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read the verdicts {path}: {error.strerror}; check the path.") from error
    return content[: content.rfind(b"\n") + 1]


def _identity(row: dict) -> tuple:
    return tuple(row[name] for name in IDENTITY)


def _name(row: dict) -> tuple:
    return row["suite"], row["language"], row["task_id"], row["sample"]


class _Bench:
    """Runs samples by one rule."""

    def __init__(self, sandbox, toolchains, compat, variant, jobs):
        self.sandbox, self.toolchains, self.compat, self.variant, self.jobs = sandbox, toolchains, compat, variant, jobs
        self.rule = RULES[compat]

    def about(self, sample: Sample) -> dict:
        """What a row says beside the verdict."""
        p = sample.problem
        if p.language not in self.toolchains:
            raise UserError(
                f"there is no toolchain for {p.language}: install it (see doctor), or leave the language out."
            )
        code = problems.code(p, sample.completion, self.variant)
        about = dict(suite=p.suite, language=p.language, task_id=p.task_id, number=p.number, sample=sample.index)
        about |= dict(variant=self.variant, ended=sample.ended, repair_imports=self.repairs(p.language))
        return about | dict(
            program=files.content_hash(dataclasses.asdict(code)),
            toolchain=self.toolchains[p.language].fingerprint,
            level=self.sandbox.level,
            limits=self.rule.hash,
            compat=self.compat,
        )

    def repairs(self, language: str) -> bool:
        return self.rule.repair_imports and language == "go"

    def each(self, groups: list, record: Callable, tell: Callable) -> None:
        """Calls `record(group, verdict)`, then `tell` likewise, in this thread as verdicts come.

        Where one of them raises, what still ran is recorded as well.
        """
        slots: queue.SimpleQueue = queue.SimpleQueue()
        for slot in range(self.jobs):
            slots.put(slot)

        def run(sample):
            slot = slots.get()
            try:
                return self.verdict(sample, slot)
            finally:
                slots.put(slot)

        with concurrent.futures.ThreadPoolExecutor(self.jobs) as pool:
            futures = {pool.submit(run, group[0][1]): group for group in groups}
            recorded = set()
            try:
                for future in concurrent.futures.as_completed(futures):
                    verdict = future.result()
                    recorded.add(future)
                    record(futures[future], verdict)
                    tell(futures[future], verdict)
            finally:
                pool.shutdown(cancel_futures=True)
                for future in futures.keys() - recorded:
                    if not future.cancelled() and future.exception() is None:
                        record(futures[future], future.result())

    def verdict(self, sample: Sample, slot: int) -> dict:
        """{"outcome", "first_outcome", "detail", "seconds"} of one sample."""
        code = problems.code(sample.problem, sample.completion, self.variant)
        if self.compat is None and not sample.completion.strip():
            return _verdict("empty", "nothing was written")
        return self.run(code, slot)

    def run(self, code: Code, slot: int) -> dict:
        toolchain = self.toolchains[code.language]
        lacking = sorted(set(code.needs) & set(toolchain.missing))
        if lacking:
            return _verdict("infra_error", f"needs {', '.join(lacking)}, which is not installed")
        try:
            code.body.encode(), code.tests.encode()
        except UnicodeEncodeError:
            return _verdict("compile_error", "the program holds surrogates, which no file can")
        try:
            execution = toolchain.execute(
                self.sandbox,
                code,
                sentinel=secrets.token_hex(16) if self.rule.sentinel else None,
                compile_limits=self.patient(self.rule.compile_limits),
                run_limits=self.patient(self.rule.run_limits),
                slot=slot,
                repair_imports=self.repairs(code.language),
            )
        except (SandboxError, OSError, UserError) as error:
            return _verdict("infra_error", _line(f"{type(error).__name__}: {error}"))
        parts = {"compile": execution.compiled, "run": execution.ran}
        return _verdict(*classify(code, execution, self.compat)) | {
            "seconds": {name: part and round(part.wall_seconds, 3) for name, part in parts.items()}
        }

    def patient(self, limits: Limits) -> Limits:
        if not self.rule.patient:
            return limits
        load = max(1.0, (os.getloadavg()[0] + self.jobs) / (os.cpu_count() or 1))
        return dataclasses.replace(limits, wall_seconds=limits.wall_seconds * load)

    def broken(self, language: str) -> str:
        """Why a correct program of the language does not pass, "" if it does."""
        verdict = self.run(Code(language, *CONTROLS[language]), slot=0)
        return "" if verdict["outcome"] == "passed" else f"{verdict['outcome']}, {verdict['detail']}"


def _verdict(outcome: str, detail: str) -> dict:
    return dict(outcome=outcome, first_outcome=None, detail=detail, seconds={"compile": None, "run": None})


class _Book:
    """The rows of a file of verdicts, those of a cache, and what this session adds to both."""

    def __init__(self, path, plan: list[dict], cache):
        self.path = Path(path)
        self.rows: dict[tuple, dict] = {}
        self.same: dict[tuple, dict] = {}
        self.added: dict[tuple, dict] = {}  # what was run in this session
        self.cached = Path(cache) / "verdicts.jsonl" if cache is not None else None
        if self.cached is not None and self.cached.exists():
            self._remember(_lines(self.cached))
        if self.path.exists():
            rows = _lines(self.path)
            self.rows = {_name(row): row for row in rows}
            self._remember(self.rows.values())
            _refuse_others(self.path, self.rows, plan)
        self.file = self._opened(self.path)
        self.begun = os.fstat(self.file.fileno()).st_size

    @staticmethod
    def _opened(path: Path, wait: bool = False):
        """The file, open for appending behind its last whole line; every write is one line and goes to the system at once.

        It is this process's alone until it is closed: else what is cut off could be a line that another one is writing.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = path.open("ab", buffering=0)
            fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            file.truncate(len(_whole_lines(path)))
            return file
        except BlockingIOError as error:
            raise UserError(f"another process judges into {path}; wait for it, or give another folder.") from error
        except OSError as error:
            raise UserError(
                f"cannot write {path}: {error.strerror}; give a folder on a disk of this machine."
            ) from error

    def _remember(self, rows) -> None:
        self.same |= {_identity(row): row for row in rows if _settled(row)}

    def known(self, about: dict) -> dict | None:
        """The verdict on the program of `about`, if it stands here."""
        row = self.same.get(_identity(about))
        return row and {name: row[name] for name in ("outcome", "first_outcome", "detail", "seconds")}

    def timed_out(self, about: dict) -> bool:
        """Was it stopped between a timeout and running alone again?"""
        row = self.rows.get(_name(about))
        return row is not None and row["outcome"] == "timeout" and row["first_outcome"] is None

    def add(self, about: dict, verdict: dict, ran: bool = True) -> None:
        row = {**about, **verdict}
        self.rows[_name(row)] = row
        if ran:
            self.added[_name(row)] = row
        if not self.file.closed:
            self._append(self.file, self.path, [row])

    @staticmethod
    def _append(file, path, rows) -> None:
        """Writes whole lines; where that fails, nothing is written behind the torn one."""
        content = b"".join(json.dumps(row).encode() + b"\n" for row in rows)
        try:
            if file.write(content) != len(content):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            file.close()
            raise UserError(f"cannot write {path}: {error.strerror}; free space and run again.") from error

    def languages_with_failures(self) -> list[str]:
        failed = {
            row["language"] for row in self.added.values() if row["outcome"] not in ("passed", "empty", "infra_error")
        }
        return sorted(failed)

    def withdraw(self, language: str, why: str) -> None:
        """What failed in this session says nothing about the programs."""
        for row in list(self.added.values()):
            if row["language"] == language and row["outcome"] not in ("passed", "empty"):
                self.add(row, _verdict("infra_error", why))
        if self.file.closed:  # it could not be written; to cut it needs no space
            os.truncate(self.path, self.begun)

    def close(self) -> None:
        """Adds to the cache what is settled now."""
        self.file.close()
        if self.cached is not None:
            new = {_identity(row): row for row in self.added.values() if _settled(row)}
            with self._opened(self.cached, wait=True) as file:
                self._append(file, self.cached, [row for key, row in new.items() if key not in self.same])


def _settled(row: dict | None) -> bool:
    """Is it a verdict that need not be found again?"""
    return (
        row is not None
        and row["outcome"] != "infra_error"
        and (row["outcome"] != "timeout" or row["first_outcome"] is not None)
    )


def _refuse_others(path, rows: dict, plan: list[dict]) -> None:
    for about in plan:
        row = rows.get(_name(about), about)
        other = [name for name in IDENTITY if row[name] != about[name]]
        if other:
            raise UserError(
                f"{path} holds a verdict on {' '.join(map(str, _name(about)))} with another {' and '.join(other)}; "
                "give another folder, or delete that file."
            )
