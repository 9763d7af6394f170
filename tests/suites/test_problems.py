"""What a model reads of a problem, and the program that its completion makes."""

import pytest
from helpers.suites import OWN, SPECS, SUITES, first, write

from babel_jax.common.errors import UserError
from babel_jax.suites import problems, suite_files


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
