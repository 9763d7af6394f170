"""What this machine can judge: which sandbox works and what it holds back, which languages run, and what installs the rest.

Nothing is taken on trust: the attacks are run, and of each language a program that must pass, one that must fail and one
that must be stopped. The attacks are bounded, and harmless where they succeed.
"""

import dataclasses
import os
import textwrap
import time
from collections.abc import Mapping
from pathlib import Path

from babel_jax.common.errors import UserError
from babel_jax.languages.registry import LANGUAGES
from babel_jax.suites import judge, sandbox, toolchains
from babel_jax.suites.outcomes import classify
from babel_jax.suites.sandbox import Isolation, Limits, SandboxError, promises, temporary_folder
from babel_jax.suites.toolchains.toolchain import Code, Conditions, Toolchain

QUICK = Limits(
    cpu_seconds=1, wall_seconds=60, memory_bytes=512 << 20, processes=20, tmp_bytes=4 << 20, file_bytes=1 << 20
)
IMPATIENT = Limits(cpu_seconds=10, wall_seconds=0.5)
TITLES = ("passes", "fails", "times out")


@dataclasses.dataclass(frozen=True)
class LanguageReport:
    """What there is of a language.

    tools: their version, or what installs them, or that there is no toolchain.
    needs: what installs what some problems need; "" where all is there.
    trials: TITLES -> "" where the verdict on such a program was right, else what it was; empty where none could be run.
    """

    language: str
    tools: str
    needs: str = ""
    trials: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Examination:
    """What this machine can judge.

    levels: sandbox level -> why it does not work, or "".
    sandbox: the strongest one's, None where none works.
    contained: attack -> whether it was held back.
    not_promised: attacks that the level does not hold back here.
    """

    levels: Mapping[str, str]
    sandbox: Isolation | None
    contained: Mapping[str, bool]
    not_promised: list[str]
    languages: list[LanguageReport]


def examine(cache) -> Examination:
    """Runs all of it; `cache` is where toolchains keep what they prepare."""
    code = [name for name in LANGUAGES if LANGUAGES[name].kind == "code"]
    levels = sandbox.available()
    working = [level for level, why_not in levels.items() if not why_not]
    if not working:
        return Examination(levels, None, {}, [], [_language(name, None, cache) for name in code])
    with sandbox.open_sandbox(working[0]) as opened, opened.reachable(cache) as cache:
        about = opened.describe()
        known = promises.limits(about.level, root=about.own_users, filter=bool(about.filter), groups=bool(about.groups))
        held = contained(opened)
        return Examination(levels, about, held, known, [_language(name, opened, cache) for name in code])


def contained(opened) -> dict[str, bool]:
    """Attack -> whether the sandbox held it back."""
    word = f"86400.{os.getpid()}"
    with temporary_folder("babel_jax_doctor_") as place:
        os.chmod(place, 0o777)  # only the sandbox stands between
        secret, written = Path(place, "secret"), Path(place, "written")
        secret.write_text("secret")
        secret.chmod(0o644)

        def shell(script: str, limits: Limits = QUICK):
            return opened.run(["sh", "-c", script, str(os.getpid()), str(secret), str(written), word], limits=limits)

        return {
            "reads a file outside": b"secret" not in shell('cat "$1"').stdout,
            "writes a file outside": shell('echo x > "$2"').status != 0 and not written.exists(),
            # one packet, to an address that belongs to nobody (RFC 5737)
            "has a network": shell("logger --server 192.0.2.1 --port 9 --udp x").status != 0,
            "reaches our process": shell('kill -0 "$0"').status != 0,
            "200 processes": b"200"
            not in shell("n=0; while [ $n -lt 200 ]; do sleep 9 & n=$((n+1)); done; echo $n").stdout,
            "3 GB of memory": shell("dd if=/dev/zero of=/dev/null bs=3G count=1").status != 0,
            "a large file": shell("head -c 2M /dev/zero > large").status != 0,
            "endless output": shell("yes").ended_by == "output",
            "never ends": shell("while :; do :; done").ended_by == "cpu",
            "sleeps": shell("sleep 100", IMPATIENT).ended_by == "wall",
            "stays behind": shell('setsid sleep "$3" >/dev/null 2>&1 &').status == 0 and not _runs(word),
        }


