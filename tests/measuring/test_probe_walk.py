"""The walk of all probes over checkpoints: once each, resumed, followed, refused where it would mislead."""

import dataclasses
import json
import shutil
import warnings

import jax
import numpy as np
import pandas as pd
import pytest
from helpers import SMALL_WORLD, loud, make_run, page_numbers, python, small_material, train
from helpers.architectures import config_of

from babel_jax.__main__ import main
from babel_jax.common import files, measurements
from babel_jax.common.errors import UserError
from babel_jax.measuring import instruments, probe_walk, walk
from babel_jax.model import model_folders, placement
from babel_jax.probes import artefacts, forward, tuned_lens
from babel_jax.probes.definitions import BY_SCORES
from babel_jax.probes.subject import Subject
from babel_jax.training import foreign
from babel_jax.training.checkpoint import Metadata

MATERIAL = small_material()
QUICK = probe_walk.Options()
pytestmark = pytest.mark.filterwarnings("ignore:only .* of the .* neurons", "ignore:the thresholds")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    run = tmp_path_factory.mktemp("study") / "seed3" / "continual"
    train(make_run(steps=6, seed=3, checkpoint_steps=(0, 3, 6)), MATERIAL, run)
    return run


@pytest.fixture
def run(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "seed3" / "continual")


def probed(run, out, options=QUICK, material=MATERIAL, tokenizer=None, **more):
    return probe_walk.probe([walk.OwnRun(files.path(run))], lambda source: (material, tokenizer), out, options, **more)


def tables(out):
    return {path.name: pd.read_parquet(path) for path in sorted(out.glob("seed3/continual/measurements/*.parquet"))}


def test_every_checkpoint_is_measured_once_by_one_executable(run, tmp_path, monkeypatch):
    forward.jitted_pass.cache_clear()
    messages = []
    (place,) = probed(run, tmp_path / "out", progress=messages.append)
    assert [message["checkpoint"] for message in messages] == [1, 2, 3]
    assert forward.jitted_pass.cache_info().currsize == 1
    everywhere = jax.tree.leaves(walk.restored(next(walk.checkpoints(walk.OwnRun(files.path(run))))).params)[0].sharding
    _, everywhere = placement.layout({"w": jax.device_put(np.zeros(2), everywhere)}, 32)
    step = forward.jitted_pass(walk.stored_model(metadata(run)), -1, ("sentence",), everywhere, "activation")
    assert step._cache_size() == 1

    frame = measurements.read(tmp_path / "out")
    assert set(frame["step"]) == {0, 3, 6} and set(frame["seed"]) == {3} and set(frame["run"]) == {"continual"}
    wanted = {"loss", "lens", "working_language", "alignment", "neurons", "drift"}
    assert set(frame["probe"]) == wanted
    assert set(frame[frame["step"] == 6]["tokens"]) == {6 * 8 * MATERIAL.max_length}
    assert set(frame[(frame["probe"] == "loss") & (frame["step"] == 3)]["language"]) == {"python", "php"}

    before = tables(tmp_path / "out")
    monkeypatch.setattr(forward, "measure", None)  # nothing may be measured again
    probed(run, tmp_path / "out")
    after = tables(tmp_path / "out")
    assert before.keys() == after.keys() and all(before[name].equals(after[name]) for name in before)


def metadata(run):
    return Metadata.from_json(json.loads((run / "checkpoints" / "6" / "metadata" / "metadata").read_text()))


def test_what_was_interrupted_is_measured_again_alike(run, tmp_path, monkeypatch):
    probed(run, tmp_path / "out")
    before = tables(tmp_path / "out")
    (tmp_path / "out/seed3/continual/measurements/step_00000003.parquet").unlink()
    (tmp_path / "out/seed3/continual/step_00000006.npz").unlink()
    measured = []
    once = instruments.measure
    monkeypatch.setattr(instruments, "measure", lambda *a: measured.append(1) or once(*a))
    probed(run, tmp_path / "out")
    assert len(measured) == 2
    after = tables(tmp_path / "out")
    assert all(before[name].equals(after[name]) for name in before)


