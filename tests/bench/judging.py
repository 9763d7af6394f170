"""What judging costs, whether reference solutions pass, and whether tests notice a change. Prints one JSON line.

Without an option: core-minutes of a greedy pass over MBXP in five languages (one program a problem: the reference
solution, or a body that gives up where there is none), against the target of 25, and the judge's own share of them.
`--conformance`: reference solutions that pass by the peer's rule against the least that must, and the others by name,
of which none may be missing from the list of known faults: MBXP in Python, PHP and C#, samples of its C++ and of
HumanEval-X's Go and C++ (of what this machine can run).
`--mutants`: the share of passing solutions, one operator or constant of each changed, that no longer pass.
`--load`: whether the verdicts on 100 programs of all languages are the same beside three busy programs.
MBXP is the folder data/mbxp of amazon-science/mxeval, HumanEval-X the folder of CodeGeeX's files.
Run: python tests/bench/judging.py MBXP [HUMANEVAL_X] [--conformance|--mutants|--load] [--jobs=2 --sample=N --out=FOLDER]
"""

import argparse
import collections
import contextlib
import json
import random
import re
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from babel_jax.languages.lexical import code_only
from babel_jax.languages.registry import LANGUAGES
from babel_jax.suites import judge, problems, suite_files
from babel_jax.suites.outcomes import OUTCOMES
from babel_jax.suites.toolchains import TOOLCHAINS
from babel_jax.suites.verdict_log import Verdict

TARGET_CORE_MINUTES = 25
LEAST = {
    ("mbxp", "python"): (958, 974),
    ("mbxp", "php"): (831, 950),
    ("mbxp", "csharp"): (693, 725),
    ("mbxp", "cpp"): (59, 60),
    ("humaneval_x", "go"): (40, 40),
    ("humaneval_x", "cpp"): (40, 40),
}
GIVES_UP = {
    "python": "    raise NotImplementedError\n",
    "php": '    throw new Exception("not written");\n}\n',
    "csharp": '            throw new Exception("not written");\n        }\n',
    "go": '\tpanic("not written")\n}\n',
    "cpp": "    throw 0;\n}\n",
}
MUTANTS = 200
SWAPPED = {
    "+": "-", "-": "+", "*": "+", "/": "*", "%": "*", "==": "!=", "!=": "==", "===": "!==", "<": "<=", ">": ">=",
    "<=": "<", ">=": ">", "&&": "||", "||": "&&", "and": "or", "or": "and",
}  # fmt: skip
# An operator stands between blanks (so that neither List<int> nor *p nor -1 is one); a constant stands alone.
MUTABLE = re.compile(r"(?<=\s)(?:[-+*/%<>]|[=!]==?|[<>]=|&&|\|\||and|or)(?=\s)|(?<![\w.])\d+(?![\w.])")


def cpu_seconds(who) -> float:
    used = resource.getrusage(who)
    return used.ru_utime + used.ru_stime


