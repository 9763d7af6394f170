import json
import random
import shutil

import pandas as pd
import pytest

from babel_jax.__main__ import main
from babel_jax.corpus import corpus_files, describe
from babel_jax.corpus.phases.order import PHASES
from babel_jax.report import funnel

SOLUTION = "def interleave(first, second):\n    return [x for pair in zip(first, second) for x in pair] + first[len(second):]\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("sources") / "py"
    chosen = random.Random(0)
    for project in range(24):
        for file in range(3):
            names = ["".join(chosen.choices("etaoinshrdlu", k=4)) for _ in range(25)]
            path = root / f"project{project}" / f"file{file}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(f"    {name} = len({name}) + {chosen.randint(0, 10**9)}\n" for name in names))
    (root / "project0" / "copy.py").write_text((root / "project0" / "file0.py").read_text())
    (root / "project1" / "solved.py").write_text(
        (root / "project1" / "file0.py").read_text().replace("len", "abs") + SOLUTION
    )
    return root


@pytest.fixture(scope="module")
def suite(tmp_path_factory):
    problem = {"suite": "own", "language": "python", "task_id": "own/1", "number": 1, "entry_point": "interleave"}
    problem |= {
        "prompt": SOLUTION.split("\n")[0] + "\n",
        "solution": SOLUTION.split("\n", 1)[1],
        "tests": "assert True",
    }
    problem |= {"stops": ["\ndef"], "block": True}
    file = tmp_path_factory.mktemp("suite") / "problems.jsonl"
    file.write_text(json.dumps(problem) + "\n")
    return file


