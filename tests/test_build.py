import errno
import json
import random

import numpy as np
import pytest

from babel_jax.corpus import build as corpus_build
from babel_jax.corpus import rows
from babel_jax.errors import UserError

OPTIONS = dict(vocab_size=420, max_length=32, progress=False)


def write_sources(root, extension, template, projects=24, files=3):
    chosen = random.Random(extension)
    for project in range(projects):
        for file in range(files):
            path = root / f"project{project}" / f"file{file}{extension}"
            path.parent.mkdir(parents=True, exist_ok=True)
            names = ["".join(chosen.choices("etaoinshrdlu", k=4)) for _ in range(25)]
            lines = [template.format(a=name, n=chosen.randint(0, 10**9)) for name in names]
            path.write_text(("<?php\n" if extension == ".php" else "") + "".join(lines))


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("sources")
    write_sources(root / "py", ".py", "    {a} = len({a}) + {n}\n")
    write_sources(root / "ph", ".php", "    ${a} = strlen(${a}) + {n};\n")
    (root / "py" / "project0" / "latin.py").write_bytes(b"x = 1\n" * 20 + b"caf\xe9")
    (root / "py" / "project1" / "mark.py").write_text("x = 1\n" * 20 + "\u2581")
    return {"python": [root / "py"], "php": [root / "ph"]}


@pytest.fixture(scope="module")
def built(folders, tmp_path_factory):
    return corpus_build.build(folders, tmp_path_factory.mktemp("out") / "corpus", **OPTIONS)


def contents(directory):
    return {str(f.relative_to(directory)): f.read_bytes() for f in sorted(directory.rglob("*")) if f.is_file()}


def test_two_builds_are_byte_identical(built, folders, tmp_path):
    again = corpus_build.build(folders, tmp_path / "elsewhere", **OPTIONS)
    assert contents(again.directory) == contents(built.directory)
    assert list(tmp_path.iterdir()) == [again.directory]  # no working folder is left


def test_rows_decode_to_the_documents(built):
    """Held-out rows hold the held-out files and nothing else, in order, but for the last row's rest."""
    for language, source in built.validation.items():
        text = "".join(document.content.decode() for document in built.heldout(language))
        ids = built.validation[language].rows(range(len(source))).ravel()
        decoded = built.tokenizer.decode(ids[ids != built.tokenizer.document_end])
        assert text.startswith(decoded) and len(decoded) > 0.8 * len(text)
        assert built.tokenizer.token_bytes_V[ids].sum() == len(decoded.encode())


def test_no_project_stands_on_both_sides(built):
    for language, summary in built.manifest["languages"].items():
        held_out = {document.path.split("/")[2] for document in built.heldout(language)}
        assert held_out == {project.split("/")[1] for project in summary["projects"]["validation"]}
        assert summary["validation"]["files"] == 3 * len(held_out)  # whole projects
        assert summary["train"]["files"] == 72 - summary["validation"]["files"]
        assert 0.02 < summary["validation"]["bytes"] / summary["bytes"] < 0.1


def test_dropped_files_are_counted_by_reason(built):
    cleaning = built.manifest["languages"]["python"]["cleaning"]
    assert cleaning["not_utf8"]["files"] == cleaning["whitespace_mark"]["files"] == 1
    assert cleaning["kept"]["files"] == 72
    assert "dropped: not utf8: 1 files" in corpus_build.report(built)


def test_slots_of_both_languages(built):
    slots = built.slots("python", "php")
    assert set(slots) == {"python", "php"}
    for language, identifier in (("python", "len"), ("php", "strlen")):
        column = {"python": "primary_id", "php": "new_id"}[language]
        arrays = slots[language]
        assert 0 < len(arrays["tokens"]) <= corpus_build.call_sites.PER_PAIR
        piece = built.tokenizer.pieces()[arrays[column][0]].lstrip("\u2581")
        assert piece and identifier.startswith(piece)
        assert (arrays["primary_id"] != arrays["new_id"]).all()
    with pytest.raises(UserError, match="no call sites of python and go"):
        built.slots("python", "go")


