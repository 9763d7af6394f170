import gzip
import hashlib
import json

import pytest
from helpers import ROOT

from babel_jax.common.errors import UserError
from babel_jax.languages.registry import LANGUAGES
from babel_jax.suites import judge, problems, suite_files
from babel_jax.suites.outcomes import classify
from babel_jax.suites.stops import cut
from babel_jax.suites.suite_formats import FORMATS
from babel_jax.suites.toolchains import TOOLCHAINS
from babel_jax.suites.toolchains.toolchain import Conditions

SUITES = ROOT / "tests" / "samples"
SPECS = {name: f"{name}:{SUITES / name}" for name in FORMATS}
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


def write(path, *records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def first(spec, language):
    return suite_files.load(spec, [language]).problems[0]


def counts(suite):
    found = {}
    for problem in suite.problems:
        key = (problem.suite, problem.language)
        found[key] = found.get(key, 0) + 1
    return found


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
    found = suite_files.load(f"multipl_e:{file}").problems
    assert [(p.suite, p.number, p.entry_point) for p in found] == [
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
    found = [p for p in suite_files.load(SPECS[suite]).problems if p.language == language and p.solution is not None]
    found = [p for p in found if not p.known_bad and "boost" not in p.needs][:2]
    assert found
    for problem in found:
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


def test_imports_of_a_go_program_are_those_it_uses():
    suite = {p.number: p for p in suite_files.load(SPECS["humaneval_x"], ["go"]).problems}

    def imports(number, completion):
        body = problems.code(suite[number], completion).body
        assert body.startswith("package main\n") and body.count("package main") == 1
        return sorted(line.split('"')[1].rpartition("/")[2] for line in body.split("\n") if line.startswith("import"))

    assert imports(2, "}") == ["assert", "math", "testing"]  # the prompt and the tests use math
    assert imports(162, "}") == ["assert", "testing"]  # the prompt's fmt and md5 are not used
    assert imports(162, "fmt.Sprint(md5.New())\n}") == ["assert", "fmt", "md5", "testing"]
    assert imports(17, '    // sort.Ints\n    s := "bytes.x" + `fmt.x` + a.sort.x\n}') == ["assert", "testing"]
    assert imports(17, '    strings.Split(a, " ")\n}') == ["assert", "strings", "testing"]  # the prompt has no imports
    assert imports(32, "}") == [
        "assert",
        "math",
        "rand",
        "testing",
    ]  # the tests use rand, the prompt and the tests math
    assert "import" not in problems.code(suite[2], "}").body.partition("func")[2]


@pytest.mark.parametrize(
    ("suite", "language", "variant", "lost"),
    [
        ("mxeval", "php", "no_persona", " * You are an expert PHP programmer, and here is your task.\n"),
        ("mxeval/multilingual_humaneval", "csharp", "no_persona", "        /// You're an expert C# programmer\n"),
        ("mxeval/multilingual_humaneval", "go", "no_persona", "// You're an expert Golang programmer\n"),
        ("mxeval", "python", "no_persona", ""),
        ("mxeval", "cpp", "strip_newline", "\n"),
        ("mxeval", "csharp", "strip_newline", ""),
    ],
)
def test_a_variant_takes_away_what_it_says(suite, language, variant, lost):
    problem = first(f"mxeval:{SUITES / suite}", language)
    prompt = problems.prompt_text(problem, variant)
    assert problem.prompt.count(lost) == 1 or lost in ("", "\n")
    expected = problem.prompt.removesuffix(lost) if lost == "\n" else problem.prompt.replace(lost, "")
    assert prompt == expected
    assert problems.prompt_text(problem, f"raw+{variant}") == expected
    assert problems.code(problem, "x", variant).body == prompt + "x\n"


def test_known_bad_reasons_are_of_the_closed_set():
    for suite, languages in suite_files.known_bad().items():
        assert suite in ("mbxp", "humaneval", "humaneval_x", "mbpp") and languages.keys() <= LANGUAGES.keys()
        for reasons in languages.values():
            for task_id, reason in reasons.items():
                word, separator, text = reason.partition(": ")
                assert word in suite_files.KNOWN_BAD and separator and text, task_id


OWN = {"suite": "s", "language": "python", "task_id": "a", "number": 1, "prompt": "p", "tests": "t"}
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


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b'{"suite"\n', "line 1: not JSON"),
        ("a.jsonl", b'"\xff"\n', "cannot read .*; fetch the file again"),
        ("a.jsonl.gz", b"plain", "cannot read .*; fetch the file again"),
        ("a.jsonl.gz", gzip.compress(b"{}\n" * 100)[:-9], "cannot read .*; fetch the file again"),
        ("a.txt", b"", "no .jsonl or .jsonl.gz file at"),
    ],
)
def test_a_broken_file_is_named(name, content, message, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        suite_files.load(f"own:{tmp_path}")


@pytest.mark.parametrize(
    ("spec", "languages", "message"),
    [
        ("mxevl:x", [], "unknown format 'mxevl'; did you mean 'mxeval'"),
        ("mxeval", [], "write FORMAT:PLACE"),
        ("own:/no/such/place", [], "no .jsonl or .jsonl.gz file at /no/such/place"),
        (SPECS["own"], ["pyton"], "unknown language 'pyton'; did you mean 'python'"),
        (SPECS["own"], ["cpp"], "has no problem in cpp"),
    ],
)
def test_a_bad_request_is_answered(spec, languages, message):
    with pytest.raises(UserError, match=message):
        suite_files.load(spec, languages)


def test_other_languages_are_left_out_where_languages_are_named(tmp_path):
    file = write(tmp_path / "a.jsonl", OWN, OWN | {"language": "klingon"})
    assert [p.language for p in suite_files.load(f"own:{file}", ["python"]).problems] == ["python"]


def test_a_program_declares_what_its_prompt_and_its_entry_point_name(tmp_path):
    """Words in comments and strings declare nothing."""
    prompts = {
        "python": ("class Box:\n    'class no'\n# def no\ndef sum(", ("Box", "f", "sum")),
        "php": ("<?php\nnamespace Own;\n// function no\nconst ONE = 1;\nfunction g(", ("ONE", "Own", "f", "g")),
        "csharp": ("class Stack { /* enum no */ enum Kind { } const int no = 1;", ("Kind", "Stack", "f")),
        "go": ("package main\nvar one = `type no`\ntype Two int\nfunc g(", ("Two", "f", "g", "one")),
        "cpp": ("#define ONE 1\nstruct Two { const int no; };\n", ("ONE", "Two", "f")),
    }
    for number, (language, (prompt, declared)) in enumerate(prompts.items()):
        line = dict(
            suite="own", language=language, task_id="1", number=number, prompt=prompt, tests="x", entry_point="f"
        )
        problem = first(f"own:{write(tmp_path / f'{language}.jsonl', line)}", language)
        assert problems.code(problem, "class never").declares == declared


def test_strip_newline_leaves_spaces(tmp_path):
    file = write(tmp_path / "a.jsonl", OWN | {"prompt": "a \n\n", "solution": "b"})
    problem = first(f"own:{file}", "python")
    assert problems.prompt_text(problem, "strip_newline") == "a "
    assert problems.reference(problem, "strip_newline") == "\n\nb" and problems.reference(problem) == "b"


def test_an_unknown_variant_is_refused():
    with pytest.raises(UserError, match="unknown prompt variant 'no_person'; did you mean 'no_persona'"):
        problems.prompt_text(first(SPECS["own"], "python"), "raw+no_person")
