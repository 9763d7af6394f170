import dataclasses
import json

import jax
import numpy as np
import pytest
from helpers import SMALL, by_path, loud, python, same, several_devices
from helpers.decoders import small
from helpers.steps import PLAIN, ROWS, WEIGHTS, losses_of, steps

from babel_jax.model.decoder import Block, Decoder, Shared, final_norm
from babel_jax.model.sharding import make_mesh
from babel_jax.model.taps import TapRequest
from babel_jax.training import loss as losses
from babel_jax.training.step import SPIKE_WARMUP, judge_loss, make_trainer


def close(a: dict, b: dict, tolerance: float):
    for path, value in by_path(a).items():
        np.testing.assert_allclose(by_path(b)[path], value, atol=tolerance, err_msg=path)


def test_micro_batches_are_the_batch():
    """Sums over sums: rows with many and rows with few counting targets would show a mean of means."""
    rows = ROWS.copy()
    rows[::4, :-1] = 3  # every fourth row, so one whole micro-batch, holds hardly a target that counts
    one, four = (steps(accumulation=n, rows=rows) for n in (1, 4))
    close(one[0]["params"], four[0]["params"], 2e-6)
    for a, b in zip(one[1], four[1], strict=True):
        assert b["loss"] == pytest.approx(a["loss"], abs=1e-6)
        np.testing.assert_allclose(a["row_loss_B"], b["row_loss_B"], atol=1e-5)


def test_tiles_are_the_whole(monkeypatch):
    whole = steps()
    monkeypatch.setattr(losses, "TILE_BYTES", 4 * 16 * 3 * SMALL.vocab_size)
    monkeypatch.setattr(losses, "WHOLE_BYTES", 0)
    make_trainer.cache_clear()
    tiled = steps()
    make_trainer.cache_clear()
    close(whole[0]["params"], tiled[0]["params"], 2e-6)
    assert tiled[1][-1]["loss"] == pytest.approx(whole[1][-1]["loss"], abs=1e-6)


@pytest.mark.parametrize("whole_bytes", [losses.WHOLE_BYTES, 0])
def test_frozen_rows_stay_under_a_tied_head(monkeypatch, whole_bytes):
    monkeypatch.setattr(losses, "WHOLE_BYTES", whole_bytes)
    make_trainer.cache_clear()
    model = dataclasses.replace(SMALL, tied_head=True, frozen_rows=8)
    trainer = make_trainer(model, PLAIN, 3, make_mesh())
    state = trainer.init(0)
    before = np.asarray(state["params"]["embed_frozen"])
    hyper = {name: np.float32(1e-2) for name in ("learning_rate", "label_smoothing")} | {"spike_factor": np.float32(0)}
    state, _ = trainer.step(state, trainer.put_batch(lambda offsets: ROWS[offsets], 16), WEIGHTS, hyper)
    assert np.array_equal(state["params"]["embed_frozen"], before)
    make_trainer.cache_clear()


def test_the_scan_is_the_loop():
    """The scanned blocks against the same blocks one after another."""
    params, rows = loud(SMALL), ROWS[:4, :-1]
    segment = losses.segments(rows, 3)
    logits, taps = Decoder(SMALL).apply(
        {"params": params}, rows, segment, TapRequest(positions_BxP=np.zeros((4, 1), int))
    )
    h = params["embed_table"][rows] + params["embed_position"][np.arange(SMALL.max_length)]
    for layer in range(SMALL.layers):
        mine = jax.tree.map(lambda leaf, layer=layer: leaf[layer], params["blocks"])
        h, _ = Block(SMALL).apply({"params": mine}, h, None, {}, 0, Shared(segment, None, None, None, {}))
        np.testing.assert_allclose(h[:, 0], taps["residual_LxBxPxD"][layer][:, 0], atol=1e-5)
    x = final_norm(params, SMALL, h)
    np.testing.assert_allclose(x @ params["head"].T, logits, atol=1e-4)


@pytest.mark.parametrize("remat", ["dots", "full"])
def test_remat_changes_no_step(remat):
    close(steps()[0], steps(dataclasses.replace(SMALL, remat=remat))[0], 1e-6)


@pytest.mark.parametrize("model", [SMALL, small("llama")], ids=["gpt2", "llama"])
def test_bfloat16_learns_as_float32_does(model):
    """Compute in bfloat16, parameters in float32: the losses of ten steps stay within 2 % of float32's."""
    (state, wide), (_, narrow) = (steps(dataclasses.replace(model, dtype=d), count=10) for d in ("bfloat16", "float32"))
    assert {leaf.dtype for leaf in jax.tree.leaves(state["params"])} == {np.dtype(np.float32)}
    losses_ = [[float(seen["loss"]) for seen in run] for run in (wide, narrow)]
    np.testing.assert_allclose(*losses_, rtol=0.02)
    assert losses_[0] != losses_[1] and losses_[0][-1] < losses_[0][0] - 0.02


