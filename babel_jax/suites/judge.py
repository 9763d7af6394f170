"""Which completions pass: every program is compiled and run once, and how it ended becomes one of ten outcomes.

The rule (strict, `compat=None`): a program passes if it exits with 0 after the tests came to their end, which a random
mark shows that is printed behind them: leaving early with status 0 is `no_sentinel`. Go's imports are repaired (a
suite's prompt imports what its completion may not use, and Go refuses that). With `compat` a peer's rule judges instead:
"mxeval" and "multipl_e" look at the exit status alone (the latter also at what a failed Debug.Assert of C# prints), with
their own limits of time and without any repair.

Processor seconds decide about `timeout`, and they are the same on a busy machine; a sample that timed out is run again
alone once the others are done, and both verdicts are kept. `infra_error` says that the machine failed and not the program.
"""

import concurrent.futures
import contextlib
import dataclasses
import os
import queue
import secrets
from collections.abc import Callable, Iterable, Sequence

from babel_jax.common import files
from babel_jax.common.errors import UserError, unknown_name
from babel_jax.suites import problems, toolchains
from babel_jax.suites.outcomes import COMPILER_MEMORY, classify, shown
from babel_jax.suites.problems import Problem
from babel_jax.suites.sandbox import Limits, SandboxError, open_sandbox
from babel_jax.suites.toolchains.toolchain import Code, Conditions, Toolchain
from babel_jax.suites.verdict_log import Ending, Seconds, Submission, Verdict, VerdictLog


@dataclasses.dataclass(frozen=True)
class Sample:
    """A completion of a problem.

    index: which of the problem's samples.
    ended: why writing it ended ("stop", "block", "length", "given", …), which is kept beside the verdict.
    variant: of the problem's prompt, see `problems.prompt_text`: the one that was completed.
    """

    problem: Problem
    index: int
    completion: str
    ended: str
    variant: str = "raw"

    @property
    def code(self) -> Code:
        return problems.code(self.problem, self.completion, self.variant)


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
        """Of all that decides besides the toolchain: another rule, another verdict."""
        return files.content_hash([dataclasses.asdict(self), COMPILER_MEMORY.pattern])


def _limits(cpu: float, wall: float, **more) -> Limits:
    return Limits(cpu_seconds=cpu, wall_seconds=wall, **more)


COMPILING = dict(memory_bytes=2 << 30, tmp_bytes=256 << 20)
RULES = {
    None: Rule(True, True, _limits(60, 180, **COMPILING), _limits(10, 30), patient=True),
    "mxeval": Rule(False, False, _limits(100, 100, **COMPILING), _limits(10, 10), patient=False),
    "multipl_e": Rule(False, False, _limits(15, 15, **COMPILING), _limits(15, 15), patient=False),
}
COMPAT = tuple(name for name in RULES if name is not None)


class Bench:
    """What programs are run with: one sandbox, and toolchains that are prepared when they are first asked for.

    jobs: programs at a time.
    """

    def __init__(self, least: str, jobs: int, cache):
        """`least`: the weakest sandbox level that will do; `cache`: a folder for what toolchains prepare."""
        if jobs < 1:
            raise UserError(f"--jobs is {jobs}; give at least 1.")
        self.jobs = jobs
        with contextlib.ExitStack() as stack:
            self.sandbox = stack.enter_context(open_sandbox(least, workers=jobs))
            self.cache = stack.enter_context(self.sandbox.reachable(cache))
            self._opened = stack.pop_all()
        self.toolchains: dict[str, Toolchain] = {}

    def ready(self, languages: Iterable[str]) -> None:
        """Finds the toolchains of these languages, before anything is written for nothing."""
        for language in sorted(set(languages) - set(self.toolchains)):
            toolchain = toolchains.find(language)
            toolchain.prepare(self.cache)
            self.toolchains[language] = toolchain

    def close(self) -> None:
        self._opened.close()


@dataclasses.dataclass(frozen=True)
class _Group:
    """Samples whose programs are the same: the first is run for all."""

    sample: Sample
    submissions: list[Submission]


def judge(
    samples: Sequence[Sample],
    bench: Bench,
    path,
    *,
    compat: str | None = None,
    cache=None,
    progress: Callable[[str, int, int], None] = lambda doing, done, of: None,
) -> list[Verdict]:
    """The verdicts of all samples, in their order; what stands in `path` already is not judged again.

    A program that is the same as another's (same text, toolchain, limits, rule and level of the sandbox) is run once.

    Args:
      bench: ready for the samples' languages.
      path: JSON Lines on a disk, see `verdict_log`.
      compat: None or one of COMPAT.
      cache: a folder whose verdicts are used and added to: the same program at another checkpoint need not be run. None:
        only those of `path`.
      progress: called with (what is done, how many samples have been judged, of how many).

    Raises:
      UserError: a language without a toolchain; `path` holds verdicts on other programs or by other rules.
    """
    if compat not in RULES:
        raise unknown_name("compat rule", compat, COMPAT)
    runner = _Runner(bench, compat)
    submissions = [runner.submission(sample) for sample in samples]
    if len({submission.key for submission in submissions}) < len(submissions):
        raise ValueError("two samples of one problem have the same index")
    with VerdictLog(path, submissions, cache) as log:
        groups = _groups(samples, submissions, log)
        done = len(samples) - sum(len(group.submissions) for group in groups)
        try:
            _run(groups, runner, log, lambda doing, more: progress(doing, done + more, len(samples)))
        finally:
            for language in log.languages_with_failures():
                if why := runner.broken(language):
                    log.withdraw(language, f"{language} fails on a correct program: {why}")
    return [log.verdicts[submission.key] for submission in submissions]


