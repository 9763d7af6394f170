"""A series on a hub: probed checkpoint by checkpoint as runs of ours are, within the room of one, and taken up again."""

import dataclasses
import json
import subprocess
import sys
import threading
from pathlib import Path

import jax
import numpy as np
import pytest
from helpers import SMALL, environment, hub_server, page_numbers, small_material
from helpers.commands import refused
from helpers.family_oracle import of_tolerance
from helpers.hub_models import files_of, hub_here  # noqa: F401

from babel_jax.__main__ import main
from babel_jax.common import files, measurements
from babel_jax.common.errors import UserError
from babel_jax.common.material import Material
from babel_jax.measuring import instruments, probe_walk, series, series_plan, walk
from babel_jax.measuring.probe_walk import Options
from babel_jax.model import model_folders
from babel_jax.model.tokenizer_files import TokenizerFiles
from babel_jax.probes import artefacts, forward
from babel_jax.training import foreign

MATERIAL = small_material()
CONFIG = dataclasses.replace(SMALL, vocab_size=MATERIAL.vocab_size, max_length=MATERIAL.max_length)
NAME, STEPS = "org/tiny", (0, 1, 16, 256, 1000, 2000)
ALL = Options()
SLACK = 8_000  # bytes of what huggingface_hub notes beside files, and of the small files that are kept
pytestmark = pytest.mark.filterwarnings("ignore:only .* of the .* neurons", "ignore:the thresholds")


@pytest.fixture(scope="module")
def revisions(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    tokenizer = TokenizerFiles({"tokenizer_config.json": b"{}"}, {"eos_token_id": 5})
    return {f"step{step}": files_of(folder / str(step), CONFIG, step, tokenizer) for step in STEPS}


@pytest.fixture
def server(hub_here, revisions):  # noqa: F811
    hub_here.repositories[NAME] = hub_server.Repository(revisions | {"main": {"README.md": b""}})
    return hub_here


def tiny(**changes) -> series.Series:
    return dataclasses.replace(series.of_model(NAME, "step*", 512), **changes)


def probed(out, named=None, options=ALL, **how):
    sources = series.sources(named or tiny(), out, **how)
    return probe_walk.probe(sources, lambda source: (MATERIAL, None), out, options)


def results(out) -> dict:
    return {
        str(place.relative_to(out)): place.read_bytes()
        for place in sorted(Path(out).rglob("*"))
        if place.is_file() and ".downloads" not in place.parts
    }


def taken(out) -> int:
    """Bytes of models below the results, as they are now."""
    total = 0
    for place in (Path(out) / ".downloads").rglob("*"):
        try:
            total += place.stat().st_size * place.is_file()
        except FileNotFoundError:  # it was deleted at this moment
            continue
    return total


def test_a_series_is_measured_as_the_runs_that_it_could_be_imported_into(server, revisions, tmp_path):
    forward.jitted_pass.cache_clear()
    (place,) = probed(tmp_path / "out")
    assert place == files.path(tmp_path / "out" / "tiny" / "checkpoints")
    assert "checkpoints: a gpt2 model of" in page_numbers.check_probe(tmp_path / "out")
    assert forward.jitted_pass.cache_info().currsize == 1
    run = files.path(tmp_path / "seed0" / "checkpoints")
    for step in STEPS:
        folder = tmp_path / f"model{step}"
        for name, content in revisions[f"step{step}"].items():
            files.write_atomic(folder / name, content)
        foreign.import_run(folder, run, step, 512 * step)
    (own,) = probe_walk.probe([walk.OwnRun(run)], lambda source: (MATERIAL, None), tmp_path / "own", Options())
    for step in STEPS:
        arrays, about = artefacts.load(place / f"{walk.file_name(step)}.npz")
        others, of_run = artefacts.load(own / f"{walk.file_name(step)}.npz")
        assert arrays.keys() == others.keys() and all(np.array_equal(arrays[name], others[name]) for name in arrays)
        assert about["parameters"] == of_run["parameters"] and about["model"] == of_run["model"]
        assert (about["revision"], about["phase"], about["parent"]) == (f"step{step}", "checkpoints", None)
        assert about["tokens"] == 512 * step and about["repository"] == NAME and len(about["commit"]) == 40
    here, there = (measurements.read(tmp_path / folder) for folder in ("out", "own"))
    assert set(here["step"]) == set(STEPS) and here.drop(columns="run").equals(there.drop(columns="run"))


def test_the_files_of_one_checkpoint_are_there_at_a_time_and_the_next_ones_come_meanwhile(
    server, revisions, tmp_path, monkeypatch
):
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 4096)  # what has come is written at once
    events, room = [], []
    largest = max(sum(map(len, held.values())) for held in revisions.values())

    begun, came, measure = threading.Event(), threading.Event(), instruments.measure

    def at_piece(request, sent):
        room.append(taken(tmp_path / "out"))
        if request.file != "model.safetensors":
            return
        if sent == 0:
            step = next(step for step in STEPS if server.repositories[NAME].commit(f"step{step}") == request.revision)
            events.append(("fetched from", step))
            if step > 0:
                begun.wait(60)  # for the measuring of the checkpoint before, which waits for this one
        if sent == len(revisions["step0"]["model.safetensors"]):
            came.set()

    def measured(checkpoint, *given):
        events.append(("measured", checkpoint.step))
        came.clear()
        begun.set()
        if checkpoint.step != STEPS[-1]:
            assert came.wait(60)
        begun.clear()
        room.append(taken(tmp_path / "out"))
        return measure(checkpoint, *given)

    server.at_piece = at_piece
    monkeypatch.setattr(instruments, "measure", measured)
    probed(tmp_path / "out")
    assert [step for what, step in events if what == "measured"] == list(STEPS)
    for one, later in zip(STEPS, STEPS[1:], strict=False):
        # Had the download waited for the measuring to end, the latter would have waited for it in vain.
        assert abs(events.index(("fetched from", later)) - events.index(("measured", one))) == 1
    assert max(room) <= largest + SLACK and taken(tmp_path / "out") < SLACK


