"""Every command that the documents show is one that the program reads: its verb, its options, its config's keys and files."""

import re
import shlex
from pathlib import Path

import pytest
from fuzz import cases
from helpers import ROOT

DOCUMENTS = sorted(
    str(path.relative_to(ROOT))
    for path in (*Path(ROOT).glob("*.md"), *Path(ROOT, "babel_jax").rglob("*.md"), *Path(ROOT, "configs").rglob("*.py"))
)


@pytest.fixture(scope="module")
def options() -> dict[tuple[str, ...], set[str]]:
    """(verb, …) -> names of all options that it may take."""
    found = {}
    for form in cases.forms():
        found.setdefault(form.words, set()).update(option.name for option in form.options)
    return found


def commands(text: str) -> list[list[str]]:
    """What stands behind `python -m babel_jax`, in a block or between backticks; … stands for more."""
    lines = re.sub(r"\\\\?\n", " ", text)  # a string of Python doubles the backslash
    lines = re.findall(r"python -m babel_jax ([a-z][^`\n]*)", lines)
    return [[word for word in shlex.split(line.split(" # ")[0]) if word != "…"] for line in lines]


def wrong(words: list[str], options: dict) -> list[str]:
    """What of a command does not exist."""
    form = tuple(words[: 2 if words[0] == "corpus" else 1])
    if form not in options:
        return [" ".join(form)]
    named = [word.partition("=")[0] for word in words if word.startswith("--")]
    keys = {key.replace("NAME", role) for key in cases.config_keys() for role in cases.plan.ROLES}
    known = options[form] | {f"--config.{key}" for key in keys} | {"--help"}
    files = [
        word.partition("=")[2].partition(":")[0] for word in words if re.match(r"--(config|manifest)=configs/", word)
    ]
    return [name for name in named if name not in known] + [file for file in files if not Path(ROOT, file).exists()]


def test_the_layout_names_every_room_and_no_other():
    layout = Path(ROOT, "README.md").read_text().split("## Layout")[1].split("```")[1]
    named = set(re.findall(r"\b\w+(?:\.py|/)(?!\w)", layout)) - {"babel_jax/", "configs/", "launch/", "tests/"}
    rooms = {path.parent.name + "/" for path in Path(ROOT, "babel_jax").glob("*/__init__.py")}
    modules = {path.name for path in Path(ROOT, "babel_jax").glob("*.py")} - {"__init__.py"}
    assert named == rooms | modules


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_command_of_a_document_can_be_given(document, options):
    found = commands(Path(ROOT, document).read_text())
    assert {" ".join(words): wrong(words, options) for words in found if wrong(words, options)} == {}
    if document == "README.md":
        assert {words[0] for words in found} >= {"study", "corpus", "train", "probe", "evaluate", "compile", "optimize"}


@pytest.mark.parametrize(
    "line, missing",
    [
        ("study --config=configs/organism.py:tiny --config.common.steps=3 --config.runs.mix.steps=4 --workdir=W", []),
        ("studdy --config=c.py", ["studdy"]),
        ("corpus bild --out=C", ["corpus bild"]),
        (
            "train --config=configs/no.py --config.common.stepps=3 --wokdir=W",
            ["--config.common.stepps", "--wokdir", "configs/no.py"],
        ),
    ],
)
def test_what_cannot_be_given_is_found(options, line, missing):
    (words,) = commands(f"`python -m babel_jax {line}`")
    assert wrong(words, options) == missing