def test_a_bad_step_changes_nothing_but_its_number():
    good, _ = steps(count=2)
    before = by_path({name: good[name] for name in good if name != "step"})
    trainer = make_trainer(SMALL, PLAIN, 3, make_mesh())
    hyper = {"learning_rate": np.float32(1e-2), "label_smoothing": np.float32(0), "spike_factor": np.float32(0)}
    weights = WEIGHTS.copy()
    weights[5] = np.nan
    batch = trainer.put_batch(lambda offsets: ROWS[offsets], len(ROWS))
    after, metrics = trainer.step(good, batch, trainer.put(weights), trainer.put(hyper))
    assert bool(metrics["bad"]) and not np.isfinite(metrics["loss"])
    assert same(before, by_path({name: after[name] for name in after if name != "step"}))
    assert int(after["step"]) == 3
    wrong = ~np.isfinite(metrics["row_loss_B"])
    counts = (ROWS[:, 1:] == 5) & (ROWS[:, :-1] != 3)  # after a document's end nothing is foretold
    assert (wrong == counts.any(1)).all() and wrong.any() and not wrong.all()


def test_a_spike_is_far_above_the_running_mean():
    rng = np.random.default_rng(0)
    spike = {"mean": np.float32(0), "variance": np.float32(0), "count": np.int32(0)}
    for loss in 3 + 0.1 * rng.standard_normal(4 * SPIKE_WARMUP):
        bad, spike = judge_loss(spike, np.float32(loss), np.float32(1), np.float32(6))
        assert not bad
    assert float(spike["mean"]) == pytest.approx(3, abs=0.05)
    assert float(spike["variance"]) ** 0.5 == pytest.approx(0.1, abs=0.03)
    for loss, factor, wanted in ((3.5, 6, False), (4.5, 6, True), (4.5, 0, False), (np.nan, 0, True), (1.0, 6, False)):
        assert bool(judge_loss(spike, np.float32(loss), np.float32(1), np.float32(factor))[0]) == wanted, loss
    assert bool(judge_loss(spike, np.float32(3), np.float32(np.inf), np.float32(0))[0])
    young = spike | {"count": np.int32(SPIKE_WARMUP - 1)}
    assert not judge_loss(young, np.float32(9), np.float32(1), np.float32(6))[0]


MESHES = [(8, 1, 1), (1, 8, 1), (2, 1, 4), (2, 2, 2)]
TILED = {(1, 8, 1): 2, (2, 2, 2): 1}  # mesh -> micro-batches
ON_EIGHT_DEVICES = f"""
import json, sys, numpy as np
from helpers import by_path, steps
from babel_jax.model.sharding import make_mesh
from babel_jax.training import loss
print(json.dumps([steps.losses_of(*mesh) for mesh in {MESHES}]))
loss.TILE_BYTES, loss.WHOLE_BYTES = {4 * 2 * 3 * SMALL.vocab_size}, 0
for number, (mesh, accumulation) in enumerate({TILED}.items()):
    state, metrics = steps.steps(mesh=make_mesh(*mesh), accumulation=accumulation, count=2)
    np.savez(f"{{sys.argv[1]}}/{{number}}.npz", **by_path(state["params"]), loss=[seen["loss"] for seen in metrics])
"""


@pytest.fixture(scope="module")
def on_eight_devices(tmp_path_factory):
    """(losses on each of `MESHES`, parameters and losses on each of `TILED`), from one process."""
    out = tmp_path_factory.mktemp("meshes")
    done = python("-c", ON_EIGHT_DEVICES, str(out), devices=8)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1]), [dict(np.load(out / f"{n}.npz")) for n in range(len(TILED))]


@pytest.mark.processes
def test_tiles_on_a_mesh_are_one_device(on_eight_devices):
    """FSDP over 8, and 2 x 2 x tensor 2: the tiled loss gathers, scatters and sums over the axes by hand."""
    state, metrics = steps(count=2)
    for mesh, arrays in zip(TILED, on_eight_devices[1], strict=True):
        assert arrays["loss"] == pytest.approx([float(seen["loss"]) for seen in metrics], abs=1e-5), mesh
        for path, value in by_path(state["params"]).items():
            np.testing.assert_allclose(arrays[path], value, atol=2e-5, err_msg=f"{mesh} {path}")


@pytest.mark.processes
def test_eight_devices_give_the_losses_of_one(on_eight_devices):
    one = losses_of()
    for mesh, several in zip(MESHES, on_eight_devices[0], strict=True):
        assert several == pytest.approx(one, abs=1e-5), mesh
    assert one[-1] != one[0]


FAMILIES_ON_EIGHT_DEVICES = """
import json
from helpers.several_devices import FAMILIES, everything
meshes = {"fsdp 8": (1, 8, 1), "2 x tensor 4": (2, 1, 4)}
print(json.dumps({f: {name: everything(f, *mesh) for name, mesh in meshes.items()} for f in FAMILIES}))
"""


@pytest.mark.processes
def test_families_on_eight_devices_are_those_on_one():
    done = python("-c", FAMILIES_ON_EIGHT_DEVICES, devices=8)
    assert done.returncode == 0, done.stderr[-3000:]
    for family, meshes in json.loads(done.stdout.splitlines()[-1]).items():
        one = several_devices.everything(family)
        for mesh, several in meshes.items():
            several_devices.compare(one, several, f"{family} {mesh}")