def test_what_a_killed_process_has_left_takes_no_room(server, revisions, tmp_path):
    """The part of a file of the checkpoint that comes first, and a whole one of another."""
    (source,) = series.sources(tiny(), tmp_path / "out")
    assert source.steps() == list(STEPS)
    for step, name in ((0, ".cache/huggingface/download/x.1.incomplete"), (16, "model.safetensors")):
        files.write_atomic(source._place(step) / name, b"x" * 20_000)
    room = []
    server.at_piece = lambda request, sent: room.append(taken(tmp_path / "out"))
    probed(tmp_path / "out", options=Options(steps=(0,)))
    assert max(room) <= sum(map(len, revisions["step0"].values())) + SLACK and taken(tmp_path / "out") < SLACK


def test_what_is_measured_is_not_fetched_again(server, tmp_path, monkeypatch):
    probed(tmp_path / "out", options=Options(steps=(16, 1000)))
    assert {request.file for request in server.asked("file")} >= {"model.safetensors", "config.json"}
    server.requests.clear()
    probed(tmp_path / "out", options=Options(steps=(16, 1000)))
    assert not server.asked("file") and len(server.requests) == 2  # what there is, and what files the first one has
    server.requests.clear()
    probed(tmp_path / "out")
    weights = [request for request in server.asked("file") if request.file == "model.safetensors"]
    assert len(weights) == len(STEPS) - 2
    whole = results(tmp_path / "out")
    probed(tmp_path / "at_once")
    assert whole == results(tmp_path / "at_once")


def test_kept_downloads_lie_in_the_cache_and_serve_without_a_network(server, tmp_path, monkeypatch):
    probed(tmp_path / "out", options=Options(steps=(0, 16)), keep=True)
    assert taken(tmp_path / "out") < 100
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    server.requests.clear()
    probed(tmp_path / "again", options=Options(steps=(0, 16)), keep=True)
    assert not server.requests
    assert results(tmp_path / "out") == results(tmp_path / "again")
    with pytest.raises(UserError, match=r"has no checkpoint 1; there are \[0, 16\]"):
        probed(tmp_path / "more", options=Options(steps=(1,)))


