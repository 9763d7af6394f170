"""The public suites as they are distributed, one's own problems, and lines that are neither."""

import hashlib
import json

import pytest
from helpers.suites import OWN, SPECS, SUITES, first, write

from babel_jax.common.errors import UserError
from babel_jax.suites import judge, problems, suite_files
from babel_jax.suites.outcomes import classify
from babel_jax.suites.stops import cut
from babel_jax.suites.toolchains import TOOLCHAINS
from babel_jax.suites.toolchains.toolchain import Conditions

SUMS = {
    "python": "    return sum(map(int, str(n)))\n\n\ndef more():\n",
    "php": "    return array_sum(str_split((string) $n));\n}\nfunction more() {\n",
    "csharp": "        return n.ToString().Sum(c => c - '0');\n    }\n    public static void Main() {\n",
    "go": "\ts := 0\n\tfor ; n > 0; n /= 10 {\n\t\ts += n % 10\n\t}\n\treturn s\n}\nfunc more() {\n",
    "cpp": "    long s = 0;\n    for (; n; n /= 10) { s += n % 10; }\n    return s;\n}\nint main() {\n",
}


@pytest.fixture
def passes(ready, sandboxed):
    """Whether a program passes, by the strict rule or by a peer's."""

    def run(code, compat=None):
        rule = judge.RULES[compat]
        sentinel = "0123456789abcdef" if rule.sentinel else None
        conditions = Conditions(sentinel, rule.compile_limits, rule.run_limits, rule.repair_imports)
        execution = ready(code.language).execute(sandboxed, code, conditions)
        return classify(code, execution, compat)[0] == "passed"

    return run


def counts(suite):
    counted = {}
    for problem in suite.problems:
        key = (problem.suite, problem.language)
        counted[key] = counted.get(key, 0) + 1
    return counted


def test_mxeval_is_read_as_it_is_distributed():
    suite = suite_files.load(SPECS["mxeval"])
    languages = {"python": 7, "php": 5, "csharp": 6, "go": 5, "cpp": 5}
    few = {("humaneval", name): 3 for name in ("python", "php", "csharp", "go")}
    assert counts(suite) == {("mbxp", name): n for name, n in languages.items()} | few
    assert problems.common(suite.problems) == {"mbxp": {3, 5, 6, 7, 8}, "humaneval": {2, 12, 23}}
    source = suite.sources["mbxp/mbgp_release_v1.1.jsonl"]
    content = (SUITES / "mxeval/mbxp/mbgp_release_v1.1.jsonl").read_bytes()
    assert source == problems.SuiteFile(hashlib.sha256(content).hexdigest(), "CC-BY-4.0", 5)
    assert suite.sources["multilingual_humaneval/HumanEval.jsonl"].licence == "MIT"
    assert all(problem.block and not problem.stops for problem in suite.problems)
    assert {p.task_id for p in suite.problems if p.known_bad.startswith("no_program_passes")} == {
        "MBPP/56",
        "MBPP/64",
        "MBCSP/395",
        "HumanEval_csharp/12",
        "HumanEval_go/12",
    }
    assert suite.problems[0].source in suite.sources


def test_the_other_suites_are_read():
    openai, x = suite_files.load(SPECS["openai"]), suite_files.load(SPECS["humaneval_x"])
    assert counts(openai) == {("humaneval", "python"): 3}
    same = {p.number: p for p in suite_files.load(f"{SPECS['mxeval']}/multilingual_humaneval/HumanEval.jsonl").problems}
    assert all(
        (p.prompt, p.tests, p.solution) == (q.prompt, q.tests, q.solution)
        for p in openai.problems
        for q in [same[p.number]]
    )
    assert counts(x) == {("humaneval_x", "cpp"): 3, ("humaneval_x", "go"): 4, ("humaneval_x", "python"): 2}
    assert {p.task_id: p.needs for p in x.problems if p.language == "cpp"} == {
        "CPP/2": (),
        "CPP/10": (),
        "CPP/22": ("boost",),
    }
    assert all(p.harness == "go_test" and p.needs == ("testify",) for p in x.problems if p.language == "go")
    assert [p.entry_point for p in x.problems if p.number == 10] == ["make_palindrome"] * 2
    program = problems.code(
        first(SPECS["humaneval_x"], "cpp"), "}"
    ).body  # as its own harness, with what prompts leave out
    assert program.index("#include <bits/stdc++.h>") < program.index("#include<stdio.h>")
    mbpp = suite_files.load(SPECS["mbpp"])
    assert [p.number for p in mbpp.problems] == [2, 3, 5, 6, 7, 8, 927]
    assert mbpp.problems[0].prompt.endswith('== (4, 5)\n"""\n') and "\r" not in mbpp.problems[0].solution
    multipl_e = suite_files.load(SPECS["multipl_e"])
    assert problems.common(multipl_e.problems) == {"multipl_e_sample": {7}}
    assert {p.language: p.harness for p in multipl_e.problems} == dict.fromkeys(TOOLCHAINS, "main") | {"go": "go_test"}
    assert first(SPECS["multipl_e"], "csharp").stops == ("\n    }\n",)
    for suite in (openai, x, mbpp, multipl_e):
        assert all(source.licence != "not stated" for source in suite.sources.values())


