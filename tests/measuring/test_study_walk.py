"""What a study measures of a finished run: each checkpoint once, and the last one with parts of the peak."""

import pytest
from helpers import make_run, run_in, small_material, train

from babel_jax.common import measurements
from babel_jax.common.errors import UserError
from babel_jax.measuring import study_walk, walk

CONFIG = make_run(steps=4, checkpoint_steps=(0, 2))
pytestmark = pytest.mark.filterwarnings("ignore:only .* of the .* neurons")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    directory, material = tmp_path_factory.mktemp("study") / "continual", small_material()
    train(CONFIG, material, directory)
    return run_in(directory, CONFIG, material)


def test_patches_are_of_the_last_checkpoint_with_parts_of_another(run):
    study_walk.measure_patches(run, from_step=0)
    frame = measurements.read(run.directory / "measurements" / "patches.parquet")
    assert set(frame["step"]) == {4} and set(frame["probe"]) == {"patch"} and len(frame) == len(study_walk.PATCHES)
    assert all('"from_step": 0' in options for options in frame["options"])


def test_parts_that_a_model_lacks_are_not_restored():
    assert study_walk.present(("embed_", "head"), {"embed_table": 0}) == ["embed_"]
    assert study_walk.present(("embed_", "head"), {"head": 0}) == ["embed_", "head"]


@pytest.mark.parametrize(
    "measure", [study_walk.base_activations, lambda run: study_walk.measure_patches(run, 0)], ids=["base", "patches"]
)
def test_a_last_checkpoint_that_vanishes_before_it_is_opened_is_one_line(run, monkeypatch, measure):
    (run.directory / "measurements" / "patches.parquet").unlink(missing_ok=True)
    monkeypatch.setattr(walk.OwnRun, "opened", lambda run, step: None)  # as it answers for one that is deleted
    with pytest.raises(UserError, match="checkpoint 4 of .* is gone; put back a copy of it") as error:
        measure(run)
    assert "\n" not in str(error.value)