@pytest.fixture(scope="module")
def built(folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "corpus"
    assert main(["corpus", "build", f"--source=python={folder}", f"--out={out}", *SMALL]) == 0
    return out


SMALL = ["--vocab_size=420", "--max_length=32", "--jobs=1"]


def test_build_by_sources(built, capsys):
    """The command of the README; and what `stats` says of it later."""
    assert main(["corpus", "stats", str(built)]) == 0
    printed = capsys.readouterr().out
    assert "Python: 74 files, 0.1 MB found" in printed
    assert "  dropped: duplicate: 1 files" in printed
    assert f"figure: {built / 'funnel.png'}" in printed
    assert corpus_files.load(built).manifest.settings["max_length"] == 32


def test_build_by_manifest_keeps_the_suites_out(folder, suite, tmp_path, capsys):
    """A manifest's suites are read, and their problems do not come into the corpus; an option changes a size."""
    languages = f"languages: {{python: {{sources: [{{path: {folder}}}]}}}}"
    clean = f"clean: {{near_duplicates: false, decontaminate: ['own:{suite}']}}"
    (tmp_path / "m.yaml").write_text(f"vocab_size: 420\nmax_length: 64\n{languages}\n{clean}\n")
    arguments = ["corpus", "build", f"--manifest={tmp_path / 'm.yaml'}", f"--out={tmp_path / 'c'}", "--jobs=1"]
    assert main([*arguments, "--max_length=32"]) == 0
    corpus = corpus_files.load(tmp_path / "c")
    assert corpus.manifest.settings["max_length"] == 32
    stats = corpus.stats.languages["python"]
    assert list(stats.contaminated) == ["own/python/own/1 solution"]
    assert stats.cleaning["contaminated"].files == 1
    assert "  1 benchmark problems found: own/python/own/1 solution\n" in capsys.readouterr().out
    assert main(arguments) == 2
    assert "differs in settings.max_length" in capsys.readouterr().err


def test_build_in_shards(built, folder, tmp_path, capsys):
    """Phase by phase and shard by shard, as an array of jobs does it."""
    arguments = ["corpus", "build", f"--source=python={folder}", f"--out={tmp_path / 'c'}", *SMALL]
    for phase in PHASES:
        for shard in range(2):
            assert main([*arguments, f"--phase={phase}", f"--shard={shard}/2"]) == 0
    assert not (tmp_path / "c").exists()
    assert main([*arguments, "--phase=finish"]) == 0
    assert (tmp_path / "c" / "manifest.json").read_bytes() == (built / "manifest.json").read_bytes()
    capsys.readouterr()
    assert main([*arguments, "--phase=clean", "--shard=0/2"]) == 0  # done: there is nothing to do
    for wrong, message in (
        (["--shard=0/2"], "name it with --phase"),
        (["--phase=clean", "--shard=2/2"], "are 0 to 1"),
        (["--phase=clean", "--shard=a"], "write it as I/N"),
    ):
        assert main([*arguments[:3], f"--out={tmp_path / 'other'}", *wrong]) == 2
        assert message in capsys.readouterr().err


def test_a_phase_waits_for_the_one_before(folder, tmp_path, capsys):
    arguments = ["corpus", "build", f"--source=python={folder}", f"--out={tmp_path / 'c'}", *SMALL]
    assert main([*arguments, "--phase=tokens"]) == 2
    assert "tasks of the phase clean are still to be done" in capsys.readouterr().err


def test_verify(built, capsys, tmp_path):
    assert main(["corpus", "verify", str(built)]) == 0
    assert "every file is as it was built" in capsys.readouterr().out
    heldout = built / "heldout" / "python.parquet"
    content = heldout.read_bytes()
    try:
        heldout.write_bytes(content + b" ")
        assert main(["corpus", "verify", str(built)]) == 2
    finally:
        heldout.write_bytes(content)
    printed = capsys.readouterr()
    assert "heldout/python.parquet is not the file that was built" in printed.out
    assert "(1 faults); build it again" in printed.err


def test_wrong_arguments(folder, tmp_path, capsys):
    for arguments, message in (
        (["build", "--source=python", "--out=x"], "--source python has no folder"),
        (["build", "--source=python=a", "--source=python=b", "--out=x"], "is given twice"),
        (["build", "--source=pyton=a", "--out=x"], "did you mean 'python'"),
        (["build", "--source=python=memory://none/x", "--out=x"], "there is no file or folder memory:///none/x"),
        (["build", "--out=x"], "--manifest --source is required"),
        (["build", f"--source=python={folder}", f"--manifest={folder}", "--out=x"], "not allowed with"),
        (["build", f"--manifest={tmp_path}/none.yaml", "--out=x"], "there is no manifest"),
        (["stats", str(tmp_path)], "holds no corpus"),
        (["verify"], "required"),
        (["bild"], "invalid choice: 'bild'"),
        ([], "required: command"),
    ):
        assert main(["corpus", *arguments]) == 2
        assert message in capsys.readouterr().err


def test_the_funnel_shows_the_steps_that_changed_something(built, tmp_path):
    table = pd.read_csv(built / "funnel.csv")
    figure = funnel.draw(table)
    (ax,) = figure.axes
    assert [label.get_text() for label in ax.get_yticklabels()] == ["found", "exact duplicates"]
    left = [bar.get_width() for bar in ax.patches[2:]]
    assert left == pytest.approx([table["bytes_in"].iloc[0] / 1e6, table["bytes_out"].iloc[-1] / 1e6])
    assert [text.get_text().split(" · ")[1] for text in ax.texts] == ["74", "73"]


def test_the_funnel_of_several_languages_is_the_same_twice(tmp_path):
    rows = [
        (language, step, 1000 - 10 * i, 10**7 - 10**5 * i, 990 - 10 * i, 10**7 - 10**5 * (i + 1))
        for language in ("python", "php", "go", "cpp")
        for i, step in enumerate(("size", "encoding"))
    ]
    pd.DataFrame(rows, columns=describe.FUNNEL_COLUMNS).to_csv(tmp_path / "funnel.csv", index=False)
    first = [path.read_bytes() for path in funnel.build(tmp_path)]
    assert [path.read_bytes() for path in funnel.build(tmp_path)] == first
    assert first[0].startswith(b"<?xml") or b"<svg" in first[0][:300]
    assert first[1].startswith(b"\x89PNG")


def test_a_phase_never_begins_anew(folder, tmp_path, capsys):
    """What hours of shards have done is not removed because a source was touched; `start` may."""
    sources = tmp_path / "sources"
    shutil.copytree(folder, sources)
    arguments = ["corpus", "build", f"--source=python={sources}", f"--out={tmp_path / 'c'}", *SMALL]
    assert main([*arguments, "--phase=clean"]) == 0
    done = list((tmp_path / ".c.partial" / "clean").glob("*.json"))
    next(sources.rglob("*.py")).touch()
    capsys.readouterr()
    assert main([*arguments, "--phase=select"]) == 2
    printed = capsys.readouterr().err
    assert "differs in inputs.python." in printed and "--phase=start" in printed and printed.count("\n") == 1
    assert done and all(file.exists() for file in done)
    assert main([*arguments, "--phase=start"]) == 0
    assert not any(file.exists() for file in done)


@pytest.mark.parametrize("size", ["--vocab_size=0", "--max_length=0"])
def test_a_size_of_nothing_is_refused(folder, tmp_path, capsys, size):
    arguments = ["corpus", "build", f"--source=python={folder}", f"--out={tmp_path / 'c'}", "--jobs=1"]
    assert main([*arguments, size]) == 2
    assert f"{size.partition('=')[0]} is 0; give a whole number of at least 1" in capsys.readouterr().err