def test_a_run_is_followed_until_it_is_done(run, tmp_path, monkeypatch):
    later = tmp_path / "later"
    shutil.move(run / "checkpoints" / "6", later)
    (run / "DONE").unlink()
    waits = []

    def wait(seconds):
        waits.append(seconds)
        if len(waits) == 2:
            shutil.move(later, run / "checkpoints" / "6")
            (run / "DONE").write_text("{}")

    monkeypatch.setattr(walk.time, "sleep", wait)
    probed(run, tmp_path / "out", follow=True)
    assert len(waits) == 2
    frame = measurements.read(tmp_path / "out")
    assert set(frame["step"]) == {0, 3, 6}
    assert set(frame[frame["metric"] == "jaccard_last"]["step"]) == {0, 3, 6}


def test_a_checkpoint_deleted_under_way_is_left_out(run, tmp_path, monkeypatch, capsys):
    read = walk.restore_params

    def deleted(run_dir, step, *rest):
        if step == 3:
            shutil.rmtree(run / "checkpoints" / "3")
        return read(run_dir, step, *rest)

    monkeypatch.setattr(walk, "restore_params", deleted)
    probed(run, tmp_path / "out")
    assert "checkpoint 3 of" in capsys.readouterr().out
    assert set(measurements.read(tmp_path / "out")["step"]) == {0, 6}


def test_restoring_all_parts_is_the_other_checkpoint(run, tmp_path):
    parts = ("blocks", "embed_table", "embed_frozen", "embed_position", "ln_f_scale", "ln_f_bias", "head")
    probed(run, tmp_path / "out")
    probed(run, tmp_path / "restored", dataclasses.replace(QUICK, restore=parts, restore_step=3))
    plain, restored = (measurements.read(tmp_path / name) for name in ("out", "restored"))
    losses = {
        name: frame[(frame["probe"] == "loss") & (frame["step"] == step)]["value"].to_numpy()
        for name, frame, step in (("at 3", plain, 3), ("at 6", plain, 6), ("restored", restored, 6))
    }
    np.testing.assert_array_equal(losses["at 3"], losses["restored"])
    assert (losses["at 6"] != losses["restored"]).any()