def spread(items: list, n: int | None) -> list:
    """`n` of the items, evenly spaced; all if there are no more, or for None."""
    return items if n is None or n >= len(items) else [items[i * len(items) // n] for i in range(n)]


class Bench:
    """A sandbox, the toolchains, and a folder for verdicts (kept if it is named)."""

    def __init__(self, options, stack):
        self.out = Path(options.out or stack.enter_context(tempfile.TemporaryDirectory()))
        self.judging = judge.Bench("bubblewrap", options.jobs, self.out / "cache")
        stack.callback(self.judging.close)
        self.judging.ready(TOOLCHAINS)
        self.toolchains = self.judging.toolchains

    def verdicts(self, name: str, pairs, compat=None) -> list[Verdict]:
        """The verdicts on (problem, completion) pairs."""
        seen = collections.Counter()
        samples = []
        for problem, completion in pairs:
            samples.append(judge.Sample(problem, seen[problem], completion, "given"))
            seen[problem] += 1
        path = self.out / f"{name}.jsonl"
        return judge.judge(samples, self.judging, path, compat=compat, progress=report)


def report(doing: str, done: int, of: int) -> None:
    if done % 100 == 0:
        print(f"{doing}: {done} of {of}", file=sys.stderr, flush=True)


def load(options) -> list[problems.Problem]:
    loaded = list(suite_files.load(f"mxeval:{options.mbxp}").problems)
    if options.humaneval_x:
        loaded += suite_files.load(f"humaneval_x:{options.humaneval_x}", ("go", "cpp")).problems
    return loaded


def runnable(bench: Bench, asked, suite=None, language=None) -> list[problems.Problem]:
    """Those with a reference solution for which this machine has what they need, of one suite and language if named."""
    return [
        p
        for p in asked
        if p.solution is not None
        and suite in (None, p.suite)
        and language in (None, p.language)
        and not set(p.needs) & set(bench.toolchains[p.language].missing)
    ]


def of(asked, suite, language) -> list[problems.Problem]:
    return [problem for problem in asked if (problem.suite, problem.language) == (suite, language)]


def cost(bench: Bench, asked, options) -> dict:
    """The whole pass, or a sample of it scaled up."""
    chosen = {language: spread(of(asked, "mbxp", language), options.sample) for language in TOOLCHAINS}
    scale = {language: len(of(asked, "mbxp", language)) / len(sample) for language, sample in chosen.items()}
    minutes, own, outcomes = {}, 0.0, {}
    for language, sample in chosen.items():
        pairs = [(p, p.solution if p.solution is not None else GIVES_UP[language]) for p in sample]
        before = [cpu_seconds(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        rows = bench.verdicts(f"cost_{language}", pairs)
        after = [cpu_seconds(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        minutes[language] = round((sum(after) - sum(before)) * scale[language] / 60, 2)
        own += (after[0] - before[0]) * scale[language]
        outcomes[language] = {name: sum(row.outcome == name for row in rows) for name in OUTCOMES}
    programs = sum(len(of(asked, "mbxp", language)) for language in TOOLCHAINS)
    total = round(sum(minutes.values()), 2)
    return {
        "core_minutes": total,
        "target": TARGET_CORE_MINUTES,
        "ratio": round(TARGET_CORE_MINUTES / total, 2),
        "by_language": minutes,
        "judge_ms_per_program": round(1e3 * own / programs, 2),
        "programs": programs,
        "run": {language: len(sample) for language, sample in chosen.items()},
        "outcomes": {language: {k: v for k, v in counts.items() if v} for language, counts in outcomes.items()},
    }


def conformance(bench: Bench, asked) -> dict:
    by_suite = {}
    for (suite, language), (least, expected) in LEAST.items():
        sample = spread(runnable(bench, asked, suite, language), expected)
        if sample:
            rows = bench.verdicts(f"conformance_{suite}_{language}", [(p, p.solution) for p in sample], compat="mxeval")
            failed = {row.task_id: f"{row.outcome}: {row.detail}" for row in rows if row.outcome != "passed"}
            unlisted = [p.task_id for p in sample if p.task_id in failed and not p.known_bad]
            passed = len(sample) - len(failed)
            by_suite[f"{suite} {language}"] = {
                "passed": passed, "of": len(sample), "least": least, "holds": passed >= least and not unlisted,
                "unlisted": unlisted, "failed": failed,
            }  # fmt: skip
    return {"holds": all(part["holds"] for part in by_suite.values()), "suites": by_suite}


def mutants(bench: Bench, asked) -> dict:
    """Of each language's passing solutions the same number; which change is made where is drawn from a fixed seed."""
    draw = random.Random(0)
    by_language, killed, judged = {}, 0, 0
    languages = list(dict.fromkeys(p.language for p in runnable(bench, asked)))
    each = MUTANTS // len(languages)
    for language in languages:
        usable = spread([p for p in runnable(bench, asked, language=language) if mutable(p)], 2 * each)
        rows = bench.verdicts(f"originals_{language}", [(p, p.solution) for p in usable])
        passing = [p for p, row in zip(usable, rows, strict=True) if row.outcome == "passed"][:each]
        changed = [(p, mutant(p, draw)) for p in passing]
        outcomes = [row.outcome for row in bench.verdicts(f"mutants_{language}", changed)]
        survived = [p.task_id for p, outcome in zip(passing, outcomes, strict=True) if outcome == "passed"]
        by_language[language] = {
            "mutants": len(outcomes),
            "killed": round(1 - len(survived) / len(outcomes), 3),
            "compile_error": outcomes.count("compile_error"),
            "survived": survived,
        }
        killed, judged = killed + len(outcomes) - len(survived), judged + len(outcomes)
    return {"killed": round(killed / judged, 3), "mutants": judged, "by_language": by_language}


def mutable(problem: problems.Problem) -> list[re.Match]:
    """The operators and constants of the solution's code."""
    whole = problem.prompt + problem.solution
    code = code_only(whole, LANGUAGES[problem.language])
    assert len(code) == len(whole)
    return [match for match in MUTABLE.finditer(code) if match.start() >= len(problem.prompt)]


def mutant(problem: problems.Problem, draw: random.Random) -> str:
    """The solution with one operator swapped or one constant greater by one."""
    match = draw.choice(mutable(problem))
    whole, old = problem.prompt + problem.solution, match[0]
    new = str(int(old) + 1) if old.isdigit() else SWAPPED[old]
    return whole[len(problem.prompt) : match.start()] + new + whole[match.end() :]


def same_under_load(bench: Bench, asked) -> dict:
    """Of each language ten reference solutions, and as many bodies that give up; alone, then beside three busy programs."""
    pairs = []
    for language in TOOLCHAINS:
        sample = spread(runnable(bench, asked, language=language), 10)
        pairs += [(p, p.solution) for p in sample] + [(p, GIVES_UP[language]) for p in sample]
    by_load = {}
    for busy in (0, 3):
        with contextlib.ExitStack() as stack:
            for _ in range(busy):
                process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
                stack.callback(process.wait)
                stack.callback(process.kill)
            by_load[busy] = bench.verdicts(f"load_{busy}", pairs)
    different = [
        [one.task_id, one.outcome, other.outcome]
        for one, other in zip(*by_load.values(), strict=True)
        if (one.outcome, one.first_outcome) != (other.outcome, other.first_outcome)
    ]
    outcomes = [row.outcome for row in by_load[0]]
    return {
        "programs": len(pairs),
        "different": different,
        "outcomes": {name: outcomes.count(name) for name in OUTCOMES if name in outcomes},
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("mbxp")
    parser.add_argument("humaneval_x", nargs="?")
    mode = parser.add_mutually_exclusive_group()
    for name in ("conformance", "mutants", "load"):
        mode.add_argument(f"--{name}", action="store_true")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--sample", type=int, help="this many problems a language, scaled up")
    parser.add_argument("--out", help="keep the verdicts here, and go on from those that are here")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        asked = load(options)
        bench = Bench(options, stack)
        if options.conformance:
            result = conformance(bench, asked)
        elif options.mutants:
            result = mutants(bench, asked)
        elif options.load:
            result = same_under_load(bench, asked)
        else:
            result = cost(bench, asked, options)
        versions = {language: toolchain.version for language, toolchain in bench.toolchains.items()}
        print(json.dumps(result | {"level": bench.judging.sandbox.level, "versions": versions}))


if __name__ == "__main__":
    main()