def _groups(samples: Sequence[Sample], submissions: Sequence[Submission], log: VerdictLog) -> list[_Group]:
    """What is to be run; what the log knows of another program that is the same is added to it here."""
    groups: dict[tuple, _Group] = {}
    for sample, submission in zip(samples, submissions, strict=True):
        known = log.known(submission)
        if known is None:
            groups.setdefault(submission.identity, _Group(sample, [])).submissions.append(submission)
        elif not log.is_settled(submission):
            log.add(submission, known, ran=False)
    return list(groups.values())


def _run(groups: list[_Group], runner: "_Runner", log: VerdictLog, progress: Callable[[str, int], None]) -> None:
    """Runs every group side by side, then what timed out once more, alone. `progress`: (what is done, how many samples)."""
    first, again = [], []
    for group in groups:
        (again if any(map(log.timed_out, group.submissions)) else first).append(group)
    done = 0

    def record(group, ending):
        for submission in group.submissions:
            log.add(submission, ending)

    def record_first(group, ending):
        record(group, ending)
        if ending.outcome == "timeout":
            again.append(group)

    def report(doing, group):
        nonlocal done
        done += len(group.submissions)
        progress(doing, done)

    def report_first(group, ending):
        if ending.outcome != "timeout":
            report("judging", group)

    runner.each(first, record_first, report_first)
    for group in again:
        record(group, dataclasses.replace(runner.ending(group.sample, slot=0), first_outcome="timeout"))
        report("judging alone what timed out", group)


class _Runner:
    """Runs samples by one rule."""

    def __init__(self, bench: Bench, compat: str | None):
        self.bench, self.compat, self.rule = bench, compat, RULES[compat]

    def submission(self, sample: Sample) -> Submission:
        p = sample.problem
        if p.language not in self.bench.toolchains:
            raise UserError(
                f"there is no toolchain for {p.language}: install it (see doctor), or leave the language out."
            )
        return Submission(
            suite=p.suite,
            language=p.language,
            task_id=p.task_id,
            number=p.number,
            sample=sample.index,
            variant=sample.variant,
            ended=sample.ended,
            repair_imports=self._repairs(p.language),
            program=files.content_hash(dataclasses.asdict(sample.code)),
            toolchain=self.bench.toolchains[p.language].fingerprint,
            level=self.bench.sandbox.level,
            limits=self.rule.hash,
            compat=self.compat,
        )

    def _repairs(self, language: str) -> bool:
        return self.rule.repair_imports and toolchains.kind(language).repairs_imports

    def each(self, groups: list[_Group], record: Callable, report: Callable) -> None:
        """Calls `record(group, ending)`, then `report` likewise, in this thread as programs end.

        Where one of them raises, what still ran is recorded as well.
        """
        slots: queue.SimpleQueue = queue.SimpleQueue()
        for slot in range(self.bench.jobs):
            slots.put(slot)

        def run(sample):
            slot = slots.get()
            try:
                return self.ending(sample, slot)
            finally:
                slots.put(slot)

        with concurrent.futures.ThreadPoolExecutor(self.bench.jobs) as pool:
            futures = {pool.submit(run, group.sample): group for group in groups}
            recorded = set()
            try:
                for future in concurrent.futures.as_completed(futures):
                    ending = future.result()
                    recorded.add(future)
                    record(futures[future], ending)
                    report(futures[future], ending)
            finally:
                pool.shutdown(cancel_futures=True)
                for future in futures.keys() - recorded:
                    if not future.cancelled() and future.exception() is None:
                        record(futures[future], future.result())

    def ending(self, sample: Sample, slot: int) -> Ending:
        if self.compat is None and not sample.completion.strip():
            return Ending("empty", None, "nothing was written")
        return self._run(sample.code, slot)

    def _run(self, code: Code, slot: int) -> Ending:
        toolchain = self.bench.toolchains[code.language]
        lacking = sorted(set(code.needs) & set(toolchain.missing))
        if lacking:
            return Ending("infra_error", None, f"needs {', '.join(lacking)}, which is not installed")
        try:
            code.body.encode(), code.tests.encode()
        except UnicodeEncodeError:
            return Ending("compile_error", None, "the program holds surrogates, which no file can")
        conditions = Conditions(
            sentinel=secrets.token_hex(16) if self.rule.sentinel else None,
            compile_limits=self._patient(self.rule.compile_limits),
            run_limits=self._patient(self.rule.run_limits),
            repair_imports=self._repairs(code.language),
        )
        try:
            execution = toolchain.execute(self.bench.sandbox, code, conditions, slot)
        except (SandboxError, OSError, UserError) as error:
            return Ending("infra_error", None, shown(f"{type(error).__name__}: {error}"))
        outcome, detail = classify(code, execution, self.compat)
        seconds = (part and round(part.wall_seconds, 3) for part in (execution.compiled, execution.ran))
        return Ending(outcome, None, detail, Seconds(*seconds))

    def _patient(self, limits: Limits) -> Limits:
        if not self.rule.patient:
            return limits
        load = max(1.0, (os.getloadavg()[0] + self.bench.jobs) / (os.cpu_count() or 1))
        return dataclasses.replace(limits, wall_seconds=limits.wall_seconds * load)

    def broken(self, language: str) -> str:
        """Why a correct program of the language does not pass, "" if it does."""
        ending = self._run(Code(language, *toolchains.kind(language).control), slot=0)
        return "" if ending.outcome == "passed" else f"{ending.outcome}, {ending.detail}"
