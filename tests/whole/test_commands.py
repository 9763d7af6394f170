"""Every command that the documents show is one that the program reads: its verb, its options, its config's keys and files."""

import functools
import re
import shlex
from pathlib import Path

import pytest
from fuzz import cases
from helpers import ROOT
from helpers.recipes import SECTION

from babel_jax.common import python_files
from babel_jax.common.errors import UserError

READMES = sorted(
    str(path.relative_to(ROOT))
    for path in (
        *(
            path
            for folder in ("", ".github", "configs", "launch", "tests/bench")
            for path in Path(ROOT, folder).glob("*.md")
        ),
        *(ROOT / "babel_jax").rglob("*.md"),
    )
)
# Configs and verbs show commands in their docstrings.
SOURCES = (*(ROOT / "configs").rglob("*.py"), *(ROOT / "babel_jax" / "cli").glob("*.py"))
DOCUMENTS = sorted([*READMES, *(str(path.relative_to(ROOT)) for path in SOURCES)])


@pytest.fixture(scope="module")
def options() -> dict[tuple[str, ...], set[str]]:
    """(verb, …) -> names of all options that it may take."""
    names = {}
    for form in cases.forms():
        names.setdefault(form.words, set()).update(option.name for option in form.options)
    return names


def commands(text: str) -> list[list[str]]:
    """What stands behind `python -m babel_jax`, in a block or between backticks; … stands for more."""
    lines = re.sub(r"\\\\?\n", " ", text)  # a string of Python doubles the backslash
    lines = re.findall(r"python -m babel_jax ([a-z][^`\n]*)", lines)
    return [[word for word in shlex.split(line.split(" # ")[0]) if word != "…"] for line in lines]


def wrong(words: list[str], options: dict) -> list[str]:
    """What of a command does not exist."""
    form = tuple(words[: 2 if words[0] in ("corpus", "convert") else 1])
    if form not in options:
        return [" ".join(form)]
    named = [word.partition("=")[0] for word in words if word.startswith("--")]
    keys = {key.replace("NAME", role) for key in cases.config_keys() for role in cases.plan.ROLES}
    known = options[form] | {f"--config.{key}" for key in keys} | {"--help"}
    places = [word.partition("=")[2] for word in words if re.match(r"--(config|manifest)=configs/", word)]
    return [name for name in named if name not in known] + [place for place in places if not is_config(place)]


@functools.cache
def is_config(place: str) -> bool:
    """FILE.py or FILE.py:VARIANT stands in configs/ and can be read as a config or a manifest."""
    if place.startswith("configs/own.py:"):
        return True  # its argument is a corpus of the user's; tests/study/test_prospects.py reads it with one
    try:
        return python_files.read(f"{ROOT}/{place}", "config", "configs/") is not None
    except UserError:
        return False


# --- links and paths ------------------------------------------------------------------------------------------------------


def anchors(text: str) -> set[str]:
    """What a link of GitHub can point to in a document."""
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in re.findall(r"(?m)^#+ (.*)$", text)}


def dead_links(document: Path) -> list[str]:
    dead = []
    for link in re.findall(r"\]\(([^)\s]+)\)", document.read_text()):
        if re.match(r"https?://", link):
            continue
        file, _, anchor = link.partition("#")
        target = (document.parent / file) if file else document
        if not target.exists() or (anchor and anchor not in anchors(target.read_text())):
            dead.append(link)
    return dead


TOP = {path.name for path in ROOT.iterdir()}
ROOMS = {path.parent.name for path in (ROOT / "babel_jax").glob("*/__init__.py")}


def dead_paths(document: Path) -> list[str]:
    """Of the paths between backticks, those of the project that do not exist; but for placeholders, and what a recipe creates."""
    text = re.sub(r"(?ms)^```.*?^```$", "", document.read_text())
    created = set(
        re.findall(r"Create `([^`]+)`", text) + re.findall(r"`([^`\s]*\b[A-Z]{3,}\b[^`\s]*)`", text)
    )  # ROOM/MODULE.py
    dead = []
    for path in set(re.findall(r"`((?:\.\./)*[\w.{},*-]+(?:/[\w.{},*-]*)*)(?::\w+)?`", text)) - created:
        if path.split("/")[0] not in (TOP | ROOMS | {".."} if "/" in path else ()) and not path.endswith(
            (".py", ".sh")
        ):
            continue
        folders = (document.parent, ROOT, ROOT / "babel_jax")
        if not all(
            any(next(folder.glob(name), None) for folder in folders)
            or ("/" not in name and next(ROOT.rglob(name), None))
            for name in spelled_out(path.rstrip("/"))
        ):
            dead.append(path)
    return dead


def spelled_out(path: str) -> list[str]:
    """a/{b,c}.py -> a/b.py, a/c.py."""
    before, brace, rest = path.partition("{")
    inside, _, after = rest.partition("}")
    return [before + part + more for part in inside.split(",") for more in spelled_out(after)] if brace else [path]


@pytest.mark.parametrize("document", READMES)
def test_links_and_paths_of_a_document_lead_somewhere(document):
    assert dead_links(ROOT / document) == [] and dead_paths(ROOT / document) == []


def test_dead_links_and_paths_are_found(tmp_path):
    (tmp_path / "there.md").write_text("# Title, first\n")
    document = tmp_path / "README.md"
    document.write_text(
        "[a](there.md) [b](there.md#title-first) [c](there.md#second) [d](gone.md) [e](#here) [f](https://x.y/z)\n## Here\n"
        "`babel_jax/__main__.py` `model/{decoder,flops}.py` "
        " `model/{decoder,gone}.py` `configs/organism.py:tiny` `launch/gone.sh`\n"
        "`gone.py` `decoder.py` `tests/bench/` `runs/gone/x` `word/word` `*.parquet`\nCreate `babel_jax/report/new.py`:\n"
    )
    assert dead_links(document) == ["there.md#second", "gone.md"]
    assert sorted(dead_paths(document)) == ["gone.py", "launch/gone.sh", "model/{decoder,gone}.py"]


def test_the_layout_names_every_room_and_no_other():
    layout = (ROOT / "README.md").read_text().split("## Layout")[1].split("```")[1]
    named = set(re.findall(r"(?m)^  ([\w.]+/?)", layout))
    rooms = {path.parent.name + "/" for path in Path(ROOT, "babel_jax").glob("*/__init__.py")}
    modules = {path.name for path in Path(ROOT, "babel_jax").glob("*.py")} - {"__init__.py"}
    assert named == rooms | modules


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_command_of_a_document_can_be_given(document, options):
    shown = commands(SECTION.sub("", Path(ROOT, document).read_text()))  # recipes add what they use: test_recipes.py
    assert {" ".join(words): wrong(words, options) for words in shown if wrong(words, options)} == {}


def test_every_verb_is_shown_in_a_readme(options):
    shown = {words[0] for name in READMES for words in commands(Path(ROOT, name).read_text())}
    assert shown >= {words[0] for words in options}


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
        ("train --config=configs/organism.py:ful --workdir=W --run=mix", ["configs/organism.py:ful"]),
        ("corpus build --manifest=configs/corpora/local.py:my/code --out=W", []),
    ],
)
def test_what_cannot_be_given_is_found(options, line, missing):
    (words,) = commands(f"`python -m babel_jax {line}`")
    assert wrong(words, options) == missing
