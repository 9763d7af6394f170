"""Finding runs and choosing their steps; walking over them is seen in test_probe_walk.py and test_study_walk.py."""

import pytest

from babel_jax.common import files
from babel_jax.common.errors import UserError
from babel_jax.measuring import walk


@pytest.fixture
def runs(tmp_path):
    """Three run directories, two of them of the same seed, and a folder that is not a run."""
    places = [files.path(tmp_path / name) for name in ("seed0/continual", "seed0/control", "seed1/continual")]
    for place in places:
        (place / "checkpoints").mkdir(parents=True)
    (tmp_path / "seed1" / "notes").mkdir()
    return places


def test_directories_and_globs_of_runs_or_their_checkpoints_name_each_run_once(runs, tmp_path):
    patterns = [str(tmp_path / "seed0" / "control" / "checkpoints"), str(tmp_path / "seed*" / "*")]
    assert walk.run_directories(patterns) == [runs[1], runs[0], runs[2]]
    with pytest.raises(UserError, match="'.*seed1/notes' matches no run with checkpoints"):
        walk.run_directories([str(tmp_path / "seed1" / "notes")])


def test_two_runs_of_one_name_do_not_share_a_folder(runs, tmp_path):
    runs = [walk.OwnRun(place) for place in runs]
    places = walk.places_of(runs, tmp_path / "out", "probe")
    assert places[runs[2]] == files.path(tmp_path / "out" / "seed1" / "continual") and len(set(places.values())) == 3
    twin = walk.OwnRun(files.path(tmp_path / "other" / "seed1" / "continual"))
    with pytest.raises(UserError, match="two runs are called seed1/continual; probe them into two folders"):
        walk.places_of([*runs, twin], tmp_path / "out", "probe")


def test_steps_are_all_chosen_ones_or_the_last():
    assert walk.chosen_steps([0, 8, 16], (), "run", False) == [0, 8, 16]
    assert walk.chosen_steps([0, 8, 16], (16, 0), "run", False) == [0, 16]
    assert walk.chosen_steps([0, 8, 16], walk.LAST, "run", False) == [16]
    assert walk.chosen_steps([0, 8, 16], walk.LAST, "run", True) == []  # the last one is still to come
    assert walk.chosen_steps([0, 8], (16,), "run", True) == []
    with pytest.raises(UserError, match=r"run has no checkpoint 9; there are \[0, 8\]"):
        walk.chosen_steps([0, 8], (8, 9), "run", False)


def test_a_run_without_a_checkpoint_is_one_line(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(UserError, match="has no finished checkpoint; train the run first") as error:
        list(walk.checkpoints(walk.OwnRun(files.path(tmp_path))))
    assert "\n" not in str(error.value)