def test_a_second_build_finds_the_first_and_refuses_another(built, folders, tmp_path, monkeypatch):
    monkeypatch.setattr(corpus_build, "_build", None)  # must not be called
    assert corpus_build.build(folders, built.directory, **OPTIONS).manifest == built.manifest
    with pytest.raises(UserError, match=r"holds another corpus \(it differs in settings.max_length\)"):
        corpus_build.build(folders, built.directory, **OPTIONS | {"max_length": 64})
    with pytest.raises(UserError, match="the order of the languages"):
        corpus_build.build(dict(reversed(folders.items())), built.directory, **OPTIONS)
    write_sources(tmp_path / "py", ".py", "    {a} = {n}\n", files=1)
    with pytest.raises(UserError, match=r"it differs in inputs\.python"):
        corpus_build.build(folders | {"python": [tmp_path / "py"]}, built.directory, **OPTIONS)


def test_a_full_disk_leaves_nothing(folders, tmp_path, monkeypatch):
    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / ".corpus.partial").mkdir()  # what a killed build left
    monkeypatch.setattr(rows, "write", full)
    with pytest.raises(UserError, match="No space left on device.*Free space"):
        corpus_build.build(folders, tmp_path / "corpus", **OPTIONS)
    assert not list(tmp_path.iterdir())


def test_errors_say_what_to_do(folders, built, tmp_path):
    (tmp_path / "empty").mkdir()
    for sources, message in (
        ({"pyton": []}, "unknown language 'pyton'; did you mean 'python'"),
        ({"python": [tmp_path / "empty"]}, r"no Python file \(.py\) in"),
        (folders | {"php": folders["python"]}, r"no PHP file \(.php\) in"),
        ({}, "at least one language"),
    ):
        with pytest.raises(UserError, match=message):
            corpus_build.build(sources, tmp_path / "corpus", **OPTIONS)
    with pytest.raises(UserError, match="exists and is no corpus"):
        corpus_build.build(folders, tmp_path / "empty", **OPTIONS)
    with pytest.raises(UserError, match="holds no corpus"):
        corpus_build.load(tmp_path)
    with pytest.raises(UserError, match="has 420 tokens, not 512"):
        corpus_build.load(built.directory, vocab_size=512)
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


def test_a_tokenizer_of_another_corpus_is_refused(folders, tmp_path):
    corpus = corpus_build.build({"php": folders["php"]}, tmp_path / "corpus", **OPTIONS)
    manifest = json.loads((tmp_path / "corpus" / "manifest.json").read_text())
    manifest["tokenizer"]["sha"] = "0" * 16
    (tmp_path / "corpus" / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match="not the one that made the rows"):
        corpus_build.load(corpus.directory)


def test_held_out_projects_meet_the_share():
    sizes = {f"project{i}": 10 for i in range(100)} | {f"huge{i}": 400 for i in range(50)}
    held_out = corpus_build.held_out_projects(sizes, 0.01)
    share = sum(sizes[project] for project in held_out) / sum(sizes.values())
    assert 0.01 <= share <= 0.015
    assert not any(project.startswith("huge") for project in held_out)
    assert corpus_build.held_out_projects({"a": 100, "b": 90}, 0.05) == {"b"}
    assert corpus_build.held_out_projects({"a": 100}, 0.05) == set()


def test_sample_is_bounded_and_spread():
    texts = [f"{i:04d}" * 25 for i in range(1000)]
    sample = list(corpus_build._sample(texts, 100_000, 10_000))
    assert 9_000 <= sum(map(len, sample)) <= 10_000
    assert np.ptp([int(text[:4]) for text in sample]) > 950
    assert list(corpus_build._sample(texts[:10], 1000, 10_000)) == texts[:10]


def test_command_line(folders, tmp_path, capsys):
    source = ["--source", f"python={folders['python'][0]}", "--source", f"php={folders['php'][0]}"]
    sizes = ["--vocab_size=420", "--max_length=32"]
    corpus_build.main(["build", *source, f"--out={tmp_path / 'corpus'}", *sizes])
    assert "Python: 74 files" in capsys.readouterr().out
    with pytest.raises(UserError, match="--source python has no folder"):
        corpus_build.main(["build", "--source", "python", "--out=x"])
