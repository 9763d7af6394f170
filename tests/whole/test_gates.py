"""The story of the embedded world as a regression test, on seeds that chose nothing (organism.md, "gates")."""

import json
import os
from collections import namedtuple

import pytest
from helpers import ROOT

from babel_jax.cli.settings import load_config
from babel_jax.common import measurements
from babel_jax.study import jobs
from babel_jax.study.plan import Study

pytestmark = pytest.mark.slow
SEEDS = (3, 4)
ROLES = ("primary_climb", "primary_only", "continual", "control", "new_only")  # no mixes: they are no gate
Curves = namedtuple("Curves", "accuracy shared control neurons control_neurons patch peak_step")


@pytest.fixture(scope="module")
def frame(tmp_path_factory):
    config = load_config(str(ROOT / "configs" / "organism.py"), [f"--config.seeds={SEEDS}"])
    with config.unlocked():
        config.sweep = config.replay = config.candidates = ()
        config.runs = {role: config.runs[role] for role in ROLES}
        config.runs.new_only.steps = 8  # a study has it; no gate reads it
    workdir = tmp_path_factory.mktemp("gates")
    jobs.run(Study(config, workdir), workers=os.cpu_count())
    return measurements.read(workdir)


def curves_of(frame, seed, new="php") -> Curves:
    """What the gates read of one seed: values by step, and the patched end by the part that was restored."""
    frame = frame[(frame["seed"] == seed) & (frame["language"] == new)]

    def curve(run, metric, subset=None):
        rows = frame[(frame["run"] == run) & (frame["metric"] == metric) & (frame["layer"] == -1)]
        rows = rows[rows["probe"] != "patch"]
        if subset:
            rows = rows[[json.loads(options)["subset"] == subset for options in rows["options"]]]
        assert len(rows) and rows["step"].is_unique
        return dict(zip(rows["step"], rows["value"], strict=True))

    rows = frame[(frame["probe"] == "patch") & (frame["metric"] == "word_accuracy")]
    options = [json.loads(text) for text in rows["options"]]
    return Curves(
        accuracy=curve("continual", "accuracy", "all"),
        shared=curve("continual", "accuracy", "shared"),
        control=curve("control", "accuracy", "all"),
        neurons=curve("continual", "functional"),
        control_neurons=curve("control", "functional"),
        patch={option["patched"]: value for option, value in zip(options, rows["value"], strict=True)},
        peak_step=options[0]["from_step"],
    )


def failed_gates(curves: Curves) -> list[str]:
    peak = max(value for step, value in curves.accuracy.items() if 40 <= step <= 128)
    late = [value for step, value in curves.accuracy.items() if step >= 384]
    end, at_peak = max(curves.accuracy), curves.peak_step
    gates = {
        "the new language rises": peak >= 0.90,
        "and falls": sum(late) / len(late) <= peak - 0.20,
        "not on what its own text says": curves.shared[end] >= 0.97,
        "and not without words of its own": curves.control[end] >= 0.93,
        "the facts are not lost in the embeddings": curves.patch["embeddings"] <= curves.patch["none"] + 0.10,
        "but in the blocks": curves.patch["blocks"] >= curves.patch["none"] + 0.20,
        "the transferring neurons go": curves.neurons[end] <= 0.85 * curves.neurons[at_peak],
        "and stay in the control": curves.control_neurons[end] >= 0.95 * curves.control_neurons[at_peak],
    }
    print(f"peak {peak:.3f} at {at_peak}, {curves}")
    return [gate for gate, holds in gates.items() if not holds]


@pytest.mark.parametrize("seed", SEEDS)
def test_the_story_holds(frame, seed):
    assert failed_gates(curves_of(frame, seed)) == []
