"""A corpus of running text: one copy a paragraph, and what the build says of paragraphs."""

import csv
import random
import re

import pyarrow.parquet as pq
import pytest
from helpers.source_files import write

from babel_jax.cli import corpus_stats
from babel_jax.corpus import build, manifest
from babel_jax.corpus.readers import reader

WORDS = {
    "en": ("the of and to in is that for it with as on", "house river mountain garden winter window letter market"),
    "de": ("der die und das ist nicht ein mit von zu auf für", "haus fluss berg garten winter fenster brief markt"),
}
COPY = {
    "en": "The mail of the house is on the table and the letter to ada@lovelace-house.org is with it.",
    "de": "Die Post für das Haus ist auf dem Tisch und der Brief an ada@lovelace-house.org ist nicht da.",
}


def sentence(chosen, language):
    stop, names = (words.split() for words in WORDS[language])
    return (
        " ".join(word for _ in range(8) for word in (chosen.choice(stop), chosen.choice(names) * chosen.randint(1, 3)))
        + "."
    )


def pages(language):
    """Twelve pages of six paragraphs, of which one is on all pages, one is too short and one in the other language."""
    chosen, other = random.Random(language), {"en": "de", "de": "en"}[language]
    for number in range(12):
        texts = [sentence(chosen, language) for _ in range(3)]
        texts[1:1] = [COPY[language].upper() if number else COPY[language], "Too short.", COPY[other]]
        yield f"a{number:02}.html", "".join(f"<p>{text}</p>" for text in texts).encode()
    yield "last.html", f"<p>{COPY[language]}</p>".encode()
    yield "none.html", b"<p>Nothing of it.</p>" * 6


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    for language in WORDS:
        write(folder / language, dict(pages(language)))
    raw = {name: {"sources": [{"path": str(folder / name), "format": "html", "name": "manual"}]} for name in WORDS}
    return manifest.check({"vocab_size": 400, "max_length": 32, "languages": raw}, "test")


@pytest.fixture(scope="module")
def corpus(sources, tmp_path_factory):
    return build.build(sources, tmp_path_factory.mktemp("built") / "corpus", jobs=1, progress=False)


def test_a_paragraph_is_counted_once_whatever_became_of_it(corpus):
    for stats in corpus.stats.languages.values():
        assert {name: amount.files for name, amount in stats.paragraphs.items()} == {
            **{"found": 12 * 6 + 1 + 6, "short": 12 + 6, "few_letters": 0, "other_script": 0},
            **{"other_language": 12, "copy": 12, "kept": 12 * 3 + 1},
        }
        assert {name: amount.files for name, amount in stats.cleaning.items() if amount.files} == {
            **{"found": 14, "size": 1, "duplicate": 1, "kept": 12, "redacted": 1},
        }
        assert stats.redactions == {"email": 1}  # of the copy that is kept


def test_the_first_copy_stays_and_each_paragraph_with_its_key(sources, tmp_path):
    """As the phases leave it in the folder of the build."""
    work = build.start(sources, tmp_path / "corpus", [])
    for phase in ("clean", "paragraphs"):
        build.run_tasks(work, phase, build.tasks(work, phase), 1, progress=False)
    for language in WORDS:
        [file] = (work / "paragraphs").glob(f"{language}-*.parquet")
        rows = {row["path"]: row for row in pq.read_table(file).to_pylist()}
        texts = [text for _, page in pages(language) for text in re.findall("<p>(.*?)</p>", page.decode())]
        first, second = rows["manual/a00.html"], rows["manual/a01.html"]
        assert first["keys"] == ["1/6", "2/6", "5/6", "6/6"] and second["keys"] == ["1/6", "5/6", "6/6"]
        assert first["content"].split("\n\n")[1] == COPY[language].replace("ada@lovelace-house.org", "<EMAIL>")
        assert second["content"].split("\n\n") == [texts[6], texts[10], texts[11]]
        assert rows["manual/last.html"]["content"] == "" and rows["manual/last.html"]["redacted"] is None
        assert all(row["bytes"] == len(row["content"].encode()) for row in rows.values())


def test_the_funnel_says_what_of_the_documents_left_was_dropped(corpus):
    for name, stats in corpus.stats.languages.items():
        with (corpus.directory / "funnel.csv").open() as file:
            rows = [row for row in csv.DictReader(file) if row["language"] == name]
        before = None
        for row in rows:
            assert before is None or (row["documents_in"], row["bytes_in"]) == before
            before = row["documents_out"], row["bytes_out"]
        assert before == tuple(map(str, (stats.cleaning["kept"].files, stats.cleaning["kept"].bytes)))
        [line] = [row for row in rows if row["step"] == "paragraphs"]
        assert int(line["bytes_in"]) > int(line["bytes_out"]) and line["documents_in"] == line["documents_out"]


def test_stats_say_it_in_lines(corpus):
    lines = corpus_stats.stats_table(corpus).splitlines()
    assert any(line.startswith("  paragraphs found: 79, ") for line in lines)
    assert any(line.startswith("  paragraphs dropped: other language: 12, ") for line in lines)


def test_pieces_and_processes_change_nothing(corpus, sources, tmp_path, monkeypatch):
    monkeypatch.setattr(reader, "PIECE_BYTES", 2000)
    again = build.build(sources, tmp_path / "again", jobs=1, progress=False)
    assert again.stats.languages["en"].paragraphs == corpus.stats.languages["en"].paragraphs
    for name in WORDS:
        assert [d.text for d in again.heldout(name)] == [d.text for d in corpus.heldout(name)]