def test_branches_are_runs_with_a_parent_and_seeds_are_compared(server, revisions, tmp_path):
    server.repositories["org/other"] = server.repositories[NAME]
    (tmp_path / "s.yaml").write_text(
        "name: two\nseeds: {0: org/tiny, 3: org/other}\ntokens_per_step: 512\n"
        "runs:\n  pretrain: {revisions: step1*}\n"
        "  anneal: {revisions: step2*, parent: pretrain, from_step: 1000, tokens_per_step: 100}\n"
    )
    named = series.read(tmp_path / "s.yaml")
    places = probed(tmp_path / "out", named, Options(), runs=())
    assert [f"{place.parent.name}/{place.name}" for place in places] == [
        f"two_seed{seed}/{run}" for seed in (0, 3) for run in ("pretrain", "anneal")
    ]
    _, about = artefacts.load(places[1] / f"{walk.file_name(56)}.npz")
    assert about["parent"] == {"run": "pretrain", "step": 1000} and about["phase"] == "anneal"
    assert about["tokens"] == 512 * 1000 + 100 * 56 and about["revision"] == "step256"
    frame = measurements.read(tmp_path / "out")
    assert set(frame["seed"]) == {0, 3, -1} and set(frame["run"]) == {"pretrain", "anneal"}


def test_a_series_that_grows_is_followed(server, revisions, tmp_path, monkeypatch):
    held = server.repositories[NAME].revisions
    last = held.pop("step2000")
    waits = []

    def wait(seconds):
        waits.append(seconds)
        if len(waits) == 2:
            held["step2000"] = last

    monkeypatch.setattr(walk.time, "sleep", wait)
    phase = series.Phase("step*", last_step=2000)
    sources = series.sources(tiny(runs={"checkpoints": phase}), tmp_path / "out")
    probe_walk.probe(sources, lambda source: (MATERIAL, None), tmp_path / "out", Options(), follow=True)
    assert waits == [series.POLL_SECONDS] * 2
    frame = measurements.read(tmp_path / "out")
    assert set(frame[frame["metric"] == "jaccard_last"]["step"]) == set(STEPS)


def test_a_dry_run_says_what_it_would_take_and_fetches_no_model(server, revisions, tmp_path):
    probed(tmp_path / "out", options=Options(steps=(1000,)))
    server.requests.clear()
    sources = series.sources(tiny(), tmp_path / "out")
    lines = list(series_plan.lines(sources, lambda source: (MATERIAL, None), tmp_path / "out", ()))
    assert not [request for request in server.asked("file") if request.file == "model.safetensors"]
    size = sum(len(revisions["step0"][name]) for name in ("config.json", "model.safetensors"))
    assert lines[0] == f"tiny/checkpoints: org/tiny, {size / 1000:.1f} kB a checkpoint"
    assert lines[1:7] == [
        f"  step{step}: step {step}, {512 * step:,} tokens" + ", measured already" * (step == 1000) for step in STEPS
    ]
    assert lines[7] == f"5 checkpoints to measure: {5 * size / 1000:.1f} kB to fetch."
    assert lines[8].startswith(f"disk: {size / 1000:.1f} kB and the results; ") and lines[9].startswith("time: about ")


def test_the_verb_takes_a_series_and_refuses_what_makes_none(server, tmp_path, capsys):
    named = [f"--huggingface={NAME}", "--revisions=step*", "--tokens_per_step=512", f"--out={tmp_path / 'out'}"]
    assert "give --checkpoints of runs, --series=FILE or --huggingface" in refused(capsys, "probe", f"--out={tmp_path}")
    assert "needs --revisions and --tokens_per_step" in refused(capsys, "probe", named[0], f"--out={tmp_path}")
    assert "--restore goes with --checkpoints" in refused(capsys, "probe", *named, "--restore=head", "--restore_step=0")
    assert "--dry_run goes with a series elsewhere" in refused(
        capsys, "probe", "--checkpoints", "x", "--dry_run", f"--out={tmp_path}"
    )
    assert main(["probe", *named]) == 2
    assert "org/tiny (checkpoints) belongs to no study; say what to read" in capsys.readouterr().err


