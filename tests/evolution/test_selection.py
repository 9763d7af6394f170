"""Rows chosen."""

import numpy as np
import pandas as pd
import pytest
from helpers import synthetic_study

from babel_jax.common import measurements
from babel_jax.evolution.selection import chance_of_choice, solved, view


@pytest.fixture(scope="module")
def alone():
    """(facts, rows) of a planted study of one new language, with replay."""
    return synthetic_study.alone()


def test_a_view_is_a_study_of_one_language(alone):
    _, frame = alone
    mixed = frame["run"].str.startswith("mix_") | (frame["run"] == "primary_only")
    several = pd.concat(
        [
            frame[mixed | (frame["language"] == "python")],
            frame[~mixed].assign(run=frame["run"] + "_php"),
            frame[~mixed].assign(run=frame["run"] + "_go", language=frame["language"].replace("php", "go")),
        ]
    )
    rows = view(several, "python", "go", ("php", "go"))
    assert set(rows["language"]) == {"python", "go"}
    assert {"continual", "control", "new_only", "primary_only", "replay_0.2500"} <= set(rows["run"])
    assert not any(run.endswith(("_php", "_go")) for run in rows["run"])
    losses = [f[(f["run"] == "continual") & (f["metric"] == "loss")] for f in (rows, frame)]
    new = [f.loc[f["language"] == language, "value"] for f, language in zip(losses, ("go", "php"), strict=True)]
    assert len(new[0]) and np.array_equal(*new)
    assert {run for run in rows["run"] if run.startswith("mix_")} == {
        run for run in frame["run"] if run.startswith("mix_")
    }
    assert view(frame, "python", "php", ("php",)).equals(frame)


def test_chance_is_that_of_a_choice_where_answers_are_chosen():
    """A call site's commonest identifier has a level of its own, which is no chance of a choice."""

    def rows(**options):
        about = dict(run="continual", seed=0, step=1, probe="evaluation", language="php", n=8)
        return measurements.table(
            [
                measurements.row(metric="chance", value=0.25, options={"subset": "all"} | options, **about),
                *(
                    measurements.row(metric="solved", item=i, value=1.0, options={"subset": "all"}, **about)
                    for i in range(2)
                ),
            ]
        )

    assert solved(rows(choices=4), "continual", "php").chance == chance_of_choice(rows(choices=4), "php") == 0.25
    assert solved(rows(), "continual", "php").chance is None and chance_of_choice(rows(choices=4), "go") is None
