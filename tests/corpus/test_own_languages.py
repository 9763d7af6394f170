"""Languages that the package does not have: described by a file of the user's own, kept by the corpus that is built with it."""

import json
import re

import numpy as np
import pytest
from helpers import own_languages
from helpers.own_languages import FILES, asked

from babel_jax.__main__ import main
from babel_jax.common.errors import UserError
from babel_jax.corpus import build, corpus_files, corpus_material


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("languages")
    own_languages.write(place)
    return place


@pytest.fixture(scope="module")
def kotlin(folder, tmp_path_factory):
    """A corpus of Python and Kotlin, whose own file is gone."""
    place = tmp_path_factory.mktemp("kotlin")
    file = place / "kotlin.yaml"
    file.write_text((folder / "kotlin.yaml").read_text())
    wanted = asked(folder, "python", "kotlin", definitions={"kotlin": str(file)})
    file.unlink()
    build.build(wanted, place / "corpus", jobs=2, progress=False)  # by worker processes
    return place / "corpus"


def test_a_corpus_keeps_the_language_it_was_built_with(kotlin, capsys):
    corpus = corpus_files.load(kotlin)
    assert corpus.language("kotlin").comments_nest and corpus.language("python").toolchain == "python"
    assert main(["corpus", "stats", str(kotlin)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "Kotlin: 40 files, 0.1 MB found" in lines and "  kept: 40 files, 0.05 MB" in lines
    assert any(re.fullmatch(r"  len/size: [1-9]\d* in python, [1-9]\d* in kotlin", line) for line in lines)
    assert main(["corpus", "verify", str(kotlin)]) == 0
    material = corpus_material.material(kotlin, "python", "kotlin", 4, 16)
    assert set(material.slots) == {"python", "kotlin"} and len(material.slots["kotlin"]["pair"])


def test_call_sites_serve_both_directions(kotlin):
    corpus = corpus_files.load(kotlin)
    forward, back = corpus.slots("python", "kotlin"), corpus.slots("kotlin", "python")
    for name in ("python", "kotlin"):
        np.testing.assert_array_equal(forward[name]["primary_id"], back[name]["new_id"])
        np.testing.assert_array_equal(forward[name]["new_id"], back[name]["primary_id"])
        np.testing.assert_array_equal(forward[name]["tokens"], back[name]["tokens"])


def test_a_build_goes_on_only_with_the_same_definition(folder, kotlin):
    wanted = asked(folder, "python", "kotlin")
    assert build.build(wanted, kotlin, progress=False).directory == kotlin
    other = FILES["kotlin"] | {"declares": ["var"]}
    with pytest.raises(UserError, match=r"it differs in settings.languages.kotlin.definition.declares"):
        build.build(asked(folder, "python", "kotlin", definitions={"kotlin": other}), kotlin, progress=False)


def test_a_corpus_of_a_language_that_nobody_describes_says_so(kotlin, tmp_path):
    content = json.loads((kotlin / "manifest.json").read_text())
    del content["settings"]["languages"]["kotlin"]["definition"]
    place = tmp_path / "corpus"
    place.mkdir()
    for entry in kotlin.iterdir():
        (place / entry.name).symlink_to(entry)
    (place / "manifest.json").unlink()
    (place / "manifest.json").write_text(json.dumps(content))
    with pytest.raises(
        UserError, match="was built with the language 'kotlin', which this version of the package does not"
    ):
        corpus_files.load(place).language("kotlin")


def test_natural_languages_are_not_judged_as_code(folder, tmp_path):
    wanted = asked(folder, "english", "german")
    corpus = build.build(wanted, tmp_path / "corpus", jobs=1, progress=False)
    assert corpus.stats.languages["german"].cleaning["kept"].files == 40
    counts = corpus.stats.call_sites["english-german"].prompts
    assert min(counts["english"]) > 0 and min(counts["german"]) > 0


def test_code_that_is_not_ascii_and_has_no_marks(folder, tmp_path):
    """The rule of ASCII drops it, and the manifest can switch that off; without pairs there is no study of it."""
    with pytest.raises(UserError, match=r"only 0 文言 files .* \(40 were dropped as not ascii, see `clean.encoding`\)"):
        build.build(asked(folder, "python", "wenyan"), tmp_path / "none", jobs=1, progress=False)
    wanted = asked(folder, "python", "wenyan", clean={"near_duplicates": False, "encoding": False})
    corpus = build.build(wanted, tmp_path / "corpus", jobs=1, progress=False)
    assert corpus.stats.languages["wenyan"].cleaning["kept"].files == 40 and corpus.stats.call_sites == {}
    few = "takes those of at least 2 pairs of their built-ins, and of the 0 that are known there are those of 0 in Python and 0"
    assert few in corpus.too_few_pairs("python", "wenyan")
    with pytest.raises(UserError, match=re.escape(few)):
        corpus_material.material(corpus.directory, "python", "wenyan", 4, 16)


def test_the_statistics_say_that_pairs_are_too_few(folder, tmp_path, capsys):
    one = FILES["kotlin"] | {"pairs": {"python": [["function len", "property size"]]}}
    wanted = asked(folder, "python", "kotlin", definitions={"kotlin": one})
    build.build(wanted, tmp_path / "corpus", jobs=1, progress=False)
    assert main(["corpus", "stats", str(tmp_path / "corpus")]) == 0
    assert (
        "and of the 1 that are known there are those of 1 in Python and 1 in Kotlin; write" in capsys.readouterr().out
    )


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("kotlin", {"extension": [".kt"]}, "unknown key 'extension'; did you mean 'extensions'?"),
        ("kotlin", {"extensions": ["kt"]}, "definition.extensions.0 is 'kt'; write it with its dot"),
        ("kotlin", {"kind": "spoken"}, "definition.kind: unknown kind 'spoken'"),
        ("kotlin", {"block_comments": ["/*"]}, "definition.block_comments.0 must be a list of two"),
        ("kotlin", {"pairs": {"python": [["len", "word size"]]}}, "pairs.python.0.0 says 'len': write its use"),
        ("kotlin", {"pairs": {"python": [["word len not of x", "word y"]]}}, "'not of' goes with a member"),
        (
            "kotlin",
            {"pairs": {"python": [["word a", "word b"], ["word a", "word b"]]}},
            "python.1 is a and b, as pair 0 is",
        ),
        ("kotlin", {"pairs": {"kotlin": []}}, "pairs.kotlin has pairs with the language itself"),
        ("kotlin", {"strings": [{"open": "''", "character": True}]}, "strings.0: holds one character"),
        ("Kotlin", {}, "is called 'Kotlin'; a language's name has lower-case letters"),
        ("python", {"pairs": {}}, "is another language than the package's Python; call yours otherwise"),
    ],
)
def test_what_is_wrong_in_a_definition_is_reported_with_its_place(folder, name, change, message):
    with pytest.raises(UserError, match=re.escape(message)) as error:
        asked(folder, name, definitions={name: FILES["kotlin"] | change})
    assert str(error.value).startswith(f"m.yaml: languages.{name}.definition")


def test_a_file_that_is_wrong_is_named(folder, tmp_path):
    file = tmp_path / "kotlin.yaml"
    for text, message in (
        ("titel: Kotlin\nextensions: [.kt]", "kotlin.yaml: unknown key 'titel'; did you mean 'title'?"),
        ("title: Kotlin", "kotlin.yaml must have the key 'extensions'"),
        ("title: [", "kotlin.yaml (while parsing"),
        ("kotlin", "kotlin.yaml must be a table of title, kind"),
    ):
        file.write_text(text)
        with pytest.raises(UserError, match=re.escape(message)):
            asked(folder, "kotlin", definitions={"kotlin": str(file)})
    with pytest.raises(UserError, match=r"languages.kotlin: unknown language 'kotlin'; .* has a `definition`"):
        asked(folder, "kotlin", definitions={"java": ""})
