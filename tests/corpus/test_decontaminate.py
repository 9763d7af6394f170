import random
from pathlib import Path

import pytest
from helpers import ROOT

from babel_jax.corpus import decontaminate
from babel_jax.corpus.decontaminate import Index
from babel_jax.suites import suite_files

SUITES = ROOT / "tests" / "samples"
SPECS = [f"{name}:{SUITES / name}" for name in ("mxeval", "multipl_e", "humaneval_x", "openai", "mbpp")]
BEFORE, BEHIND = "class Host:\n    value = 3\n\n\n", "\n\n\ndef other(value):\n    return Host.value + value\n"


@pytest.fixture(scope="module")
def suites():
    return [problem for spec in SPECS for problem in suite_files.load(spec).problems]


@pytest.fixture(scope="module")
def index(suites):
    return Index(texts(suites))


def texts(suites):
    for problem in suites:
        for kind, text in (("prompt", problem.prompt), ("solution", problem.solution)):
            if text is not None:
                yield f"{'/'.join(problem.key)} {kind}", text


LAYOUTS = {
    "verbatim": lambda text: text,
    "indented": lambda text: "".join(f"        {line.lstrip()}\n" for line in text.split("\n")),
    "tabs and Windows' line breaks": lambda text: text.replace("    ", "\t").replace("\n", "\r\n"),
    "one line": lambda text: " ".join(text.split()),
    "a word a line": lambda text: "\n".join(text.split()),
    "braces on their own lines": lambda text: text.replace("{", "\n{\n").replace("}", "\n}\n"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_problem_is_found_in_every_layout(suites, index, layout):
    missed = [
        problem.key
        for problem in suites
        if index.find(BEFORE + LAYOUTS[layout](problem.prompt + (problem.solution or "")) + BEHIND) is None
    ]
    assert missed == []


def test_every_prompt_is_found_alone(suites, index):
    assert [problem.key for problem in suites if index.find(BEFORE + problem.prompt + BEHIND) is None] == []


def test_most_survive_comments_between_lines_and_a_lost_line(suites, index):
    hits = {"comments": 0, "lost": 0}
    for problem in suites:
        lines = (problem.prompt + (problem.solution or "")).split("\n")
        commented = "".join(f"{line}\n# step {number}\n" for number, line in enumerate(lines))
        lost = "\n".join(lines[: len(lines) // 2] + lines[len(lines) // 2 + 1 :])
        hits["comments"] += index.find(commented) is not None
        hits["lost"] += index.find(lost) is not None
    assert hits["comments"] >= 0.6 * len(suites)
    assert hits["lost"] >= 0.9 * len(suites)


def test_the_name_is_that_of_the_problem():
    first = "def first_of(numbers, default):\n    return numbers[0] if len(numbers) > 0 else default\n"
    second = "def last_of(numbers, default):\n    return numbers[-1] if len(numbers) > 0 else default\n"
    index = Index([("suite/python/1 solution", first), ("suite/python/2 solution", second)])
    assert index.find(second) == "suite/python/2 solution"
    assert index.find(second + first) == "suite/python/1 solution"
    assert index.find("".join(reversed(first))) is None


def test_projects_own_modules_are_clean(index):
    """Real code, that of this project, is not mistaken for a problem."""
    files = sorted(Path(decontaminate.__file__).parents[1].rglob("*.py"))
    assert len(files) > 50
    assert {file.name: name for file in files if (name := index.find(file.read_text())) is not None} == {}


def test_short_and_commonplace_texts_do_not_count():
    commonplace = """
    str1 = re.sub('(.)([A-Z][a-z]+)', r'\\1_\\2', text)
    return re.sub('([a-z0-9])([A-Z])', r'\\1_\\2', str1).lower()
    """
    index = Index([("short", "return x + y + z * 2"), ("commonplace", commonplace), ("empty", "")])
    document = f"def f(x, y, z):\n    return x + y + z * 2\n\n\ndef snake_case(text):\n{commonplace}"
    assert index.find(document) is None
    assert Index([("all", document)]).find(document) == "all"


def test_what_all_prompts_share_does_not_count():
    frame = "".join(
        f"Rule {word}: you are an expert in {word}, and {word} is what you do.\n" for word in "abcdefghijkl"
    )
    tasks = [f"Compute the {word} of {word}s, with {word}_{word} = {word}." for word in map(str, range(1000, 1200))]
    index = Index([(str(number), frame + task) for number, task in enumerate(tasks)])
    assert index.find(frame) is None
    assert index.find(frame + tasks[7]) == "7"


def test_a_part_of_a_text_is_not_a_copy_and_most_of_it_is():
    lines = [f"    value{i} = table[{i}].column(name{i}) + offset * {i}\n" for i in range(20)]
    index = Index([("long", "".join(lines))])
    assert index.find("".join(lines[:12])) is None
    assert index.find("".join(lines[:3] + lines[6:])) == "long"


def test_generic_lines_of_a_short_solution_do_not_make_a_copy():
    solution = "int count = 0;\nfor (int i = 0; i < n; i++) {\n    if (i % 2 == 0) {\n        count++;\n    }\n}\nreturn count;"
    index = Index([("even", solution)])
    assert index.find(f"int f(int n) {{ {solution} }}") == "even"
    assert index.find(solution.replace("if (i % 2 == 0) {", "if (is_odd(i)) {")) is None


def test_it_is_deterministic(suites):
    shuffled = list(texts(suites))
    documents = [problem.prompt for problem in suites[::7]]
    one, other = Index(shuffled), Index(shuffled)
    assert [one.find(document) for document in documents] == [other.find(document) for document in documents]
    random.Random(0).shuffle(documents)
    assert Index([]).find(documents[0]) is None
