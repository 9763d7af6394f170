import json

import numpy as np

from babel_jax.common.statistics import Effect, Estimate
from babel_jax.report.drawing import Line, Panel, make_axes, table
from babel_jax.report.plain import plain


def test_what_a_panel_draws_is_in_the_table():
    _, axes = make_axes(1, 2)
    panel = Panel(axes[0, 0], "accuracy", [])
    panel.curve("PHP", Line(*(np.array(x) for x in ([0, 8], [0.1, 0.9], [0.0, 0.8], [0.2, 1.0]))), "black")
    panel.named("peak").point("step", 1.0, Estimate(8.0, (4.0, 12.0)), "black")
    drawn = table(panel.rows)
    assert drawn["panel"].tolist() == ["accuracy", "accuracy", "peak"]
    assert drawn[["x", "value", "low", "high"]].fillna(-1).to_numpy().tolist() == [
        [0, 0.1, 0, 0.2],
        [8, 0.9, 0.8, 1],
        [-1, 8, 4, 12],
    ]
    assert len(panel.ax.lines) == 3 and len(panel.ax.collections) == 1, "a curve with its band; a mark with its bar"


def test_records_become_plain():
    found = {
        "effect": Effect(np.float64(0.123456789), (-np.inf, np.nan), 0.05),
        "array": np.array([[1, 2], [3, 4]]),
        3: (np.int64(7), np.bool_(True), None, "text"),
    }
    made = plain(found, 4)
    assert json.loads(json.dumps(made, allow_nan=False)) == {
        "effect": {"value": 0.1235, "ci": [None, None], "p": 0.05},
        "array": [[1, 2], [3, 4]],
        "3": [7, True, None, "text"],
    }
    assert made["3"][1] is True