def _runs(word: str) -> bool:
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if word.encode() in place.read_bytes().split(b"\0")[:2]:
                return True
        except (FileNotFoundError, ProcessLookupError):
            continue
    return False


def _language(name: str, opened, cache) -> LanguageReport:
    if LANGUAGES[name].toolchain not in toolchains.TOOLCHAINS:
        return LanguageReport(name, "no toolchain: its programs are not judged")
    try:
        toolchain = toolchains.find(name)
        needs = "; ".join(f"{need}: {toolchain.installs[need]}" for need in toolchain.missing)
        if opened is None:
            return LanguageReport(name, toolchain.version, needs)
        toolchain.prepare(cache)
        return LanguageReport(name, toolchain.version, needs, trials(toolchain, opened))
    except UserError as error:
        return LanguageReport(name, str(error).removeprefix(f"{LANGUAGES[name].title}: "))


def trials(toolchain: Toolchain, opened) -> dict[str, str]:
    """TITLES -> "" where a right program passes, a wrong one fails and an endless one is stopped; else what happened."""
    body, tests = toolchain.control
    programs = (
        (body, ("passed",)),
        (body.replace("return 1", "return 2"), ("failed_assert", "runtime_error")),
        (body.replace("return 1", toolchain.endless), ("timeout",)),
    )
    rule = judge.RULES[None]
    conditions = Conditions(f"{time.time_ns():x}", rule.compile_limits, Limits(cpu_seconds=1, wall_seconds=60))
    done = {}
    for title, (program, expected) in zip(TITLES, programs, strict=True):
        code = Code(toolchain.language, program, tests)
        try:
            outcome, detail = classify(code, toolchain.execute(opened, code, conditions))
        except (OSError, SandboxError) as error:
            outcome, detail = "infra_error", str(error)
        done[title] = "" if outcome in expected else f"{outcome}: {detail}".rstrip(": ")
    return done


def table(examination: Examination) -> str:
    """An examination for a terminal."""
    return "\n".join([*_sandbox_lines(examination), *_language_lines(examination.languages)])


def _sandbox_lines(examination: Examination) -> list[str]:
    about = examination.sandbox
    lines = [f"sandbox: {about.level if about else 'none works here, so no program is run'}"]
    if about:
        users = "each program has a user of its own" if about.own_users else "programs run as this user"
        lines += [f"  {users}; control groups: {', '.join(about.groups) or f'none: {about.without_groups}'}"]
        lines += [f"  filter of system calls: {about.filter or f'none: {about.without_filter}'}"]
    lines += [f"  not {level}: {why_not}" for level, why_not in examination.levels.items() if why_not]
    if about and about.level != "bubblewrap":
        lines += ["  bubblewrap is the strongest: apt-get install bubblewrap, where user namespaces are allowed"]
    if examination.contained:
        held = [name for name, is_held in examination.contained.items() if is_held]
        not_held = [name for name, is_held in examination.contained.items() if not is_held]
        lines += [f"  contained, {len(held)} of {len(examination.contained)} attacks: {', '.join(held)}"]
        lines += [f"  NOT contained: {', '.join(not_held)}"] if not_held else []
    if about:
        known, missing = len(promises.PROMISES), examination.not_promised
        text = f"held back by this level, as tested: {known - len(missing)} of {known} attacks"
        text += f"; not: {'; '.join(missing)}" if missing else ""
        lines += textwrap.wrap(text, 118, initial_indent="  ", subsequent_indent="    ")
    return lines


def _language_lines(languages: list[LanguageReport]) -> list[str]:
    width = max((len(one.tools) for one in languages if one.trials), default=0)
    lines = ["", f"{'language':12s}{'tools':{width + 2}s}" + "  ".join(TITLES)] if width else [""]
    for one in languages:
        line = f"{LANGUAGES[one.language].title:12s}{one.tools:{width + 2}s}"
        marks = [f"{'NO' if wrong else 'yes':{len(title)}s}" for title, wrong in one.trials.items()]
        lines.append((line + "  ".join(marks)).rstrip())
        lines += [f"{'':12s}{title}: {wrong}" for title, wrong in one.trials.items() if wrong]
        lines += [f"{'':12s}for problems that need {one.needs}"] if one.needs else []
    return lines
