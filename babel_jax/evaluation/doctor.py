"""What this machine can judge: which sandbox works and what it holds back, which languages run, and what installs the rest.

Nothing is taken on trust: the attacks are run, and of each language a program that must pass, one that must fail and one
that must be stopped. The attacks are bounded, and harmless where they succeed.
"""

import os
import textwrap
import time
from pathlib import Path

from babel_jax.errors import UserError
from babel_jax.evaluation import judge, promises, sandbox, toolchains
from babel_jax.evaluation.problems import Code
from babel_jax.evaluation.sandbox import Limits, SandboxError, temporary_folder
from babel_jax.languages import LANGUAGES

QUICK = Limits(
    cpu_seconds=1, wall_seconds=60, memory_bytes=512 << 20, processes=20, tmp_bytes=4 << 20, file_bytes=1 << 20
)
IMPATIENT = Limits(cpu_seconds=10, wall_seconds=0.5)
ENDLESS = {"python": "while True: pass", "go": "for {\n\t}"}  # of the others: while (true) {}


def examine(cache) -> dict:
    """Runs all of it; `cache` is where toolchains keep what they prepare.

    Returns:
      {"levels": level -> why it does not work, or "", "sandbox": its `describe()` or None where none works,
      "contained": attack -> whether it was, "not_promised": attacks that the level does not hold back here,
      "languages": for each {"language", "found" (version, or what installs it), "needs" (what installs what some problems
      need), "verdicts": "passes", "fails", "times out" -> (whether, detail)}}
    """
    levels = sandbox.available()
    working = [level for level, why_not in levels.items() if not why_not]
    found = {"levels": levels, "sandbox": None, "contained": {}, "not_promised": [], "languages": []}
    if not working:
        found["languages"] = [_language(name, None, cache) for name in LANGUAGES]
        return found
    with sandbox.open_sandbox(working[0]) as opened, opened.reachable(cache) as cache:
        found["sandbox"] = opened.describe()
        found["contained"] = contained(opened)
        found["not_promised"] = not_promised(opened.describe())
        found["languages"] = [_language(name, opened, cache) for name in LANGUAGES]
    return found


def not_promised(about: dict) -> list[str]:
    """Of the attacks in `promises` those that succeed in a sandbox with this description."""
    there = {
        name: not about[key].startswith("none") for name, key in (("filter", "filter"), ("groups", "control_groups"))
    }
    return promises.limits(about["level"], root=about["user"] == "own", **there)


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


def _language(name: str, opened, cache) -> dict:
    row = {"language": name, "found": "", "needs": "", "verdicts": {}}
    try:
        toolchain = toolchains.find(name)
        row["found"] = toolchain.version
        row["needs"] = "; ".join(f"{need}: {toolchains.INSTALL_NEED[need]}" for need in toolchain.missing)
        if opened is not None:
            toolchain.prepare(cache)
            row["verdicts"] = verdicts(toolchain, opened)
    except UserError as error:
        row["found"] = str(error).removeprefix(f"{LANGUAGES[name].title}: ")
    return row


def verdicts(toolchain, opened) -> dict[str, tuple[bool, str]]:
    """Whether a right program passes, a wrong one fails and an endless one is stopped; else what happened instead."""
    body, tests = judge.CONTROLS[toolchain.language]
    endless = ENDLESS.get(toolchain.language, "while (true) {}")
    programs = {
        "passes": (body, ("passed",)),
        "fails": (body.replace("return 1", "return 2"), ("failed_assert", "runtime_error")),
        "times out": (body.replace("return 1", endless), ("timeout",)),
    }
    rule, found = judge.RULES[None], {}
    for name, (program, expected) in programs.items():
        code = Code(toolchain.language, program, tests)
        try:
            execution = toolchain.execute(
                opened,
                code,
                sentinel=f"{time.time_ns():x}",
                compile_limits=rule.compile_limits,
                run_limits=Limits(cpu_seconds=1, wall_seconds=60),
            )
            outcome, detail = judge.classify(code, execution)
        except (OSError, SandboxError) as error:
            outcome, detail = "infra_error", str(error)
        found[name] = (outcome in expected, "" if outcome in expected else f"{outcome}: {detail}".rstrip(": "))
    return found


def table(found: dict) -> str:
    """What `examine` found, for a terminal."""
    about = found["sandbox"]
    lines = [f"sandbox: {about['level'] if about else 'none works here, so no program is run'}"]
    if about:
        users = {"own": "each program has a user of its own", "caller": "programs run as this user"}
        lines += [f"  {users[about['user']]}; control groups: {about['control_groups']}"]
        lines += [f"  filter of system calls: {about['filter']}"]
    lines += [f"  not {level}: {why_not}" for level, why_not in found["levels"].items() if why_not]
    if about and about["level"] != "bubblewrap":
        lines += ["  bubblewrap is the strongest: apt-get install bubblewrap, where user namespaces are allowed"]
    if found["contained"]:
        held = [name for name, is_held in found["contained"].items() if is_held]
        not_held = [name for name, is_held in found["contained"].items() if not is_held]
        lines += [f"  contained, {len(held)} of {len(found['contained'])} attacks: {', '.join(held)}"]
        lines += [f"  NOT contained: {', '.join(not_held)}"] if not_held else []
    if about:
        known, missing = len(promises.PROMISES), found["not_promised"]
        text = f"held back by this level, as tested: {known - len(missing)} of {known} attacks"
        text += f"; not: {'; '.join(missing)}" if missing else ""
        lines += textwrap.wrap(text, 118, initial_indent="  ", subsequent_indent="    ")
    titles = ("passes", "fails", "times out")
    width = max((len(row["found"]) for row in found["languages"] if row["verdicts"]), default=0)
    lines += ["", f"{'language':10s}{'found':{width + 2}s}" + "  ".join(titles)] if width else [""]
    for row in found["languages"]:
        line = f"{LANGUAGES[row['language']].title:10s}{row['found']:{width + 2}s}"
        marks = [f"{'yes' if row['verdicts'][title][0] else 'NO':{len(title)}s}" for title in titles if row["verdicts"]]
        lines.append((line + "  ".join(marks)).rstrip())
        lines += [f"{'':10s}{title}: {why}" for title, (_, why) in row["verdicts"].items() if why]
        lines += [f"{'':10s}for problems that need {row['needs']}"] if row["needs"] else []
    return "\n".join(lines)