def test_number_and_suite_come_from_multipl_e_names(tmp_path):
    line = json.loads((SUITES / "multipl_e/sample-go.jsonl").read_text())
    file = write(
        tmp_path / "a.jsonl", line | {"name": "HumanEval_0_has_close_elements"}, line | {"name": "mbpp_3_is_not_prime"}
    )
    chosen = suite_files.load(f"multipl_e:{file}").problems
    assert [(p.suite, p.number, p.entry_point) for p in chosen] == [
        ("multipl_e_humaneval", 0, "has_close_elements"),
        ("multipl_e_mbpp", 3, "is_not_prime"),
    ]


def test_own_problems_have_the_fields_names_and_some_defaults():
    twice, _, half = suite_files.load(SPECS["own"]).problems
    assert (twice.block, twice.stops, twice.harness, twice.entry_point) == (True, (), "main", "")
    assert (half.block, half.stops, half.solution, half.prefix) == (False, ("\n}",), None, "<?php\n")


@pytest.mark.parametrize(
    ("suite", "language"),
    [
        *(("mxeval", language) for language in ("python", "php", "csharp", "cpp")),
        *(("humaneval_x", language) for language in ("python", "cpp", "go")),
        *(("openai", "python"), ("mbpp", "python"), ("own", "python"), ("own", "php")),
    ],
)
def test_reference_solutions_run_and_pass(suite, language, passes):
    chosen = [p for p in suite_files.load(SPECS[suite]).problems if p.language == language and p.solution is not None]
    chosen = [p for p in chosen if not p.known_bad and "boost" not in p.needs][:2]
    assert chosen
    for problem in chosen:
        kept, why = cut(
            language, problem.prompt, problem.solution + "\nmore" * problem.block, problem.stops, problem.block
        )
        assert kept.rstrip() == problem.solution.rstrip()
        assert why == "block" or not problem.block
        for variant in ("raw", "strip_newline", "no_persona+strip_newline"):
            assert problems.prompt_text(problem, variant) + problems.reference(problem, variant) == (
                problems.prompt_text(problem, variant.replace("strip_newline", "raw")) + problem.solution
            )
        for compat in (None, "mxeval"):
            assert passes(problems.code(problem, kept), compat), problem.task_id
    assert not passes(problems.code(problem, "\n" if language == "python" else "}")), problem.task_id


@pytest.mark.parametrize("language", TOOLCHAINS)
def test_multipl_e_programs_are_closed_by_their_tests(language, passes):
    problem = first(SPECS["multipl_e"], language)
    kept, why = cut(language, problem.prompt, SUMS[language], problem.stops, problem.block)
    assert why == "stop" and "more" not in kept and "ain(" not in kept
    wrong = kept.replace("return ", "return 1 + ")
    assert wrong != kept
    for compat in (None, "multipl_e"):
        assert passes(problems.code(problem, kept), compat)
        assert not passes(problems.code(problem, wrong), compat)


GO = json.loads((SUITES / "multipl_e/sample-go.jsonl").read_text())


@pytest.mark.parametrize(
    ("name", "records", "message"),
    [
        ("own", [OWN, OWN | {"task_id": "b", "tests": " \n"}], ".*, line 2, b, has no tests"),
        ("own", [OWN | {"language": "klingon"}], "line 1 is in 'klingon', which is not a known language"),
        ("own", [{**OWN, "promt": "x"}], "unknown field 'promt'; did you mean 'prompt'"),
        ("own", [OWN | {"number": "1"}], "line 1: 'number' must be a number, not '1'"),
        ("own", [OWN | {"number": True}], "'number' must be a number"),
        ("own", [OWN | {"stops": ["x", 1]}], "'stops' must be a list of strings"),
        ("own", [OWN | {"stops": [""]}], "'stops' holds an empty string"),
        ("own", [OWN | {"needs": ["bost"]}], "unknown need 'bost'; did you mean 'boost'"),
        ("own", [OWN | {"harness": "x"}], "unknown harness"),
        ("own", [OWN, OWN], "stands in .* and again in"),
        ("own", [[1]], "line 1: a list is not a JSON object"),
        ("own", [], "has no problem"),
        ("mxeval", [OWN], "line 1: 'test' must be a string"),
        ("mxeval", [dict(OWN, test="x", entry_point="f")], "no task number in the id 'a'"),
        ("multipl_e", [GO | {"stop_tokens": None}], "'stop_tokens' must be a list"),
        ("multipl_e", [GO | {"tests": ""}], "has no tests"),
        ("multipl_e", [GO | {"language": "rs"}], "in 'rs', which is not a known language"),
        ("multipl_e", [GO | {"name": "noname"}], "no task number in the id 'noname'"),
        ("mbpp", [{"task_id": 1, "text": "x", "test_list": [], "code": "x"}], "has no tests"),
        ("openai", [{"task_id": "HumanEval/0", "prompt": "", "test": "", "entry_point": "f"}], "has no tests"),
        ("humaneval_x", [{"task_id": "Rust/0", "prompt": "", "test": "x"}], "in 'Rust', which is not a known language"),
    ],
)
def test_a_bad_line_is_named(name, records, message, tmp_path):
    file = write(tmp_path / "a.jsonl", *records)
    with pytest.raises(UserError, match=message) as error:
        suite_files.load(f"{name}:{file}")
    assert "\n" not in str(error.value)