def test_series_files_that_are_none_are_one_line(tmp_path):
    whole = {"name": "a", "repository": "o/a", "tokens_per_step": 8, "runs": {"x": {"revisions": "s*"}}}
    for change, message in (
        ({"name": 3}, "is not a series file: name is 3"),
        ({"step": 3}, "is not a series file: unknown key 'step'"),
        ({"runs": {"x": {"revision": "s*"}}}, "is not a series file: runs.x has no 'revisions'"),
        ({"runs": {"x": {"revisions": "s*", "parents": "y"}}}, "unknown key 'parents'; did you mean 'parent'"),
        ({"runs": {"x": {"revisions": "main"}}}, "`revisions` of x is 'main', without a \\* where the step stands"),
        ({"runs": {}}, "it has no `runs`"),
        ({"runs": {"x": {"revisions": "s*", "parent": "x"}}}, "the parent of x is 'x', which is no other run"),
        ({"repository": None}, "give `repository`, or `seeds` with a repository each"),
        ({"repository": "a"}, "seed 0 has the repository 'a'; give a whole number and OWNER/NAME"),
        ({"seeds": {"0": "o/a"}}, "give `repository`, or `seeds` with a repository each"),
        ({"tokens_per_step": 0}, "tokens_per_step is 0"),
        ({"name": "../a"}, "the name of a series is"),
    ):
        (tmp_path / "s.yaml").write_text(json.dumps(whole | change))
        with pytest.raises(UserError, match=message) as error:
            series.read(tmp_path / "s.yaml")
        assert str(error.value).isprintable()
    (tmp_path / "s.yaml").write_text("name: [")
    with pytest.raises(UserError, match="cannot read .*s.yaml as YAML"):
        series.read(tmp_path / "s.yaml")


def test_checkpoints_of_another_model_or_two_of_a_step_are_refused(server, revisions, tmp_path):
    wider = dataclasses.replace(CONFIG, ffn_width=2 * CONFIG.ffn_width)
    held = dict(server.repositories[NAME].revisions)
    server.repositories[NAME].revisions["step16"] = files_of(tmp_path / "wide", wider, 0)
    with pytest.raises(
        UserError, match=r"step16 of org/tiny \(checkpoints\) is of another model than its first .*ffn_width"
    ):
        probed(tmp_path / "out")
    assert len(results(tmp_path / "out")) >= 4  # the two before it
    server.repositories[NAME].revisions = held | {"step0016": held["step16"]}
    with pytest.raises(UserError, match="org/tiny has two revisions of step 16, step16 and step0016"):
        probed(tmp_path / "out")
    with pytest.raises(UserError, match="none of its revisions is 'stage\\*': give another glob"):
        probed(tmp_path / "none", series.of_model(NAME, "stage*", 1))


def test_results_in_a_bucket_have_their_downloads_beside_the_cache(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path))
    folders = {series.downloads_of(f"gs://bucket/{name}").parent for name in ("a", "b")}
    assert folders == {tmp_path / "babel_jax"} and series.downloads_of(tmp_path) == tmp_path / ".downloads"
    assert series.downloads_of("gs://bucket/a") != series.downloads_of("gs://bucket/b")


def test_a_model_whose_tokenizer_lies_elsewhere_gets_that(server, revisions, tmp_path):
    (source,) = series.sources(tiny(), tmp_path / "out")
    with source.at_work():
        assert dict(source.tokenizer().contents) == {"tokenizer_config.json": b"{}"} | {
            name: content for name, content in revisions["step0"].items() if name == "generation_config.json"
        }
    server.repositories["org/words"] = hub_server.Repository({"main": {"config.json": b"{}", "merges.txt": b"a b"}})
    (source,) = series.sources(tiny(tokenizer="org/words"), tmp_path / "out")
    with source.at_work():
        assert source.tokenizer().contents["merges.txt"] == b"a b" and source.tokenizer().tokens["eos_token_id"] == 5
    assert model_folders.read_config(source._described)["model_type"] == "gpt2"


