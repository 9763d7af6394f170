"""Tables of what a probe in a notebook has found."""

from helpers import small_material

from babel_jax.common import measurements
from babel_jax.report.probed import Probed


def of(*rows) -> Probed:
    common = dict(run="model", seed=0, step=0, language="php", value=0.5, n=40, ci_low=0.3, ci_high=0.7)
    table = measurements.table([measurements.row(**common, **row) for row in rows])
    return Probed("model", None, small_material(), None, table)


def test_tasks_are_what_was_asked_and_not_the_accuracy_of_a_study():
    asked = dict(probe="evaluation", options={"subset": "all"})
    metrics = ("task_word", "task_word_copied", "bits_per_byte_word")
    found = of(*(asked | dict(metric=metric) for metric in (*metrics, "accuracy", "bits_per_byte")))
    assert found.tasks["metric"].tolist() == list(metrics)
    assert found.tasks["subset"].tolist() == ["all"] * 3 and found.losses["metric"].tolist() == ["bits_per_byte"]
    assert of(asked | dict(metric="accuracy")).tasks.empty


def test_alignment_is_of_prompts_and_of_sentences():
    rows = [
        dict(probe="alignment", metric=metric, layer=1, options={"chance": 0.1}) for metric in ("mexa", "retrieval")
    ]
    assert of(*rows).alignment["metric"].tolist() == ["mexa", "retrieval"]
