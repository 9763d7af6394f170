"""Files that the project itself wrote, damaged since: whoever reads them says so in one line that names the file, or recovers.

Checkpoints are damaged in test_checkpoint.py.
"""

import contextlib
import itertools
import json
import random
import shutil

import numpy as np
import pytest
from helpers import SMALL, loud, make_run, run_in, small_material, train
from helpers import synthetic_study as synthetic

from babel_jax.__main__ import main
from babel_jax.common import files
from babel_jax.common.errors import UserError
from babel_jax.corpus import build as corpus_build
from babel_jax.corpus import corpus_files, manifest, mixture
from babel_jax.corpus.phases.order import PHASES
from babel_jax.evolution import mechanism
from babel_jax.model import model_folders
from babel_jax.probes import artefacts
from babel_jax.study import analysis, jobs, texts
from babel_jax.suites import harness
from babel_jax.training import drawn, loop, runs

pytestmark = pytest.mark.long

MATERIAL = small_material()
RUN = make_run(steps=40, checkpoint_steps=(16, 32))
SITES = "python-php"


def cut(file):
    content = file.read_bytes()
    file.write_bytes(content[: random.Random(file.name).randrange(1, len(content) - 1)])


def torn(file):
    """The end as a file system leaves it that lost its power: zeros."""
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2] + bytes(len(content) - len(content) // 2))


def folder(file):
    file.unlink(), file.mkdir()


def nulls(file):
    """The same names, and nothing behind them."""
    with contextlib.suppress(ValueError):
        content = json.loads(file.read_bytes())
        file.write_text(json.dumps(dict.fromkeys(content) if isinstance(content, dict) else [None]))
        return
    file.write_text("null")


DAMAGES = {
    "cut": cut,
    "empty": lambda file: file.write_bytes(b""),
    "torn": torn,
    "folder": folder,
    "junk": lambda file: file.write_bytes(random.Random(0).randbytes(200)),
    "list": lambda file: file.write_text("[1, 2]\n"),
    "table": lambda file: file.write_text('{"a": {"b": null}}\n'),
    "nested": lambda file: file.write_text("[" * 100_000),
    "nulls": nulls,
}


@pytest.fixture(scope="module")
def left(tmp_path_factory):
    """What a run, a study, an evaluation and a walk of the probes leave behind."""
    place = tmp_path_factory.mktemp("left")
    frame = synthetic.planted(problems=10, layers=1, steps=synthetic.STEPS[::6])
    synthetic.write_study(place, frame)
    files.write_json(place / "config.json", {"seeds": [0]})
    files.write_json(place / "seconds.json", {"total": 1.5})
    run = place / "seed0" / "continual"
    train(RUN, MATERIAL, run)
    chosen = [{"tokens": 66, "weights": {"python": 1.0}}, {"tokens": 0, "step": 4, "weights": {"python": 2.0}}]
    files.write_json(run / "stages.json", chosen)
    row = {"source": "python", "row": 3, "loss": None}
    files.write_json(run / "stopped.json", {"step": 6, "loss": None, "grad_norm": 1.0, "rows": [row], "measured": []})
    slot = {"problem": 0, "position": 1, "transfer": True, "primary_id": 1, "new_id": 2, "tokens": [1]}
    slot |= {"top": [[[1, 2]]], "top_probability": [[[1, 2]]], "probability": [[[5]]]}
    prompt = {"problem": 0, "transfer": True, "tokens": [1]}
    grid = {"primary": "python", "new": "php", "steps": [0], "layers": 1, "prompts": [prompt], "slots": [slot]}
    files.write_json(run / "diagnostics" / "lens_grid.json", grid | {"names": {}})
    files.write_json(place / "about.json", {"suites": [], "options": {}})
    written = {"suite": "s", "language": "python", "task_id": "1", "sample": 0, "completion": "x"}
    files.write_atomic(place / "completions.jsonl", 3 * (json.dumps(written) + "\n"))
    artefacts.save(place / "step.npz", {"a": np.arange(9)}, artefacts.describe(SMALL, ("python", "php")))
    return place


def metrics_of(place):
    """A resumed run's log: what is torn is lost, and that is said."""
    return loop.Metrics(run_in(place / RUN_DIR, RUN, MATERIAL), None, loop.Clock(1, None), 32, print).records


def in_work(place):
    with harness.work_in(harness.Place(place, [], harness.Session(place, harness.Options())), {}):
        pass


RUN_DIR = "seed0/continual"
READERS = {
    f"{RUN_DIR}/DONE": lambda place: runs.last_step(place / RUN_DIR),
    f"{RUN_DIR}/config.json": lambda place: runs.seed_of(place / RUN_DIR),
    f"{RUN_DIR}/stages.json": lambda place: mixture.read_stages(place / RUN_DIR),
    f"{RUN_DIR}/stopped.json": lambda place: loop._check_stopped(run_in(place / RUN_DIR, RUN, MATERIAL)),
    f"{RUN_DIR}/metrics.jsonl": metrics_of,
    f"{RUN_DIR}/throughput.jsonl": metrics_of,
    f"{RUN_DIR}/diagnostics/lens_grid.json": lambda place: mechanism.read_lens_grid(
        place / RUN_DIR / "diagnostics/lens_grid.json"
    ),
    f"{RUN_DIR}/measurements/rows.parquet": lambda place: main(["report", f"--workdir={place}"]),
    "study.json": lambda place: main(["report", f"--workdir={place}"]),
    "mixtures/unimax.json": lambda place: main(["report", f"--workdir={place}"]),
    "config.json": lambda place: texts.study_config(place / RUN_DIR, "--corpus=DIR"),
    "seconds.json": jobs._Seconds,
    "about.json": in_work,
    "completions.jsonl": lambda place: harness.CompletionLog(place / "completions.jsonl", 1),
    "step.npz": lambda place: artefacts.load(place / "step.npz"),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("file", READERS)
def test_damage_is_one_line_that_names_the_file_or_is_recovered(
    left, tmp_path, monkeypatch, caplog, capsys, file, damage
):
    place = shutil.copytree(left, tmp_path / "left", ignore=shutil.ignore_patterns("checkpoints"))
    DAMAGES[damage](place / file)
    monkeypatch.setattr(analysis, "of_rows", lambda *rest: pytest.fail("read as if it were whole"))
    try:
        result = READERS[file](place)
    except UserError as error:
        message = str(error)
    else:
        message = capsys.readouterr().err.removeprefix("error: ").strip()
        if result != 2:  # recovered
            assert file.endswith(".jsonl")
            if "completions" in file:  # a last line that is torn was never finished
                assert damage in ("cut", "empty", "torn", "junk", "nested", "nulls") and len(result.completions) < 3
                return
            message = caplog.text
            assert "is lost; the run goes on without" in message
    assert "\n" not in message.strip() and str(place / file) in message and ";" in message


def test_a_run_goes_on_without_the_metrics_that_are_lost(left, tmp_path, caplog):
    """The rows that can be read stay, also those behind the damage, and the run ends with the same parameters."""
    run = shutil.copytree(
        left / RUN_DIR, tmp_path / "run", ignore=shutil.ignore_patterns("stopped.json", "stages.json")
    )
    whole = (run / "metrics.jsonl").read_text()
    (run / "DONE").unlink(), shutil.rmtree(run / "checkpoints" / "40")
    lines = whole.splitlines(keepends=True)
    (run / "metrics.jsonl").write_bytes(lines[0].encode()[:10] + b"\0\0\n" + lines[1].encode() + b"\xff{\n")
    train(RUN, MATERIAL, run)
    assert (run / "metrics.jsonl").read_text() == lines[1] and runs.is_done(run)
    assert "metrics.jsonl is damaged: what was measured at 1 of its steps (the first: 16) is lost" in caplog.text


def test_a_run_that_chose_its_stages_does_not_go_on_without_them(tmp_path):
    """Else it would train on with the first weights, without a word."""
    run = make_run(steps=40, checkpoint_steps=(16, 24), online={"every": 8})

    def next_stage(step, params, stages):
        if step == 32:
            raise KeyboardInterrupt
        return {"weights": {"python": float(step)}, "losses": {"python": 1.0}}

    with pytest.raises(KeyboardInterrupt):
        train(run, MATERIAL, tmp_path, next_stage=next_stage)
    (tmp_path / "stages.json").unlink()
    for _ in range(2):
        with pytest.raises(UserError, match="stages.json has 1 stages and the run is at step 24; put back"):
            train(run, MATERIAL, tmp_path, next_stage=next_stage)


def test_a_bad_step_that_cannot_be_read_stops_a_run_until_the_user_decides(left, tmp_path):
    run = shutil.copytree(left / RUN_DIR, tmp_path / "run", ignore=shutil.ignore_patterns("checkpoints"))
    folder(run / "stopped.json")
    with pytest.raises(UserError, match="stopped.json.* go on without that step by bad_step=skip"):
        loop._check_stopped(run_in(run, RUN, MATERIAL))
    with pytest.raises(UserError, match="cannot remove .*stopped.json"):
        loop._check_stopped(run_in(run, make_run(bad_step="skip"), MATERIAL))


def test_what_may_not_be_read_is_one_line(left, monkeypatch, capsys):
    """As a plain user finds it in another one's folder; here everything may be read."""

    def locked(place):
        raise PermissionError(13, "Permission denied", str(place))

    monkeypatch.setattr(files, "path", locked)
    assert main(["report", f"--workdir={left}"]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {left}: Permission denied; mend the path") and error.count("\n") == 1


# --- a corpus -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    root = tmp_path_factory.mktemp("corpus")
    for extension, templates in {
        ".py": ("    {a} = len({a}) + {n}\n", "    {a} = type({a})  # {n}\n"),
        ".php": ("    ${a} = strlen(${a}) + {n};\n", "    ${a} = gettype(${a}); // {n}\n"),
    }.items():
        chosen = random.Random(extension)
        for number in range(24):
            names = ["".join(chosen.choices("etaoinshrdlu", k=4)) for _ in range(25)]
            lines = [templates[i % 2].format(a=name, n=chosen.randint(0, 10**9)) for i, name in enumerate(names)]
            path = root / extension[1:] / f"project{number}" / f"file{extension}"
            path.parent.mkdir(parents=True)
            path.write_text(("<?php\n" if extension == ".php" else "") + "".join(lines))
    sources = manifest.of_sources({"python": [root / "py"], "php": [root / "php"]}, vocab_size=420, max_length=32)
    corpus_build.build(sources, root / "built", jobs=1, progress=False)
    return root / "built"


def read_all(place):
    """All that a study reads of a corpus."""
    read = corpus_files.load(place)
    read.slots(*SITES.split("-"))
    return read.stats, [source.rows(range(len(source))) for source in read.train.values()]


def test_a_damaged_funnel_is_one_line(corpus, tmp_path, capsys):
    for damage, change in DAMAGES.items():
        place = shutil.copytree(corpus, tmp_path / damage)
        change(place / "funnel.csv")
        status = main(["corpus", "stats", str(place)]) if damage != "cut" else 2  # half a table is a table
        assert status == 2 and capsys.readouterr().err.count("\n") == (damage != "cut"), damage


@pytest.mark.parametrize(
    "phase, file",
    [
        ("select", "plan.json"),
        ("clean", "pieces/python-00000.json"),
        ("select", "clean/python-00000.parquet"),
        ("rows", "vocabulary/tokenizer.json"),
        ("rows", "tokens/php-00000.json"),
    ],
)
def test_a_build_that_was_killed_and_damaged_is_one_line(corpus, tmp_path, phase, file):
    sources = manifest.of_sources(
        {"python": [corpus.parent / "py"], "php": [corpus.parent / "php"]}, vocab_size=420, max_length=32
    )
    work = corpus_build.start(sources, tmp_path / "built", [])
    for earlier in itertools.takewhile(phase.__ne__, PHASES):
        corpus_build.run_tasks(work, earlier, corpus_build.tasks(work, earlier), 1, progress=False)
    whole = (work / file).read_bytes()
    for damage, change in DAMAGES.items():
        change(work / file)
        with pytest.raises(UserError) as error:
            corpus_build.run_tasks(work, phase, corpus_build.tasks(work, phase), 1, progress=False)
        assert "\n" not in str(error.value) and str(work) in str(error.value), damage
        (work / file).rmdir() if (work / file).is_dir() else None
        (work / file).write_bytes(whole)


def rows_file(name):
    return f"rows/token_rows/php/1.0.0/{name}"


SHARD = rows_file("token_rows-train.array_record-00000-of-00001")
CORPUS_FILES = [
    "manifest.json",
    "stats.json",
    "tokenizer.model",
    f"call_sites/{SITES}.npz",
    rows_file("dataset_info.json"),
    rows_file("features.json"),
    SHARD,
]


@pytest.mark.parametrize("file", CORPUS_FILES)
def test_a_damaged_corpus_is_one_line(corpus, tmp_path, file):
    for damage, change in DAMAGES.items():
        place = shutil.copytree(corpus, tmp_path / damage)
        change(place / file)
        with pytest.raises(UserError, match=str(place)) as error:
            read_all(place)
        assert "\n" not in str(error.value) and ("again" in str(error.value) or "whole" in str(error.value))


def test_a_shard_that_is_gone_cut_or_changed(corpus, tmp_path, capsys):
    place = shutil.copytree(corpus, tmp_path / "corpus")
    content = (place / SHARD).read_bytes()
    changed = bytearray(content)
    changed[len(changed) // 2] ^= 1

    def run(*command):
        status = main(["corpus", *command])
        return status, capsys.readouterr()

    mix = ("mix", str(place), "--policy=tokens", "--tokens=1000")
    assert run(*mix)[0] == 0
    (place / SHARD).unlink()
    status, printed = run(*mix)
    assert (
        status == 2 and printed.err.startswith(f"error: there is no {place / SHARD}; ") and printed.err.count("\n") == 1
    )
    (place / SHARD).write_bytes(content[:-100])
    status, printed = run(*mix)
    assert status == 2 and "shards in" in printed.err and printed.err.count("\n") == 1
    status, printed = run("verify", str(place))
    assert status == 2 and f"{SHARD} is not the file that was built" in printed.out
    (place / SHARD).write_bytes(changed)  # of the same size: found where the row is read
    with pytest.raises(UserError, match="cannot read token rows from .*php"):
        read_all(place)


# --- convert --------------------------------------------------------------------------------------------------------------


def test_a_convert_that_fails_leaves_nothing(tmp_path, capsys, monkeypatch):
    def refused(*more):
        assert main(["convert", *map(str, more)]) == 2
        return capsys.readouterr().err

    hf, run = tmp_path / "hf", tmp_path / "a" / "b" / "run"
    model_folders.write_model(hf, SMALL, loud(SMALL))
    content = (hf / "model.safetensors").read_bytes()
    (hf / "model.safetensors").write_bytes(content[:100])
    assert "model.safetensors" in refused("--huggingface", hf, "--run", run)
    assert "has no finished checkpoint" in refused("--huggingface", tmp_path / "c", "--run", run, "--step=3")
    (hf / "model.safetensors").write_bytes(content)

    def full(place, value):
        raise UserError("the disk is full")

    write_json = files.write_json
    monkeypatch.setattr(files, "write_json", full)
    refused("--huggingface", hf, "--run", run)
    (tmp_path / "mine").mkdir(), (tmp_path / "mine" / "kept").write_text("")
    refused("--huggingface", hf, "--run", tmp_path / "mine")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hf", "mine"]
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["kept"]
    monkeypatch.setattr(files, "write_json", write_json)
    assert main(["convert", f"--huggingface={hf}", f"--run={run}"]) == 0
    monkeypatch.setattr(files, "write_json", full)
    refused("--huggingface", tmp_path / "back", "--run", run, "--step=0")
    assert not (tmp_path / "back").exists()
    shutil.rmtree(run / "checkpoints" / "0" / "metadata")  # half copied
    assert "checkpoint 0 in" in refused("--huggingface", tmp_path / "back", "--run", run, "--step=0")


def test_a_finished_run_whose_record_is_damaged_is_not_verified(left, tmp_path, capsys):
    for number, (file, damage) in enumerate((file, damage) for file in ("DONE", "config.json") for damage in DAMAGES):
        run = shutil.copytree(left / RUN_DIR, tmp_path / str(number), ignore=shutil.ignore_patterns("checkpoints"))
        DAMAGES[damage](run / file)
        assert main(["corpus", "verify", f"--run={run}"]) == 2
        error = capsys.readouterr().err
        assert str(run / file) in error and error.count("\n") == 1
    assert drawn.compare(left / RUN_DIR)[1] == []


@pytest.mark.parametrize(
    "file, path, value",
    [
        ("config.json", ("config", "batch_size"), 0),
        ("config.json", ("config", "batch_size"), -4),
        ("config.json", ("config", "seed"), -1),
        ("config.json", ("config", "seed"), 2**32),
        ("DONE", ("step",), -1),
        ("DONE", ("tokens",), -1),
        ("DONE", ("tokens",), 0),
        ("DONE", ("tokens",), 10**9 + 1),
        ("DONE", ("tokens",), True),
        ("DONE", ("sources", "php", "drawn"), -1),
    ],
)
def test_a_number_that_no_run_has_is_damage(left, tmp_path, capsys, file, path, value):
    run = shutil.copytree(left / RUN_DIR, tmp_path / "run", ignore=shutil.ignore_patterns("checkpoints"))
    content = table = json.loads((run / file).read_text())
    for name in path[:-1]:
        table = table[name]
    assert path[-1] in table
    table[path[-1]] = value
    (run / file).write_text(json.dumps(content))
    assert main(["corpus", "verify", f"--run={run}"]) == 2
    error = capsys.readouterr().err
    assert f"{run / file} is damaged" in error and error.count("\n") == 1


@pytest.mark.parametrize(
    "change",
    [
        {"new": []},
        {"new": ["php", "php"]},
        {"seeds": []},
        {"seeds": [-1]},
        {"primary": "cobol"},
        {"original": {"python": 1.0}},
        {"original_share": -1},
        {"versions": []},
        {"wall_seconds": {"training": "long"}},
        {"config": {"candidates": 3}},
    ],
    ids=str,
)
@pytest.mark.parametrize("verb", ["report", "optimize"])
def test_a_description_that_no_study_has_is_damage(left, tmp_path, capsys, verb, change):
    described = json.loads((left / "study.json").read_text())
    (tmp_path / "study.json").write_text(json.dumps(described | change))
    assert main([verb, f"--workdir={tmp_path}"]) == 2
    error = capsys.readouterr().err
    assert "study.json is damaged" in error and error.count("\n") == 1
    assert [place.name for place in tmp_path.iterdir()] == ["study.json"]