@pytest.mark.long
def test_scopes_of_thresholds_and_causes(run, tmp_path):
    options = dataclasses.replace(
        QUICK,
        steps=(0, 6),
        threshold_scope="reference_checkpoint",
        reference_step=0,
        definitions=tuple(BY_SCORES),
        interventions=("zero", "mean"),
        tuned_steps=3,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        probed(run, tmp_path / "out", options)
    frame = measurements.read(tmp_path / "out")
    assert {"intervention", "tuned_lens"} <= set(frame["probe"])
    # Whole batches and the last one: no checkpoint and no language compiles again.
    assert tuned_lens.jitted_read(walk.stored_model(metadata(run)))._cache_size() == 2
    kinds = frame[frame["probe"] == "intervention"]["options"].map(lambda text: json.loads(text)["kind"])
    assert set(kinds) == {"zero", "mean"}
    numbers = frame[(frame["probe"] == "neurons") & (frame["metric"] == "lape_target")]
    assert len(numbers) and all("reference_checkpoint" in text for text in numbers["options"])
    arrays, about = artefacts.load(tmp_path / "out/seed3/continual/step_00000006.npz")
    assert {*BY_SCORES, "causal_sensitivity", "pls_sensitivity"} <= set(frame["metric"])
    assert set(frame["step"]) == {0, 6} and "pass_change" in set(frame["metric"])
    assert {"A_LxDxD", "b_LxD", "active_RxLxFxK", "causal.php"} <= arrays.keys() and about["languages"] == [
        "php",
        "python",
    ]


def test_what_would_mislead_is_refused(run, tmp_path):
    probed(run, tmp_path / "out")
    cases = {
        "options is": lambda: probed(run, tmp_path / "out", dataclasses.replace(QUICK, layers="middle")),
        "tokenizer is": lambda: probed(run, tmp_path / "out", tokenizer="abc"),
        "a vocabulary of": lambda: probed(run, tmp_path / "a", material=dataclasses.replace(MATERIAL, vocab_size=9)),
        "is one language": lambda: probed(run, tmp_path / "b", dataclasses.replace(QUICK, languages=("php",))),
        "did you mean 'php'": lambda: probed(
            run, tmp_path / "c", dataclasses.replace(QUICK, languages=("python", "pph"))
        ),
        "matches no run": lambda: walk.run_directories([str(tmp_path / "*" / "nothing")]),
        "the reference step 5": lambda: probed(
            run, tmp_path / "d", dataclasses.replace(QUICK, threshold_scope="reference_checkpoint", reference_step=5)
        ),
        "belong together": lambda: probed(run, tmp_path / "e", dataclasses.replace(QUICK, restore=("head",))),
        "give both, or neither": lambda: probed(run, tmp_path / "g", dataclasses.replace(QUICK, reference_step=0)),
        "random sets are too few": lambda: probed(
            run, tmp_path / "h", dataclasses.replace(QUICK, interventions=("zero",), draws=3)
        ),
        "did you mean 'value'": lambda: probed(run, tmp_path / "i", dataclasses.replace(QUICK, active="values")),
        'active is "activation" and "value" is needed': lambda: probed(
            run, tmp_path / "out", dataclasses.replace(QUICK, active="value")
        ),
        "'zero'": lambda: probed(run, tmp_path / "f", dataclasses.replace(QUICK, interventions=("zeros",))),
        "two runs are called": lambda: probe_walk.probe(
            [walk.OwnRun(files.path(run))] * 2, lambda source: (MATERIAL, None), tmp_path / "out", QUICK
        ),
    }
    for message, case in cases.items():
        with pytest.raises(UserError, match=message):
            case()


def test_the_rule_of_active_neurons_stands_in_what_is_kept(run, tmp_path):
    counted = {}
    for active in ("activation", "value"):
        probed(run, tmp_path / active, dataclasses.replace(QUICK, steps=(6,), active=active))
        arrays, about = artefacts.load(tmp_path / active / "seed3/continual/step_00000006.npz")
        frame = measurements.read(tmp_path / active)  # rows of the pass, and of what it has kept
        named = frame[frame["metric"].isin(["lape_target_sensitivity", "lape_target"])]["options"]
        assert about["active"] == active and len(named) > 20
        assert {json.loads(text).get("active", "activation") for text in named} == {active}
        counted[active] = arrays["active_RxLxFxK"]
    assert np.array_equal(*counted.values())  # a GPT-2 has no gate


@pytest.mark.long
@pytest.mark.parametrize("family", ["llama", "gemma2"])
def test_an_imported_model_of_another_family_is_probed_by_all_instruments(family, tmp_path):
    """Of its artefact: what its neurons are, and counts by the rule that was asked for."""
    config = config_of(family, vocab_size=MATERIAL.vocab_size, max_length=MATERIAL.max_length, ffn_width=80)
    params = loud(config)
    model_folders.write_model(tmp_path / "theirs", config, params)
    run = tmp_path / "seed3" / "continual"
    foreign.import_run(tmp_path / "theirs", run)
    options = dataclasses.replace(QUICK, active="value", definitions=("centroid_type1", "pls"), tuned_steps=2)
    probed(run, tmp_path / "out", options)
    probed(run, tmp_path / "out", options)  # reads what it has kept
    frame = measurements.read(tmp_path / "out")
    assert {"loss", "lens", "tuned_lens", "alignment", "neurons", "drift"} <= set(frame["probe"])
    assert {"centroid_type1", "pls", "lape_target"} <= set(frame["metric"])
    arrays, about = artefacts.load(tmp_path / "out/seed3/continual/step_00000000.npz")
    assert about["active"] == "value" and about["neuron"] == artefacts.neuron(config.architecture, "value")
    want = forward.measure(Subject(params, config, MATERIAL.document_end), MATERIAL.heldout, {}, active="value")
    assert np.array_equal(arrays["active_RxLxFxK"].sum(0), want.active_RxLxFxK.sum(0))


def test_seeds_are_compared(run, tmp_path):
    other = tmp_path / "seed4" / "continual"
    train(make_run(steps=6, seed=4, checkpoint_steps=(0, 6)), MATERIAL, other)
    probe_walk.probe(
        [walk.OwnRun(files.path(run)), walk.OwnRun(files.path(other))],
        lambda source: (MATERIAL, None),
        tmp_path / "out",
        QUICK,
    )
    frame = measurements.read(tmp_path / "out")
    seeds = frame[frame["seed"] == -1]
    assert set(seeds["step"]) == {0, 6} and {"jaccard_seeds", "jaccard_seeds_expected"} == set(seeds["metric"])


def test_the_other_primary_turns_the_identifiers_round(run, tmp_path):
    shares = {}
    for languages in (("python", "php"), ("php", "python")):
        out = tmp_path / languages[0]
        probed(run, out, dataclasses.replace(QUICK, languages=languages, steps=(6,)))
        frame = measurements.read(out).query("metric == 'primary_share_prob' and probe == 'lens' and language == 'php'")
        shares[languages[0]] = frame["value"].to_numpy()
    np.testing.assert_allclose(shares["python"], 1 - shares["php"], atol=1e-6)


def test_another_run_in_the_same_place_is_refused(run, tmp_path):
    probed(run, tmp_path / "out")
    shutil.rmtree(run)
    train(make_run(steps=6, seed=3, checkpoint_steps=(0, 3, 6)), MATERIAL, run)  # the same name, trained again
    with pytest.raises(UserError, match="started is"):
        probed(run, tmp_path / "out")


def test_fewer_steps_leave_what_is_measured(run, tmp_path):
    probed(run, tmp_path / "out")
    before = tables(tmp_path / "out")["across.parquet"]
    probed(run, tmp_path / "out", dataclasses.replace(QUICK, steps=(-1,)))
    assert before.equals(tables(tmp_path / "out")["across.parquet"])


def test_damaged_metadata_are_one_line(run, tmp_path):
    (run / "checkpoints" / "3" / "metadata" / "metadata").write_text("{")
    with pytest.raises(UserError, match="checkpoint 3 in .* cannot be read"):
        probed(run, tmp_path / "out")


EIGHT = """
import sys, json
from helpers import small_material
from babel_jax.common import files
from babel_jax.probes import artefacts
from babel_jax.measuring import probe_walk, walk
import jax, pathlib
run, out = sys.argv[1:]
probe_walk.probe([walk.OwnRun(files.path(run))], lambda source: (small_material(), None), out)
arrays, _ = artefacts.load(pathlib.Path(out) / "seed3/continual/step_00000006.npz")
print(json.dumps({"devices": jax.device_count(), "active": arrays["active_RxLxFxK"].tolist()}))
"""


@pytest.mark.processes
def test_eight_devices_count_the_same_integers(run, tmp_path):
    probed(run, tmp_path / "one")
    done = python("-c", EIGHT, str(run), str(tmp_path / "eight"), devices=8)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    arrays, _ = artefacts.load(tmp_path / "one/seed3/continual/step_00000006.npz")
    assert found["devices"] == 8
    assert found["active"] == arrays["active_RxLxFxK"].tolist()


@pytest.fixture
def of_study(run, tmp_path):
    """The run inside a study, from whose config the verb knows what to read."""
    study = {"kind": "organism", "primary": "python", "new": "php", "world": SMALL_WORLD}
    files.write_json(tmp_path / "config.json", study)
    return run


def error_of(capfd, *arguments):
    """The one line of an error that a verb ends with."""
    assert main(list(arguments)) == 2
    error = capfd.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ")
    return error


def test_the_verb_reads_the_studys_texts_or_prompts_of_ones_own(of_study, tmp_path, capfd):
    arguments = ["probe", "--checkpoints", str(of_study), "--steps=last", "--layers=1"]
    assert main([*arguments, f"--out={tmp_path / 'out'}"]) == 0
    said = capfd.readouterr().out
    assert f"{tmp_path}/out/seed3/continual/measurements" in said and "PHP: LAPE neurons" in said
    assert said.splitlines()[-1] == f"report: {tmp_path}/out/report/index.html"
    page_numbers.check_folder(tmp_path / "out/report")
    frame = measurements.read(tmp_path / "out")
    scalars = frame[(frame["probe"] == "working_language") & (frame["language"] == "php")]
    assert set(frame["step"]) == {6} and all(json.loads(text)["layers"] == "1" for text in scalars["options"])

    lines = [
        {"language": language, "tokens": [1, 2, 3 + place], "primary": 5 + place, "new": 15 + place}
        for language in ("python", "php")
        for place in range(3)
    ]
    (tmp_path / "prompts.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    own = [f"--prompts={tmp_path / 'prompts.jsonl'}", f"--out={tmp_path / 'own'}"]
    assert main([*arguments, *own]) == 0
    lens = measurements.read(tmp_path / "own").query("probe == 'lens' and metric == 'primary_share_pair'")
    assert set(lens["n"]) == {3}

    (tmp_path / "prompts.jsonl").write_text('{"language": "php"}')
    assert "line 1" in error_of(capfd, *arguments, *own)
    assert "needs a tokenizer" in error_of(capfd, *arguments, "--identifiers=prefix", f"--out={tmp_path / 'p'}")
    assert "--layers is 'two'" in error_of(capfd, *arguments[:-1], "--layers=two", f"--out={tmp_path / 'q'}")
    assert "no checkpoint 5" in error_of(capfd, *arguments[:3], "--steps=5", f"--out={tmp_path / 'r'}")
    assert "cannot read the argument" in error_of(capfd, *arguments, "--layer=1", f"--out={tmp_path / 's'}")
    files.write_json(tmp_path / "config.json", {"kind": "organism", "primary": "python", "new": "php"})
    assert "is one language" in error_of(capfd, *arguments, "--languages=php", f"--out={tmp_path / 'u'}")
    (tmp_path / "config.json").unlink()
    assert "lies in no study" in error_of(capfd, *arguments, f"--out={tmp_path / 't'}")


def test_a_model_goes_out_and_comes_in_by_the_verb(of_study, tmp_path, capfd):
    there, back = f"--huggingface={tmp_path / 'gpt2'}", f"--run={tmp_path / 'seed3' / 'imported'}"
    assert main(["convert", there, f"--run={of_study}", "--step=6"]) == 0
    assert main(["convert", there, back]) == 0
    both = [str(of_study), str(tmp_path / "seed3" / "imported")]
    assert main(["probe", "--checkpoints", *both, f"--out={tmp_path / 'out'}", "--steps=last", "--seed=0"]) == 0
    losses = measurements.read(tmp_path / "out").query("probe == 'loss'").groupby("run")["value"].apply(list)
    np.testing.assert_allclose(losses["continual"], losses["imported"], rtol=1e-6)
    page_numbers.check_folder(tmp_path / "out/report")
    assert "imported" in (tmp_path / "out/report/index.html").read_text()
    assert "holds a run already" in error_of(capfd, "convert", there, back)