def test_the_ready_files_say_how_many_tokens_a_checkpoint_has_seen():
    found = {place.stem: series.read(place) for place in Path("configs/series").glob("*.yaml")}
    last = {
        "pythia_160m": ("pretrain", 143000, 299.9e9),
        "pythia_160m_seeds": ("pretrain", 143000, 299.9e9),
        "opencoder_1_5b": ("anneal", 23841, 1.664e12),
        "olmo2_1b": ("stage2_ingredient1", 23852, 4.05e12),
        "smollm2_135m": ("pretrain", 1920000, 2.013e12),
        "openeurollm_datamix": ("pretrain", 953675, 4e12),
        "hplt_eng": ("pretrain", 47684, 100e9),
    }
    assert found.keys() == last.keys()
    for name, (run, step, tokens) in last.items():
        assert found[name].tokens(run, step) == pytest.approx(tokens, rel=1e-3) and found[name].source


@pytest.mark.parametrize(
    "glob, revision, step",
    [
        ("step*", "step143000", 143000),
        ("step*", "step1000-tokens4B", None),
        ("step-*", "step-240000", 240000),
        ("checkpoint_*", "checkpoint_0005000", 5000),
        ("stage1-step*-tokens*B", "stage1-step10000-tokens21B", 10000),
        ("stage1-step*-tokens*B", "stage2-ingredient1-step1000-tokens3B", None),
        ("v?.step*", "v2.step7", 7),
        ("v?.step*", "v2xstep7", None),
    ],
)
def test_the_first_star_of_a_glob_is_the_step(glob, revision, step):
    assert series._step(glob, revision) == step


LIFE = """
import sys
from helpers import small_material
from babel_jax.measuring import probe_walk, series
from huggingface_hub import constants
constants.DOWNLOAD_CHUNK_SIZE = 4096  # what has come is written at once
material, out = small_material(), sys.argv[1]
sources = series.sources(series.of_model("org/tiny", "step*", 512), out)
probe_walk.probe(sources, lambda source: (material, None), out)
"""
KILLS = 5


@pytest.mark.processes
@pytest.mark.long
def test_killed_at_any_moment_it_goes_on_with_no_more_requests_and_room_than_needed(server, revisions, tmp_path):
    out, rng = tmp_path / "out", np.random.default_rng(20)
    largest = max(sum(map(len, held.values())) for held in revisions.values())
    step_of = {server.repositories[NAME].commit(name): int(name.removeprefix("step")) for name in revisions}
    room, life = [], {}

    def weights():
        return [step_of[request.revision] for request in server.asked("file") if request.file == "model.safetensors"]

    def at_piece(request, sent):
        room.append(taken(out))
        if request.file != "model.safetensors" or "dies" not in life:
            return
        whole, at, kind = life["dies"]
        # In a download: after some of its pieces. In a probe: while the next one is fetched, this one is measured.
        if len(weights()) == at and (sent >= whole if kind == "download" else sent == 0):
            if kind == "probe":
                threading.Event().wait(rng.uniform(0, 0.3))
            life.pop("process").kill()
            del life["dies"]

    server.at_piece = at_piece
    environ = environment() | {"HF_ENDPOINT": server.url, "HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_XET": "1"}
    kinds = ["download", "probe", *rng.choice(["download", "probe"], KILLS - 2)]
    for kind in [*rng.permutation(kinds), None]:
        measured = {int(place.stem[5:]) for place in out.rglob("step_*.parquet")}
        half = {place.parent.name for place in out.rglob("config.json") if place.parent.name.startswith("step_")}
        server.requests.clear()
        if kind:
            life["dies"] = int(rng.integers(0, 2)) * hub_server.PIECE, 1 if kind == "download" else 2, kind
        process = life["process"] = subprocess.Popen([sys.executable, "-c", LIFE, str(out)], env=environ)
        assert process.wait(300) == (-9 if kind else 0)
        left = [step for step in STEPS if step not in measured]
        assert weights() == left[: len(weights())]  # each once, and none that is measured
        assert len(server.asked("refs")) == 1
        first = [request.file for request in server.asked("file") if step_of.get(request.revision) == left[0]]
        if left[0] > 0 and any(name.startswith(walk.file_name(left[0])) for name in half):
            assert first == ["model.safetensors"]  # its config.json was there whole
    assert weights() == left and max(room) <= largest + SLACK
    server.at_piece = lambda request, sent: None
    probed(tmp_path / "at_once")
    assert results(out) == results(tmp_path / "at_once")


def material_of(vocab: int, length: int) -> Material:
    """Random rows of two languages, and slots at random places of others."""
    rng = np.random.default_rng(7)
    languages = ("python", "php")

    def rows(n):
        ones = np.ones((n, length), bool)
        return {
            "tokens": rng.integers(0, vocab, (n, length + 1)).astype(np.int32),
            "loss": ones,
            "knowledge": ones,
        }

    def slots(n):
        ids = {f"{side}_id": rng.integers(0, vocab, n).astype(np.int32) for side in ("primary", "new")}
        about = {name: np.arange(n) % 3 for name in ("pair", "prompt")} | {"subset": np.zeros(n, np.int32)}
        tokens = rng.integers(0, vocab, (n, length)).astype(np.int32)
        return {"tokens": tokens, "position": rng.integers(0, length, n), **ids, **about}

    return dataclasses.replace(
        MATERIAL,
        vocab_size=vocab,
        max_length=length,
        document_end=-1,
        heldout={name: rows(5) for name in languages},
        slots={name: slots(6) for name in languages},
        problems=None,
        tasks={},
        token_text=None,
    )


def seen_by_torch(model, tokens_BxT):
    """What hooks see in one pass of transformers, see `make_families.Watch`."""
    import torch
    from golden import make_families

    watch = make_families.Watch(model)
    with torch.no_grad():
        model(torch.from_numpy(tokens_BxT.astype(np.int64)), use_cache=False)
    return watch


@pytest.mark.oracle
def test_counts_and_lens_are_those_of_transformers_on_every_checkpoint(hub_here, tmp_path):  # noqa: F811
    torch = pytest.importorskip("torch", reason="no torch here to compare with")
    pytest.importorskip("transformers", reason="no transformers here to compare with")
    from golden import make_families
    from golden.family_cases import CASES, LENGTH, VOCAB

    material = material_of(VOCAB, LENGTH)
    theirs, held = {}, {}
    for step in STEPS:
        theirs[step] = make_families.random_model(CASES["llama_linear"], seed=step)
        theirs[step].save_pretrained(tmp_path / str(step))
        held[f"step{step}"] = {place.name: place.read_bytes() for place in (tmp_path / str(step)).iterdir()}
    hub_here.repositories[NAME] = hub_server.Repository(held)
    sources = series.sources(tiny(), tmp_path / "out")
    with jax.default_matmul_precision("highest"):
        (place,) = probe_walk.probe(sources, lambda source: (material, None), tmp_path / "out", ALL)
    for step in STEPS:
        arrays, about = artefacts.load(place / f"{walk.file_name(step)}.npz")
        for k, language in enumerate(about["languages"]):
            gate_LxBxTxF = seen_by_torch(theirs[step], material.heldout[language]["tokens"][:, :-1]).layers("gate")
            unsure = int((np.abs(gate_LxBxTxF) < make_families.NEAR_ZERO).sum())
            counted_LxF = arrays["active_RxLxFxK"].sum(0)[..., k]
            assert np.abs(counted_LxF - (gate_LxBxTxF > 0).sum((1, 2))).sum() <= unsure < 3
            slots = material.slots[language]
            at = np.arange(len(slots["position"])), slots["position"]
            state_LxNxD = seen_by_torch(theirs[step], slots["tokens"]).layers("after")[:, at[0], at[1]]
            with torch.no_grad():
                logits_LxNxV = make_families.lens(theirs[step], torch.from_numpy(state_LxNxD))
                log_prob_LxNxV = torch.log_softmax(logits_LxNxV, -1).numpy()
            for side in ("primary", "new"):
                wanted_LxN = log_prob_LxNxV[:, at[0], slots[f"{side}_id"]]
                assert of_tolerance(arrays[f"{language}.{side}_log_prob_LxN"], wanted_LxN) <= 1
            assert np.array_equal(arrays[f"{language}.argmax_LxN"], log_prob_LxNxV.argmax(-1))
